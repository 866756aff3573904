package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
)

// trained is a small run's result: the trainer at its end, and the directory.
func trained(t *testing.T, cfg Config) (*run, string) {
	t.Helper()
	data := synthetic(150, 40)
	dir := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2})
	r, err := newRun(t.Context(), cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.trainer.close)
	if err := r.resume(); err != nil {
		t.Fatal(err)
	}
	return r, dir
}

// weightsHash is the SHA-256 of every tensor's bits, in order.
func weightsHash(p *nn.Params[float32]) string {
	h := sha256.New()
	for _, values := range p.Values {
		for _, v := range values {
			var b [4]byte
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
			h.Write(b[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestInitialWeights pins the bits that a seed stands for: every checkpoint
// that stores no weights depends on them.
func TestInitialWeights(t *testing.T) {
	net, err := arch.Build("resnet-20", arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10})
	if err != nil {
		t.Fatal(err)
	}
	p := nn.NewParams[float32](net, nil)
	p.Initialise(1)
	const want = "8f2408059902bf195e892d65ff7b73f13ddb59d5ed524197f24b2eb4add76ffd"
	if got := weightsHash(p); got != want {
		t.Errorf("resnet-20's weights of seed 1 have hash %s, want %s", got, want)
	}
}

// TestLoadModel: a loaded model is the trained one, every bit and every
// logit, though the checkpoint of a BN-only run stores no weight.
func TestLoadModel(t *testing.T) {
	for _, set := range everySet() {
		cfg := tinyConfig()
		cfg.Trainable, cfg.Epochs, cfg.WithStats = set, 2, true
		checkLoads(t, cfg)
	}
}

// checkLoads trains cfg and compares the trained network with what its files
// load as.
func checkLoads(t *testing.T, cfg Config) {
	t.Helper()
	set := cfg.Arch + ", " + cfg.Trainable
	r, dir := trained(t, cfg)
	m, err := LoadModel(filepath.Join(dir, CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := weightsHash(m.Params), weightsHash(r.trainer.params); got != want {
		t.Errorf("%s: weights of hash %s, trained ones of %s", set, got, want)
	}
	stored := 0
	for _, x := range m.File().Tensors {
		stored += len(x.Float32)
	}
	if want := r.trainer.set.Parameters(r.trainer.network); stored != want {
		t.Errorf("%s: %d numbers stored, want %d", set, stored, want)
	}
	logits := func(params *nn.Params[float32], stats *nn.Statistics) []float32 {
		f, err := newInference(m.Network, params, stats, 1, m.Header.Normalisation.Eps)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, _ := r.testing.Start(t.Context(), 0, 0).Next()
		return slices.Clone(f.Run(b.Images, b.N))
	}
	if !slices.Equal(logits(m.Params, m.Stored), logits(r.trainer.params, r.trainer.running)) {
		t.Errorf("%s: the loaded model's logits differ", set)
	}

	// What a model writes is what it was read from.
	again := filepath.Join(t.TempDir(), "again.bnz")
	if err := checkpoint.WriteFile(again, m.File()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, again), readFile(t, dir, CheckpointFile)) {
		t.Errorf("%s: a loaded model is written differently", set)
	}

	// A resume state is a model too: that of its last step.
	s, err := LoadModel(filepath.Join(dir, ResumeFile))
	if err != nil {
		t.Fatal(err)
	}
	if weightsHash(s.Params) != weightsHash(m.Params) || s.Stored == nil {
		t.Errorf("%s: the resume state loads as another model", set)
	}
}

// TestInitialisersAreStored: a file alone regenerates weights drawn otherwise
// than by default.
func TestInitialisersAreStored(t *testing.T) {
	for i, in := range []nn.Initialisers{
		{Weights: "he-uniform", Gamma: "one", Beta: "one"},
		{Weights: "orthogonal", Gamma: "uniform-symmetric", Beta: "zero"},
		{Weights: "binary", Gamma: "normal", Beta: "constant:0.1"},
		{Weights: "he-normal", Gamma: "constant:0.5", Beta: "zero"},
	} {
		cfg := tinyConfig()
		cfg.Trainable, cfg.Epochs = []string{"bn", "none", "random-2", "output"}[i], 1
		cfg.Init, cfg.GammaInit, cfg.BetaInit = in.Weights, in.Gamma, in.Beta
		r, dir := trained(t, cfg)
		for _, name := range []string{CheckpointFile, ResumeFile} {
			m, err := LoadModel(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if weightsHash(m.Params) != weightsHash(r.trainer.params) {
				t.Errorf("%+v: %s regenerates other weights", in, name)
			}
		}
	}
}

func TestLoadModelRefuses(t *testing.T) {
	cfg := tinyConfig()
	cfg.Epochs = 1
	_, dir := trained(t, cfg)
	path := filepath.Join(dir, CheckpointFile)
	gamma := func(f *checkpoint.File) *checkpoint.Tensor {
		return &f.Tensors[slices.IndexFunc(f.Tensors, func(x checkpoint.Tensor) bool { return x.Name == "bn.weight" })]
	}
	for _, c := range []struct {
		says   string
		change func(*checkpoint.File)
	}{
		{"bn.bias", func(f *checkpoint.File) {
			f.Tensors = slices.DeleteFunc(f.Tensors, func(x checkpoint.Tensor) bool { return x.Name == "bn.bias" })
		}},
		{"bn9.weight", func(f *checkpoint.File) {
			x := *gamma(f)
			x.Name = "bn9.weight"
			f.Tensors = append(f.Tensors, x)
		}},
		{"shape [8]", func(f *checkpoint.File) { x := gamma(f); x.Shape, x.Float32 = []int{8}, x.Float32[:8] }},
		{"NaN", func(f *checkpoint.File) { gamma(f).Float32[3] = float32(math.NaN()) }},
		{"resnet-9", func(f *checkpoint.File) { f.Header.Arch = "resnet-9" }},
		{"network's is [16]", func(f *checkpoint.File) { f.Header.Arch = "resnet-6002" }},
		{"[1024]", func(f *checkpoint.File) { f.Header.Arch = "wrn-6002-64" }}, // refused before terabytes are allocated
		{"gama", func(f *checkpoint.File) { f.Header.Trainable = "gama" }},
		{"missing", func(f *checkpoint.File) { f.Header.Trainable = "all" }},
		{"xavier", func(f *checkpoint.File) { f.Header.Initialisers.Weights = "xavier" }},
		{"constant:NaN", func(f *checkpoint.File) { f.Header.Initialisers.Gamma = "constant:NaN" }},
		{"is no initialiser of beta", func(f *checkpoint.File) { f.Header.Initialisers.Beta = "" }},
		{"mt19937", func(f *checkpoint.File) { f.Header.Initialisers.Generator = "mt19937" }},
		{"classes", func(f *checkpoint.File) { f.Header.Classes = 1 }},
		{"parameters", func(f *checkpoint.File) { // no tensor vouches for the terabytes of its weights
			f.Header.Arch, f.Header.Trainable, f.Tensors = "wrn-6002-64", "none", nil
		}},
	} {
		m, err := LoadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		f := m.File()
		c.change(f)
		bad := filepath.Join(t.TempDir(), "bad.bnz")
		if err := checkpoint.WriteFile(bad, f); err != nil {
			t.Fatal(err)
		}
		_, err = LoadModel(bad)
		var e *ModelError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%v, want a *ModelError that names the file and %q", err, c.says)
		}
	}
	if _, err := LoadModel(filepath.Join(dir, "none.bnz")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadModel(path); !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("a truncated file: %v, want ErrCorrupt and the path", err)
	}
}

// TestFirstStatistics follows the first convolution by plain loops in float64:
// its batch statistics, re-estimated and running.
func TestFirstStatistics(t *testing.T) {
	cfg := tinyConfig()
	cfg.Epochs, cfg.Batch, cfg.Augment, cfg.WithStats = 1, 75, false, true
	r, dir := trained(t, cfg) // 2 steps
	m, err := LoadModel(filepath.Join(dir, CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Header.Statistics; s.Seed != 1 || s.Batch != 128 || s.Batches != 1 {
		t.Fatalf("the header records %+v", s)
	}
	e, err := m.Evaluator(r.data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Reestimate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, _ := e.estimating.Start(t.Context(), 0, 0).Next()
	compareFirst(t, "re-estimated", m, got, func(c int) (mean, variance float64) {
		return convolutionMoments(m, b.Images, b.N, c)
	})

	// The stem's weights are frozen, so both steps saw the same convolution.
	compareFirst(t, "running", m, m.Stored, func(c int) (mean, variance float64) {
		mean, variance = 0, 1
		batches := r.loader.Start(t.Context(), 0, 0)
		defer batches.Close()
		for b, ok := batches.Next(); ok; b, ok = batches.Next() {
			bm, bv := convolutionMoments(m, b.Images, b.N, c)
			mean, variance = 0.9*mean+0.1*bm, 0.9*variance+0.1*bv
		}
		return mean, variance
	})
}

func compareFirst(t *testing.T, what string, m *Model, got *nn.Statistics, want func(c int) (mean, variance float64)) {
	t.Helper()
	for c := range m.Network.Units[0].OutShape.C {
		mean, variance := want(c)
		if !closeTo(got.Mean[0][c], mean, 1e-5) || !closeTo(got.Var[0][c], variance, 1e-5) {
			t.Errorf("%s, channel %d: mean %v and variance %v, want %v and %v", what, c, got.Mean[0][c], got.Var[0][c], mean, variance)
		}
	}
}

// convolutionMoments is the mean and unbiased variance of channel k of the
// stem's convolution over n pictures.
func convolutionMoments(m *Model, x []float32, n, k int) (mean, variance float64) {
	in, w := m.Network.Input, m.Params.Named("conv.weight")
	var values []float64
	for i := range n {
		for y := range in.H {
			for z := range in.W {
				sum := 0.0
				for c := range in.C {
					for dy := -1; dy <= 1; dy++ {
						for dz := -1; dz <= 1; dz++ {
							if y+dy < 0 || y+dy >= in.H || z+dz < 0 || z+dz >= in.W {
								continue
							}
							sum += float64(w[((k*in.C+c)*3+dy+1)*3+dz+1]) * float64(x[((i*in.C+c)*in.H+y+dy)*in.W+z+dz])
						}
					}
				}
				values = append(values, sum)
			}
		}
	}
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		variance += (v - mean) * (v - mean) / float64(len(values)-1)
	}
	return mean, variance
}

// TestReestimate compares every unit's statistics with those of the float64
// reference network on batches put together here, and checks that threads and
// repetition do not matter.
func TestReestimate(t *testing.T) {
	cfg := tinyConfig()
	cfg.Epochs = 1
	r, dir := trained(t, cfg)
	m, err := LoadModel(filepath.Join(dir, CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Statistics = checkpoint.Statistics{Seed: 5, Batch: 32, Batches: 3}
	var all []*nn.Statistics
	for _, threads := range []int{1, 3} {
		e, err := m.Evaluator(r.data, threads)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for range 2 {
			s, err := e.Reestimate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
	}
	want := naiveStatistics(t, m, r, 5, 32, 3)
	for u := range want.Mean {
		for i, s := range all {
			if !slices.Equal(s.Mean[u], all[0].Mean[u]) || !slices.Equal(s.Var[u], all[0].Var[u]) {
				t.Errorf("unit %d: estimate %d differs from the first", u, i)
			}
		}
		for c := range want.Mean[u] {
			if !closeTo(all[0].Mean[u][c], want.Mean[u][c], 1e-4) || !closeTo(all[0].Var[u][c], want.Var[u][c], 1e-4) {
				t.Errorf("unit %d, channel %d: mean %v, variance %v; want %v, %v", u, c, all[0].Mean[u][c], all[0].Var[u][c], want.Mean[u][c], want.Var[u][c])
			}
		}
	}
	m.Header.Statistics.Batches = 5
	var e *ModelError
	if _, err := m.Evaluator(r.data, 1); !errors.As(err, &e) {
		t.Errorf("5 batches of 32 from 150 pictures: %v, want a *ModelError", err)
	}
}

// naiveStatistics averages float64 batch statistics over pictures in the order
// of the permutation that the seed gives.
func naiveStatistics(t *testing.T, m *Model, r *run, seed uint64, batch, batches int) *nn.Statistics {
	t.Helper()
	params := nn.NewParams[float64](m.Network, nil)
	for i, values := range m.Params.Values {
		for j, v := range values {
			params.Values[i][j] = float64(v)
		}
	}
	plan, err := nn.NewTraining(m.Network, kernel.Generic[float64](), params, nn.TrainingOptions{Batch: batch, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	split := r.data.Train
	order := make([]int32, split.Len())
	stream := rng.NewStream(seed, "shuffle/epoch/0")
	stream.Permutation(order)
	mean := nn.NewStatistics(m.Network)
	each(mean.Mean, func(float64) float64 { return 0 })
	each(mean.Var, func(float64) float64 { return 0 })
	for b := range batches {
		var x []float64
		labels := make([]int32, batch)
		for _, picture := range order[b*batch : (b+1)*batch] {
			for i, v := range split.Image(int(picture)) {
				c := i / (split.Height * split.Width)
				x = append(x, (float64(v)/255-float64(r.data.Mean[c]))/float64(r.data.Std[c]))
			}
		}
		plan.Forward(x, labels)
		s := plan.BatchStatistics()
		for u := range mean.Mean {
			for c := range mean.Mean[u] {
				mean.Mean[u][c] += s.Mean[u][c] / float64(batches)
				mean.Var[u][c] += s.Var[u][c] / float64(batches)
			}
		}
	}
	return mean
}

// TestEvaluate checks that an evaluation is that of the whole test split, says
// which statistics it used, follows changes of γ, and can be written as JSON.
func TestEvaluate(t *testing.T) {
	cfg := tinyConfig()
	cfg.WithStats = true
	r, dir := trained(t, cfg)
	m, err := LoadModel(filepath.Join(dir, CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Evaluator(r.data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Evaluate(t.Context(), m.Stored)
	if err != nil {
		t.Fatal(err)
	}
	last := r.metrics[len(r.metrics)-1]
	want := Evaluation{last.TestAccuracy, last.TestLoss, 40, StatisticsStored}
	if got != want {
		t.Errorf("%+v, training measured %+v", got, want)
	}
	stats, err := e.Reestimate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err = e.Evaluate(t.Context(), stats); err != nil || got.Statistics != StatisticsReestimated || got.TestLoss == want.TestLoss {
		t.Errorf("%+v, %v", got, err)
	}

	// Without γ and β every picture has the same logits: the output layer's bias.
	for u := range m.Network.Units {
		clear(m.Params.Of(u, arch.Gamma))
		clear(m.Params.Of(u, arch.Beta))
	}
	bias := m.Params.Named("fc.bias")
	loss := nn.Loss{}
	for _, label := range r.data.Test.Labels {
		loss.Add(nn.CrossEntropy(bias, []int32{int32(label)}, len(bias)))
	}
	if got, err = e.Evaluate(t.Context(), m.Stored); err != nil || !closeTo(got.TestLoss, loss.Mean(), 1e-12) || got.TestAccuracy != loss.Accuracy() {
		t.Errorf("%+v, %v; want loss %v and accuracy %v", got, err, loss.Mean(), loss.Accuracy())
	}

	b, err := json.Marshal(Evaluation{0.5, math.NaN(), 40, StatisticsStored})
	if err != nil || string(b) != `{"test_accuracy":0.5,"examples":40,"statistics":"stored"}` {
		t.Errorf("%s, %v", b, err)
	}
	other := *r.data
	other.Classes = other.Classes[:3]
	var me *ModelError
	if _, err := m.Evaluator(&other, 1); !errors.As(err, &me) {
		t.Errorf("data of 3 classes: %v, want a *ModelError", err)
	}
}

// TestOpenData: the data set is found again by name and subset, and other
// pictures are refused. The embedded sample is the data set.
func TestOpenData(t *testing.T) {
	data, err := dataset.Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := tinyConfig()
	cfg.Subset, cfg.Epochs, cfg.Batch = 20, 1, 20
	dir := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2})
	m, err := LoadModel(filepath.Join(dir, CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	found, err := m.OpenData("")
	if err != nil {
		t.Fatal(err)
	}
	if found.Train.Len() != 20 || found.Digest == data.Digest {
		t.Errorf("%d training pictures, want the subset of 20", found.Train.Len())
	}
	var e *ModelError
	m.Header.Data.Subset = 21
	if _, err := m.OpenData(""); !errors.As(err, &e) || !strings.Contains(err.Error(), "other pictures") {
		t.Errorf("another subset: %v, want a *ModelError", err)
	}
	m.Header.Data.Subset = 1 << 40
	if _, err := m.OpenData(""); !errors.As(err, &e) {
		t.Errorf("a subset larger than the data: %v, want a *ModelError", err)
	}
	m.Header.Data.Name = "idx"
	if _, err := m.OpenData(""); !errors.As(err, &e) || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("a nameless data set: %v, want a *ModelError that says --data-dir", err)
	}
}

// TestStateDict checks names, shapes and values of the export.
func TestStateDict(t *testing.T) {
	cfg := tinyConfig()
	cfg.Epochs, cfg.WithStats = 1, true
	_, dir := trained(t, cfg)
	m, err := LoadModel(filepath.Join(dir, CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range m.StateDict(m.Stored) {
		names = append(names, x.Name)
		elements := 1
		for _, d := range x.Shape {
			elements *= d
		}
		if elements != len(x.Float32) {
			t.Errorf("%s of shape %v has %d values", x.Name, x.Shape, len(x.Float32))
		}
		switch x.Name {
		case "conv.weight":
			if !slices.Equal(x.Shape, []int{16, 3, 3, 3}) || !slices.Equal(x.Float32, m.Params.Named(x.Name)) {
				t.Errorf("%s: shape %v, or other values than the model's", x.Name, x.Shape)
			}
		case "blocks.1.shortcut.1.running_var":
			unit := slices.IndexFunc(m.Network.Units, func(u arch.Unit) bool { return u.BN == "blocks.1.shortcut.1" })
			if x.Float32[5] != float32(m.Stored.Var[unit][5]) {
				t.Errorf("%s holds %v, want %v", x.Name, x.Float32[5], m.Stored.Var[unit][5])
			}
		}
	}
	var want []string
	unit := func(conv, bn string) {
		want = append(want, conv+".weight", bn+".weight", bn+".bias", bn+".running_mean", bn+".running_var")
	}
	unit("conv", "bn")
	for _, block := range []string{"blocks.0", "blocks.1", "blocks.2"} {
		unit(block+".conv1", block+".bn1")
		if block != "blocks.0" {
			unit(block+".shortcut.0", block+".shortcut.1")
		}
		unit(block+".conv2", block+".bn2")
	}
	want = append(want, "fc.weight", "fc.bias")
	if !slices.Equal(names, want) {
		t.Errorf("names %v, want %v", names, want)
	}
	meta := m.ExportMetadata()
	for key, value := range map[string]string{"arch": "resnet-8", "seed": "1", "input": "3,8,8", "classes": "4", "bn_eps": "1e-05"} {
		if meta[key] != value {
			t.Errorf("metadata %s is %q, want %q", key, meta[key], value)
		}
	}
	if got := strings.Count(meta["normalisation_std"], ","); got != 2 {
		t.Errorf("normalisation_std is %q, want three numbers", meta["normalisation_std"])
	}
}

func TestFindCheckpoint(t *testing.T) {
	dir := t.TempDir()
	if _, err := FindCheckpoint(dir); !errors.Is(err, ErrNoCheckpoint) || !strings.Contains(err.Error(), "bnkit train") {
		t.Errorf("%v, want ErrNoCheckpoint and what to type", err)
	}
	now := time.Now()
	put := func(age time.Duration, elem ...string) string {
		path := filepath.Join(append([]string{dir}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put(3*time.Hour, "runs", "a", CheckpointFile)
	newest := put(time.Hour, "runs", "b", CheckpointFile)
	put(2*time.Hour, "runs", "c", CheckpointFile)
	put(0, "runs", "d", ResumeFile)
	if got, err := FindCheckpoint(dir); err != nil || got != newest {
		t.Errorf("%s, %v; want the newest run's, %s", got, err, newest)
	}
	here := put(9*time.Hour, CheckpointFile)
	if got, err := FindCheckpoint(dir); err != nil || got != here {
		t.Errorf("%s, %v; want %s", got, err, here)
	}
}

func TestFindUnfinishedRun(t *testing.T) {
	data, runs := synthetic(64, 20), filepath.Join(t.TempDir(), "runs")
	if _, err := FindUnfinishedRun(runs); !errors.Is(err, ErrNoRun) {
		t.Errorf("no runs: %v, want ErrNoRun", err)
	}
	cfg := tinyConfig()
	cfg.Epochs = 2
	interrupted := filepath.Join(runs, "interrupted")
	interruptAfter(t, cfg, data, TrainOptions{Dir: interrupted, Threads: 1}, 5)
	mustTrain(t, cfg, data, TrainOptions{Dir: filepath.Join(runs, "finished"), Threads: 1})
	if got, err := FindUnfinishedRun(runs); err != nil || got != interrupted {
		t.Errorf("%s, %v; want %s", got, err, interrupted)
	}
	mustTrain(t, cfg, data, TrainOptions{Dir: interrupted, Threads: 1, Resume: true})
	if got, err := FindUnfinishedRun(runs); !errors.Is(err, ErrNoRun) {
		t.Errorf("%s, %v; want ErrNoRun when all are finished", got, err)
	}
}
