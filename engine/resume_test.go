package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/rundir"
)

// sets lists the trainable sets for tests of whole runs.
var sets = []string{"bn", "all"}

// TestThreads checks that the checkpoint of a run is the same for any number of threads. The
// directory and the time of the runs differ too. It also checks that the training loss with
// activations in bfloat16 is near that in float32, but not equal to it.
func TestThreads(t *testing.T) {
	data := synthetic(96, 40)
	for _, set := range sets {
		losses := map[string]float64{}
		for _, activations := range config.Find("activations").Values {
			cfg := tinyConfig()
			cfg.Trainable, cfg.Epochs, cfg.WithStats, cfg.Activations = set, 2, true, activations
			var want []byte
			for threads := 1; threads <= 3; threads++ {
				dir := t.TempDir()
				losses[activations] = mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: threads}).Epochs[1].TrainLoss
				got := readFile(t, dir, rundir.CheckpointFile)
				if want == nil {
					want = got
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s, %s: ckpt.bnz of %d threads differs from that of 1, want the same bytes", set, activations, threads)
				}
			}
		}
		if d := math.Abs(losses[config.BF16]/losses[config.Float32] - 1); d == 0 || d > 0.05 {
			t.Errorf("%s: training loss %v with %s, %v with %s; want a difference of at most 5%%, but not 0", set, losses[config.BF16], config.BF16, losses[config.Float32], config.Float32)
		}
	}
}

// resumable holds the changes of settings that TestResume and TestStepAllocatesNothing try, by
// name. They combine every optimizer with several trainable sets.
var resumable = func() map[string]func(*config.Config) {
	all := map[string]func(*config.Config){}
	for name, optimize := range map[string]func(*config.Config){
		"sgd":      func(*config.Config) {},
		"nesterov": func(c *config.Config) { c.Nesterov = true },
		"adam":     func(c *config.Config) { c.Optimizer, c.LR, c.ClipNorm, c.GammaL1 = config.Adam, 0.01, 1, 1e-4 },
		"adamw":    func(c *config.Config) { c.Optimizer, c.LR, c.BNWeightDecay = config.AdamW, 0.01, false },
	} {
		for _, set := range []string{"bn", "all", "bn+shortcut", "none", "random-2", "bn+random-2"} {
			all[name+", "+set] = func(c *config.Config) {
				optimize(c)
				c.Trainable = set
			}
		}
	}
	all["bf16"] = func(c *config.Config) { c.Activations = config.BF16 }
	return all
}()

// TestResume checks that three runs give the same checkpoint and the same measurements: one
// of 4 epochs, one of 2 epochs that is resumed for 2 more, and one that is interrupted at
// every kind of moment.
func TestResume(t *testing.T) {
	data := synthetic(100, 40) // 6 batches of 16, and 4 pictures left out
	for settings, change := range resumable {
		cfg := tinyConfig()
		change(&cfg)
		whole := t.TempDir()
		want := mustTrain(t, cfg, data, TrainOptions{Dir: whole, Threads: 2})
		wantBytes := readFile(t, whole, rundir.CheckpointFile)
		check := func(name, dir string, got *TrainResult) {
			t.Helper()
			if !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), wantBytes) {
				t.Errorf("%s, %s: ckpt.bnz differs from that of an uninterrupted run, want the same bytes", settings, name)
			}
			rows, err := rundir.ReadMetrics(filepath.Join(dir, rundir.MetricsFile))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(rows, want.Epochs, sameMeasurements) || !slices.EqualFunc(got.Epochs, want.Epochs, sameMeasurements) {
				t.Errorf("%s, %s: metrics\n%+v and result\n%+v, want\n%+v", settings, name, rows, got.Epochs, want.Epochs)
			}
		}

		dir := t.TempDir()
		half := cfg
		half.Epochs = 2
		mustTrain(t, half, data, TrainOptions{Dir: dir, Threads: 1})
		check("2 + 2 epochs", dir, mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: true}))
		check("nothing left", dir, mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: true}))

		// Steps 1 and 8 are within epochs. Step 12 is the last of an epoch, so the
		// measurement of the test split is interrupted.
		dir = t.TempDir()
		for i, steps := range []int{1, 7, 4} {
			interruptAfter(t, cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: i > 0}, steps)
		}
		check("interrupted three times", dir, mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: true}))
	}
}

