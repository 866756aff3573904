package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/engine/rundir"
)

// trainedRun trains a small run and returns the run at its end and its directory.
func trainedRun(t *testing.T, cfg config.Config) (*run, string) {
	t.Helper()
	data := synthetic(150, 40)
	dir := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2})
	o := TrainOptions{Dir: dir, Threads: 2, Resume: true}
	owned, err := ownExisting(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { owned.Release() })
	r, err := newRun(t.Context(), cfg, data, o, owned)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.trainer.Close)
	if err := r.resume(); err != nil {
		t.Fatal(err)
	}
	return r, dir
}

// weightsHash returns the SHA-256 of the bits of all tensors, in order.
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

// TestLoadModel checks that a loaded model equals the trained one in every bit and every logit,
// although the checkpoint of a BN-only run does not store weights.
func TestLoadModel(t *testing.T) {
	for _, set := range everySet() {
		cfg := tinyConfig()
		cfg.Trainable, cfg.Epochs, cfg.WithStats = set, 2, true
		checkLoadedModel(t, cfg)
	}
}

// checkLoadedModel trains cfg and compares the trained network with the models loaded from its
// files.
func checkLoadedModel(t *testing.T, cfg config.Config) {
	t.Helper()
	name := cfg.Arch + ", " + cfg.Trainable
	r, dir := trainedRun(t, cfg)
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := weightsHash(m.Params), weightsHash(r.trainer.params); got != want {
		t.Errorf("%s: the loaded weights have hash %s, want %s, that of the trained ones", name, got, want)
	}
	stored := 0
	file, err := m.File()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range file.Tensors {
		stored += len(x.Float32)
	}
	if want := r.trainer.set.Parameters(r.trainer.network); stored != want {
		t.Errorf("%s: %d numbers stored, want %d", name, stored, want)
	}
	if !slices.Equal(logits(t, r, m.Params, m.Stored), logits(t, r, r.trainer.params, r.trainer.running)) {
		t.Errorf("%s: the loaded model's logits differ from those of the trained one, want the same bits", name)
	}

	// Saving a loaded model gives the same file.
	resaved := filepath.Join(t.TempDir(), "resaved.bnz")
	if err := m.Save(resaved); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, resaved), readFile(t, dir, rundir.CheckpointFile)) {
		t.Errorf("%s: saving the loaded model gives a different file, want the same bytes", name)
	}

	// A resume state can be loaded too, as the model after its last step.
	s, err := LoadModel(filepath.Join(dir, rundir.ResumeFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := weightsHash(s.Params), weightsHash(m.Params); got != want || s.Stored == nil {
		t.Errorf("%s: the weights in the resume state have hash %s, and statistics are stored = %v; want %s and true", name, got, s.Stored != nil, want)
	}
}

// logits returns the logits that the run's network computes for the first batch of test
// pictures with the given parameters and statistics.
func logits(t *testing.T, r *run, params *nn.Params[float32], stats *nn.Statistics) []float32 {
	t.Helper()
	f, err := newInference(r.trainer.network, params, stats, 1, r.cfg.BNEps)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	batches := r.testLoader.Start(t.Context(), 0, 0)
	defer batches.Close()
	b, _ := batches.Next()
	return slices.Clone(f.Run(b.Images, b.N))
}

// TestInitialisersAreStored checks that weights can be regenerated from a file if they were
// not drawn by the default initialisers.
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
		r, dir := trainedRun(t, cfg)
		for _, name := range []string{rundir.CheckpointFile, rundir.ResumeFile} {
			m, err := LoadModel(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := weightsHash(m.Params), weightsHash(r.trainer.params); got != want {
				t.Errorf("%+v: the weights regenerated from %s have hash %s, want %s", in, name, got, want)
			}
		}
	}
}

