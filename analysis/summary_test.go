package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/rundir"
)

// TestSummarise reads a complete run, runs with missing rows, a run before its first epoch, and
// runs with a damaged file.
func TestSummarise(t *testing.T) {
	data := tinyData(64, 32)
	cfg := config.Default()
	cfg.Arch, cfg.Epochs, cfg.Batch, cfg.LRDrops = "resnet-8", 3, 16, []int{2}
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{Dir: dir, Threads: 2}); err != nil {
		t.Fatal(err)
	}
	s, epochs, err := Summarise(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	// ResNet-8 has three BatchNorms of 16, three of 32 and three of 64 channels.
	m := s.Model
	if m == nil || m.Data != "sample" || m.Family != "resnet-N" || m.Depth != 8 || m.Width != 16 || m.BNParameters != 2*3*(16+32+64) || m.Trained != m.BNParameters || m.FileBytes != info.Size() {
		t.Errorf("the model is %+v, want resnet-N of depth 8 and width 16, trained on sample, with %d γ and β, all trained, in %d bytes", m, 2*3*(16+32+64), info.Size())
	}
	if len(epochs) != 3 || s.Epochs != 3 || s.Config.Arch != "resnet-8" || s.Result == nil {
		t.Fatalf("%d rows, summary %s; want 3 rows, and 3 epochs of resnet-8 with a result", len(epochs), jsonOf(s))
	}
	last, r := epochs[2], s.Result
	if r.TestAccuracy != last.TestAccuracy || *r.TestLoss != last.TestLoss || r.TestExamples != 32 || r.TestStatistics != "running" ||
		r.TrainAccuracy != last.TrainAccuracy || r.GeneralisationGap != last.TrainAccuracy-last.TestAccuracy || *r.GammaNearZero != last.GammaNearZero {
		t.Errorf("the result is %s, want the values of the last row, %s", jsonOf(r), jsonOf(last))
	}
	if want := epochs[0].Seconds + epochs[1].Seconds + epochs[2].Seconds; *r.Seconds != want {
		t.Errorf("%v seconds, want %v", *r.Seconds, want)
	}

	// Without the first row there is no total time; without the last row there is no
	// result.
	lines, err := os.ReadFile(filepath.Join(dir, rundir.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	rows := bytes.SplitAfter(lines, []byte("\n"))
	for name, remaining := range map[string][]byte{"first": slices.Concat(rows[1], rows[2]), "last": slices.Concat(rows[0], rows[1])} {
		if err := os.WriteFile(filepath.Join(dir, rundir.MetricsFile), remaining, 0o666); err != nil {
			t.Fatal(err)
		}
		s, epochs, err := Summarise(dir)
		if err != nil || s.Epochs != 3 || len(epochs) != 2 || (s.Result == nil) != (name == "last") || s.Result != nil && s.Result.Seconds != nil {
			t.Errorf("without the %s row: %d rows, summary %s (error %v); want 2 rows, 3 epochs, no seconds, and a result: %v", name, len(epochs), jsonOf(s), err, name != "last")
		}
	}

	for _, name := range []string{rundir.CheckpointFile, rundir.MetricsFile, rundir.ResumeFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s, epochs, err = Summarise(dir)
	if err != nil || s.Model != nil || s.Result != nil || s.Epochs != 0 || epochs != nil {
		t.Errorf("a run before its first epoch: %s, rows %v (error %v); want no epochs, model, result and rows", jsonOf(s), epochs, err)
	}
	if b, err := json.Marshal(s); err != nil || strings.Contains(string(b), "model") || strings.Contains(string(b), "result") {
		t.Errorf("the JSON of a run before its first epoch is %s (error %v), want no model and no result", b, err)
	}

	for name, contents := range map[string]string{rundir.CheckpointFile: "not a checkpoint", rundir.MetricsFile: "{\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Summarise(dir); err == nil || !strings.Contains(err.Error(), name) || errors.Is(err, checkpoint.ErrCorrupt) != (name == rundir.CheckpointFile) {
			t.Errorf("the error for a damaged %s is %v, want one that names the file, and ErrCorrupt only for a checkpoint", name, err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTrainedCount checks that ModelSummary.Trained counts trained parameters but not statistics.
func TestTrainedCount(t *testing.T) {
	cfg := config.Default()
	cfg.Arch, cfg.Epochs, cfg.Batch, cfg.LRDrops, cfg.Trainable, cfg.WithStats = "resnet-8", 1, 16, nil, string(arch.All), true
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := engine.Train(context.Background(), cfg, tinyData(64, 32), engine.TrainOptions{Dir: dir, Threads: 2}); err != nil {
		t.Fatal(err)
	}
	s, _, err := Summarise(dir)
	if err != nil || s.Model.Trained != s.Model.Parameters || s.Model.Parameters <= s.Model.BNParameters {
		t.Errorf("the model is %+v (error %v), want all parameters trained", s.Model, err)
	}
}

// TestTrainedCountOfUnknownOrigin checks that a run that trains γ and β of a model whose origin is
// not known counts only these, although its file stores all tensors.
func TestTrainedCountOfUnknownOrigin(t *testing.T) {
	data := tinyData(64, 32)
	m := trainedModel(t, data, false)
	m.Origin = nil
	cfg, err := m.Settings()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Epochs, cfg.Batch, cfg.LRDrops = 1, 16, nil
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := engine.Train(t.Context(), cfg, data, engine.TrainOptions{Dir: dir, Threads: 1, From: m}); err != nil {
		t.Fatal(err)
	}
	if s, _, err := Summarise(dir); err != nil || s.Model.Trained != s.Model.BNParameters {
		t.Errorf("the model is %+v (error %v), want only γ and β trained", s.Model, err)
	}
}

// TestDepth compares depths with the numbers in the names of networks.
func TestDepth(t *testing.T) {
	for name, want := range map[string]int{"resnet-8": 8, "resnet-14": 14, "resnet-110": 110, "wrn-14-4": 14} {
		for _, shortcut := range []arch.Shortcut{arch.OptionA, arch.OptionB} {
			net, err := arch.Build(name, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10, Shortcut: shortcut})
			if err != nil {
				t.Fatal(err)
			}
			if got := depth(net); got != want {
				t.Errorf("the depth of %s with shortcut %s is %d, want %d", name, shortcut, got, want)
			}
		}
	}
}

// TestResult checks totals over epochs, and values that are missing.
func TestResult(t *testing.T) {
	r := resultOf([]rundir.EpochMetrics{
		{Epoch: 1, TrainExamples: 100, ImagesPerSecond: 50, Seconds: 3},
		{Epoch: 2, TrainExamples: 100, ImagesPerSecond: 25, Seconds: 5, TestLoss: math.NaN()},
	}, 2)
	// The epochs take 2 and 4 seconds for 200 pictures in all.
	if r.ImagesPerSecond == nil || math.Abs(*r.ImagesPerSecond-200.0/6) > 1e-12 || *r.Seconds != 8 || r.TestLoss != nil {
		t.Errorf("the result is %s, want 33.3 images per second, 8 seconds and no loss", jsonOf(r))
	}
	if r := resultOf([]rundir.EpochMetrics{{Epoch: 1, TrainExamples: 100}}, 1); r.ImagesPerSecond != nil {
		t.Errorf("the speed is %v, want none", *r.ImagesPerSecond)
	}
}

// TestFamily checks that networks that differ only in depth and width have the same family.
func TestFamily(t *testing.T) {
	for name, want := range map[string]string{
		"resnet-14": "resnet-N", "resnet-110": "resnet-N", "wrn-14-2": "resnet-N", "resnet-20-bottleneck": "resnet-N-bottleneck",
		"resnet18": "resnetN", "resnet2-2-2-2": "resnetN", "resnet50": "resnetN-bottleneck", "vgg-11": "vgg-N", "vgg-38": "vgg-N-residual",
	} {
		net, err := arch.Build(name, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10})
		if err != nil {
			t.Fatal(err)
		}
		if got := family(net); got != want {
			t.Errorf("the family of %s is %q, want %q", name, got, want)
		}
	}
}

// TestDifferences checks that settings are compared by their values.
func TestDifferences(t *testing.T) {
	a, b := &Summary{Config: config.Default()}, &Summary{Config: config.Default()}
	if d := Differences([]*Summary{a, b}); d != nil {
		t.Errorf("equal runs differ in %+v, want no differences", d)
	}
	b.Config.Seed, b.Config.LRDrops = 7, []int{3, 4}
	d := Differences([]*Summary{a, b, a})
	if len(d) != 2 || d[0].Name != "seed" || !slices.Equal(d[0].Values, []string{"1", "7", "1"}) || d[1].Name != "lr_drops" || d[1].Values[1] != "3,4" {
		t.Errorf("differences %+v, want seed 1, 7, 1 and lr_drops with 3,4 in the second run", d)
	}
}