// sameMeasurements reports whether two rows agree in everything that a resume must preserve.
func sameMeasurements(a, b rundir.EpochMetrics) bool {
	a.Seconds, a.ImagesPerSecond, b.Seconds, b.ImagesPerSecond = 0, 0, 0, 0
	return a == b
}

// TestResumeSchedule checks that a resumed run whose rates depend on the number of epochs writes
// the same bytes as a run without interruption, and that it refuses a different number of epochs.
func TestResumeSchedule(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Schedule, cfg.LRPerStep, cfg.LRWarmup, cfg.LRMin = config.Cosine, true, 1, 0.001
	whole, parts := t.TempDir(), t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: whole, Threads: 2})
	interruptAfter(t, cfg, data, TrainOptions{Dir: parts, Threads: 2}, 6)
	longer := cfg
	longer.Epochs++
	var e *ResumeError
	if _, err := Train(t.Context(), longer, data, TrainOptions{Dir: parts, Threads: 2, Resume: true}); !errors.As(err, &e) || e.Key != "epochs" {
		t.Errorf("one more epoch: got error %v, want a *ResumeError that names epochs", err)
	}
	mustTrain(t, cfg, data, TrainOptions{Dir: parts, Threads: 2, Resume: true})
	if !bytes.Equal(readFile(t, parts, rundir.CheckpointFile), readFile(t, whole, rundir.CheckpointFile)) {
		t.Error("ckpt.bnz differs from that of an uninterrupted run, want the same bytes")
	}
}

// TestResumeAfterKill checks that a run can be resumed to the same checkpoint after kill -9 at
// any moment. The files of each moment are assembled from copies made at the ends of epochs.
func TestResumeAfterKill(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs = 3
	names := []string{rundir.ConfigFile, rundir.MetricsFile, rundir.CheckpointFile, rundir.ResumeFile}
	files := map[string][]byte{} // by epoch and name
	whole := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: whole, Threads: 2, Epoch: func(m rundir.EpochMetrics) {
		for _, name := range names {
			files[fmt.Sprint(m.Epoch, name)] = readFile(t, whole, name)
		}
	}})
	want := readFile(t, whole, rundir.CheckpointFile)
	row := files["2"+rundir.MetricsFile][len(files["1"+rundir.MetricsFile]):]
	for name, remaining := range map[string]map[string][]byte{
		"after config.json":      {rundir.ConfigFile: files["1"+rundir.ConfigFile]},
		"after the first ckpt":   {rundir.ConfigFile: files["1"+rundir.ConfigFile], rundir.CheckpointFile: files["1"+rundir.CheckpointFile]},
		"before the first state": {rundir.ConfigFile: files["1"+rundir.ConfigFile], rundir.CheckpointFile: files["1"+rundir.CheckpointFile], rundir.MetricsFile: files["1"+rundir.MetricsFile]},
		"within an epoch":        {rundir.ConfigFile: files["1"+rundir.ConfigFile], rundir.CheckpointFile: files["1"+rundir.CheckpointFile], rundir.MetricsFile: files["1"+rundir.MetricsFile], rundir.ResumeFile: files["1"+rundir.ResumeFile]},
		"after a later ckpt":     {rundir.ConfigFile: files["1"+rundir.ConfigFile], rundir.CheckpointFile: files["2"+rundir.CheckpointFile], rundir.MetricsFile: files["1"+rundir.MetricsFile], rundir.ResumeFile: files["1"+rundir.ResumeFile]},
		"within a metrics row":   {rundir.ConfigFile: files["1"+rundir.ConfigFile], rundir.CheckpointFile: files["2"+rundir.CheckpointFile], rundir.MetricsFile: slices.Concat(files["1"+rundir.MetricsFile], row[:len(row)/2]), rundir.ResumeFile: files["1"+rundir.ResumeFile]},
		"before a later state":   {rundir.ConfigFile: files["1"+rundir.ConfigFile], rundir.CheckpointFile: files["2"+rundir.CheckpointFile], rundir.MetricsFile: files["2"+rundir.MetricsFile], rundir.ResumeFile: files["1"+rundir.ResumeFile]},
	} {
		dir := t.TempDir()
		for file, content := range remaining {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: true})
		if !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), want) {
			t.Errorf("killed %s: ckpt.bnz differs from that of an uninterrupted run, want the same bytes", name)
		}
		rows, err := rundir.ReadMetrics(filepath.Join(dir, rundir.MetricsFile))
		if err != nil || len(rows) != cfg.Epochs || !slices.EqualFunc(rows, got.Epochs, sameMeasurements) {
			t.Errorf("killed %s: metrics %+v, %v; want %d rows with the measurements %+v", name, rows, err, cfg.Epochs, got.Epochs)
		}
	}
}