// TestLoadModelErrors checks the errors for files that do not match their network, that are
// missing and that are truncated.
func TestLoadModelErrors(t *testing.T) {
	cfg := tinyConfig()
	cfg.Epochs = 1
	_, dir := trainedRun(t, cfg)
	path := filepath.Join(dir, rundir.CheckpointFile)
	gamma := func(f *checkpoint.File) *checkpoint.Tensor {
		return &f.Tensors[slices.IndexFunc(f.Tensors, func(x checkpoint.Tensor) bool { return x.Name == "bn.weight" })]
	}
	for _, c := range []struct {
		wantErr string
		change  func(*checkpoint.File)
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
		{"in the network it has shape [16]", func(f *checkpoint.File) { f.Header.Arch = "resnet-6002" }},
		{"[1024]", func(f *checkpoint.File) { f.Header.Arch = "wrn-6002-64" }}, // refused before terabytes are allocated
		{"gama", func(f *checkpoint.File) { f.Header.Trainable = "gama" }},
		{"missing", func(f *checkpoint.File) { f.Header.Trainable = "all" }},
		{"xavier", func(f *checkpoint.File) { f.Header.Initialisers.Weights = "xavier" }},
		{"constant:NaN", func(f *checkpoint.File) { f.Header.Initialisers.Gamma = "constant:NaN" }},
		{"is not an initialiser of beta", func(f *checkpoint.File) { f.Header.Initialisers.Beta = "" }},
		{"mt19937", func(f *checkpoint.File) { f.Header.Initialisers.Generator = "mt19937" }},
		{"classes", func(f *checkpoint.File) { f.Header.Classes = 1 }},
		{"parameters", func(f *checkpoint.File) { // refused because the file stores no tensor of a network with terabytes of weights
			f.Header.Arch, f.Header.Trainable, f.Tensors = "wrn-6002-64", "none", nil
		}},
	} {
		m, err := LoadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.File()
		if err != nil {
			t.Fatal(err)
		}
		c.change(f)
		bad := filepath.Join(t.TempDir(), "bad.bnz")
		if err := checkpoint.WriteFile(bad, f); err != nil {
			t.Fatal(err)
		}
		_, err = LoadModel(bad)
		var e *ModelError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.wantErr) || !strings.Contains(err.Error(), bad) {
			t.Errorf("got error %v, want a *ModelError that names the file and %q", err, c.wantErr)
		}
	}
	if _, err := LoadModel(filepath.Join(dir, "none.bnz")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got error %v, want os.ErrNotExist", err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadModel(path); !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("a truncated file: got error %v, want ErrCorrupt and the path", err)
	}
}

// TestOpenData checks that the data set is found by name and subset, and that other pictures are
// refused. It uses the embedded sample.
func TestOpenData(t *testing.T) {
	data, err := dataset.Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := tinyConfig()
	cfg.Subset, cfg.Epochs, cfg.Batch = 20, 1, 20
	dir := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2})
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	found, err := m.OpenData("")
	if err != nil {
		t.Fatal(err)
	}
	if found.Train.Len() != 20 || found.Digest == data.Digest {
		t.Errorf("%d training pictures with digest %s; want 20 and another digest than that of all pictures, %s", found.Train.Len(), found.Digest, data.Digest)
	}
	var e *DataError
	m.Data.Selection.Subset = 21
	if _, err := m.OpenData(""); !errors.As(err, &e) || !strings.Contains(err.Error(), "other pictures") {
		t.Errorf("another subset: got error %v, want a *DataError about other pictures", err)
	}
	m.Data.Selection.Subset = 1 << 40
	if _, err := m.OpenData(""); !errors.As(err, &e) {
		t.Errorf("a subset larger than the data: got error %v, want a *DataError", err)
	}
	m.Data.Name = "idx"
	if _, err := m.OpenData(""); !errors.As(err, &e) {
		t.Errorf("a data set that dataset.Open does not know, without its path: got error %v, want a *DataError", err)
	}
}

// TestWrongOrigins loads files whose lists of the origins of channels do not fit their networks.
func TestWrongOrigins(t *testing.T) {
	for want, change := range map[string]func(origins map[string][]int){
		`"conv9", a unit that it does not have`: func(o map[string][]int) { o["conv9"] = o["conv"] },
		"3 channels of conv, which has 4":       func(o map[string][]int) { o["conv"] = o["conv"][:3] },
		"5 channels of conv, which has 4":       func(o map[string][]int) { o["conv"] = append(slices.Clone(o["conv"]), 9) },
		"of conv, [-1 0 1 1], are not":          func(o map[string][]int) { o["conv"] = []int{-1, 0, 1, 1} },
		"of conv, [-2 0 1 3], are not":          func(o map[string][]int) { o["conv"] = []int{-2, 0, 1, 3} },
		"":                                      func(o map[string][]int) { o["conv"] = []int{-1, -1, 1, 3} },
	} {
		file, err := checkpoint.ReadFile("testdata/pruned-weights.bnz")
		if err != nil {
			t.Fatal(err)
		}
		change(file.Header.Network.Origins)
		m, err := newModel(file)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want one with %q", err, want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.File(); err != nil {
			t.Errorf("two channels that carry constants: got error %v, want none", err)
		}
	}
}