// TestResumeErrors checks that a resume with other settings, other data or damaged files is
// refused, and changes no file.
func TestResumeErrors(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs = 2
	dir := t.TempDir()
	resume := TrainOptions{Dir: dir, Threads: 1, Resume: true}
	if _, err := Train(t.Context(), cfg, data, resume); !errors.Is(err, rundir.ErrNoRun) {
		t.Errorf("an empty directory: got error %v, want ErrNoRun", err)
	}
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
	before := snapshot(t, dir)

	for _, c := range []struct {
		field  string
		change func(*config.Config)
	}{
		{"lr", func(c *config.Config) { c.LR = 0.05 }},
		{"seed", func(c *config.Config) { c.Seed = 2 }},
		{"trainable", func(c *config.Config) { c.Trainable = "all" }},
		{"lr_drops", func(c *config.Config) { c.LRDrops = []int{} }},
		{"init", func(c *config.Config) { c.Init = "orthogonal" }},
		{"optimizer", func(c *config.Config) { c.Optimizer = config.Adam }},
		{"track_gradients", func(c *config.Config) { c.TrackGradients = true }},
		{"arch", func(c *config.Config) { c.Arch = "resnet-14" }},
		{"epochs", func(c *config.Config) { c.Epochs = 1 }},
	} {
		other := cfg
		c.change(&other)
		_, err := Train(t.Context(), other, data, resume)
		var e *ResumeError
		if !errors.As(err, &e) || e.Key != c.field {
			t.Errorf("%s changed: got error %v, want a *ResumeError that names it", c.field, err)
		}
	}
	other := *data
	other.Digest = "other"
	var e *ResumeError
	if _, err := Train(t.Context(), cfg, &other, resume); !errors.As(err, &e) || e.Key != "data" {
		t.Errorf("other pictures: got error %v, want a *ResumeError that names data", err)
	}
	longer := cfg
	longer.Epochs = 3
	limited := resume
	limited.MaxMemory = 1
	var memory *MemoryError
	if _, err := Train(t.Context(), longer, data, limited); !errors.As(err, &memory) || errors.As(err, &e) {
		t.Errorf("a memory limit of one byte: got error %v, want a *MemoryError and no *ResumeError, since the files are intact", err)
	}
	if !sameSnapshot(snapshot(t, dir), before) {
		t.Error("refused resumes changed files, want no change")
	}
	for what, damage := range map[string]func() error{
		"a truncated resume.bnz": func() error {
			return os.Truncate(filepath.Join(dir, rundir.ResumeFile), int64(len(before[rundir.ResumeFile])-1))
		},
		"a flipped bit in resume.bnz": func() error {
			b := bytes.Clone(before[rundir.ResumeFile])
			b[len(b)/2] ^= 1
			return os.WriteFile(filepath.Join(dir, rundir.ResumeFile), b, 0o666)
		},
		"ckpt.bnz in place of resume.bnz": func() error {
			return os.WriteFile(filepath.Join(dir, rundir.ResumeFile), before[rundir.CheckpointFile], 0o666)
		},
		"no resume.bnz": func() error { return os.Remove(filepath.Join(dir, rundir.ResumeFile)) }, // ckpt.bnz still holds two epochs
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		damaged := snapshot(t, dir)
		_, err := Train(t.Context(), longer, data, resume)
		if !errors.As(err, &e) || !e.MustReplace || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got error %v, want a *ResumeError about a run that can only be replaced, which names the directory", what, err)
		}
		if !sameSnapshot(snapshot(t, dir), damaged) {
			t.Errorf("%s: the refused resume changed files, want no change", what)
		}
		restore(t, dir, before)
	}
	mustTrain(t, cfg, data, resume)
	if !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), before[rundir.CheckpointFile]) {
		t.Error("after refused resumes, the checkpoint differs from that of the finished run, want the same bytes")
	}
}

// TestResumeRepairsMetrics checks that a resume continues from resume.bnz even if metrics.jsonl
// is damaged, and keeps the rows that can be read.
func TestResumeRepairsMetrics(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs = 3
	source := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: source, Threads: 1})
	before := snapshot(t, source)
	row := bytes.SplitAfter(before[rundir.MetricsFile], []byte("\n"))
	cfg.Epochs = 4
	whole := t.TempDir()
	want := mustTrain(t, cfg, data, TrainOptions{Dir: whole, Threads: 1})
	for name, c := range map[string]struct {
		metrics []byte
		lost    []int
	}{
		"last row cut off":       {slices.Concat(row[0], row[1], row[2][:20]), []int{3}},
		"middle row cut off":     {slices.Concat(row[0], row[1][:20], row[1], row[2]), []int{2}}, // the complete row follows on the same line
		"repeated rows":          {slices.Concat(row[0], row[1], row[0], row[1], row[2]), nil},
		"rows out of order":      {slices.Concat(row[2], row[0], row[1]), nil},
		"a missing row":          {slices.Concat(row[0], row[2]), []int{2}},
		"not JSON":               {[]byte("\x00\x00\x00\n\n"), []int{1, 2, 3}},
		"an empty file":          {nil, []int{1, 2, 3}},
		"a row of a later epoch": {slices.Concat(before[rundir.MetricsFile], []byte("{\"epoch\":4}\n")), nil},
	} {
		dir := t.TempDir()
		restore(t, dir, before)
		if err := os.WriteFile(filepath.Join(dir, rundir.MetricsFile), c.metrics, 0o666); err != nil {
			t.Fatal(err)
		}
		var lost *rundir.LostRowsError
		got := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true, Warn: func(err error) { errors.As(err, &lost) }})
		if (lost == nil) != (c.lost == nil) || lost != nil && !slices.Equal(lost.Epochs, c.lost) {
			t.Errorf("%s: the warning about lost rows is %v, want epochs %v", name, lost, c.lost)
		}
		kept := slices.DeleteFunc(slices.Clone(want.Epochs), func(m rundir.EpochMetrics) bool { return slices.Contains(c.lost, m.Epoch) })
		rows, err := rundir.ReadMetrics(filepath.Join(dir, rundir.MetricsFile))
		if err != nil || !slices.EqualFunc(rows, kept, sameMeasurements) || !slices.EqualFunc(got.Epochs, kept, sameMeasurements) {
			t.Errorf("%s: metrics %+v, %v, and result %+v; want %+v", name, rows, err, got.Epochs, kept)
		}
		if !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), readFile(t, whole, rundir.CheckpointFile)) {
			t.Errorf("%s: ckpt.bnz differs from that of an uninterrupted run, want the same bytes", name)
		}
	}
}

// TestOverwriting checks that a run replaces another one only with Force, and only if it can
// start.
func TestOverwriting(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs = 1
	dir := filepath.Join(t.TempDir(), "a", "run")
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
	before := snapshot(t, dir)
	cfg.Seed = 2
	var e *rundir.RunExistsError
	if _, err := Train(t.Context(), cfg, data, TrainOptions{Dir: dir, Threads: 1}); !errors.As(err, &e) {
		t.Errorf("got error %v, want a *RunExistsError", err)
	}
	if !sameSnapshot(snapshot(t, dir), before) {
		t.Error("the refused run changed files, want no change")
	}
	if _, err := Train(t.Context(), cfg, data, TrainOptions{Dir: dir, Threads: 1, Force: true, Resume: true}); err == nil {
		t.Error("Train with Force and Resume returns no error, want one")
	}
	bad := cfg
	bad.Batch = 65
	var ce *config.Error
	if _, err := Train(t.Context(), bad, data, TrainOptions{Dir: dir, Threads: 1, Force: true}); !errors.As(err, &ce) || ce.Key != "batch" {
		t.Errorf("a batch of 65 from 64 pictures: got error %v, want a *config.Error that names batch", err)
	}
	if !sameSnapshot(snapshot(t, dir), before) {
		t.Error("a forced run that cannot start changed files, want no change")
	}
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Force: true})
	if bytes.Equal(readFile(t, dir, rundir.CheckpointFile), before[rundir.CheckpointFile]) {
		t.Error("a forced run left the old checkpoint, want its own")
	}
	if rows, err := rundir.ReadMetrics(filepath.Join(dir, rundir.MetricsFile)); err != nil || len(rows) != 1 {
		t.Errorf("a forced run leaves %d metrics rows, want 1; error %v", len(rows), err)
	}
}

// TestResumeWithOtherKernel checks that a state with another Arithmetic than this process is
// refused without changes, that the options can allow it, and that a state without an
// Arithmetic is accepted.
func TestResumeWithOtherKernel(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs = 1
	dir := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
	path := filepath.Join(dir, rundir.ResumeFile)
	now := kernel.CurrentArithmetic(kernel.Best())
	cfg.Epochs = 2
	replaceState := func(change func(map[string]any)) {
		t.Helper()
		file, err := checkpoint.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		state := map[string]any{}
		if err := json.Unmarshal(file.Header.State, &state); err != nil {
			t.Fatal(err)
		}
		change(state)
		if file.Header.State, err = json.Marshal(state); err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.WriteFile(path, file); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []kernel.Arithmetic{
		{Kernels: "other", Platform: now.Platform, Functions: now.Functions},
		{Kernels: now.Kernels, Platform: "other", Functions: now.Functions},
		{Kernels: now.Kernels, Platform: now.Platform, Functions: "other"},
	} {
		replaceState(func(state map[string]any) { state["Arithmetic"] = other })
		before := snapshot(t, dir)
		_, err := Train(t.Context(), cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true})
		var e *ArithmeticError
		if !errors.As(err, &e) || e.Before != other || e.Now != now {
			t.Errorf("a state of %+v: got error %v, want an *ArithmeticError from %[1]v to %[3]v", other, err, now)
		}
		if !sameSnapshot(snapshot(t, dir), before) {
			t.Errorf("the refused resume of a state of %+v changed files, want no change", other)
		}
	}
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true, AllowOtherKernel: true})
	cfg.Epochs = 3
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true}) // the last run wrote the Arithmetic of this process
	replaceState(func(state map[string]any) { delete(state, "Arithmetic") })
	cfg.Epochs = 4
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true})
}

// snapshot returns the content of every file in a directory.
func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files[e.Name()] = readFile(t, dir, e.Name())
	}
	return files
}

// sameSnapshot reports whether two snapshots are equal.
func sameSnapshot(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for name, content := range a {
		if other, ok := b[name]; !ok || !bytes.Equal(content, other) {
			return false
		}
	}
	return true
}

// restore writes the files of a snapshot to dir.
func restore(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResumeKeepsDrops checks that a run that is resumed for more epochs, with settings that
// have no rate drops, keeps the drops that it began with.
func TestResumeKeepsDrops(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs, cfg.LRDrops = 3, nil
	dir := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
	cfg.Epochs = 6
	r := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true})
	var rates []float64
	for _, e := range r.Epochs {
		rates = append(rates, e.LearningRate)
	}
	if want := []float64{0.1, 0.1, 0.01, 0.01, 0.01, 0.01}; !slices.Equal(rates, want) || !slices.Equal(r.Config.LRDrops, []int{2}) {
		t.Errorf("rates %v with drops %v, want %v with drops [2]", rates, r.Config.LRDrops, want)
	}
}
