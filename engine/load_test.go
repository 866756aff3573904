package engine

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// untrainedFile returns the file of a network with its initial γ and β, and with running means
// of 0 and running variances of 1.
func untrainedFile(t testing.TB, name string, width float64) *checkpoint.File {
	t.Helper()
	net, err := arch.Build(name, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10, Variants: arch.Variants{Width: width}})
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{
		Network: net, Params: nn.NewParams[float32](net, nil), Stored: nn.NewStatistics(net),
		Preprocessing: Preprocessing{Mean: []float32{0.5, 0.5, 0.5}, Std: []float32{1, 1, 1}, Eps: 1e-5},
		Origin:        &Origin{Trainable: arch.BN, Initialisers: nn.DefaultInitialisers},
	}
	m.Params.Initialise(0)
	file, err := m.File()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// writeAndLoad writes a file, reads it as a model and returns the error.
func writeAndLoad(t *testing.T, ctx context.Context, file *checkpoint.File, maxMemory int64) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.bnz")
	if err := checkpoint.WriteFile(path, file); err != nil {
		t.Fatal(err)
	}
	_, err := LoadModelContext(ctx, path, maxMemory)
	return err
}

// TestNumberBounds checks that numbers beyond the bounds of header.go are refused, and that
// numbers at the bounds are accepted.
func TestNumberBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(f *checkpoint.File)
		wantErr string // part of the error; "" if the file is valid
	}{
		{"unchanged", func(*checkpoint.File) {}, ""},
		{"no eps", func(f *checkpoint.File) { f.Header.Normalisation.Eps = 0 }, ""},
		{"eps 1", func(f *checkpoint.File) { f.Header.Normalisation.Eps = 1 }, ""},
		{"eps -1", func(f *checkpoint.File) { f.Header.Normalisation.Eps = -1 }, "bn_eps is -1"},
		{"eps 1e308", func(f *checkpoint.File) { f.Header.Normalisation.Eps = 1e308 }, "bn_eps is 1e+308"},
		{"no normalisation", func(f *checkpoint.File) { f.Header.Normalisation.Mean, f.Header.Normalisation.Std = nil, nil }, ""},
		{"mean -1000", func(f *checkpoint.File) { f.Header.Normalisation.Mean[1] = -1000 }, ""},
		{"mean 1e38", func(f *checkpoint.File) { f.Header.Normalisation.Mean[1] = 1e38 }, "mean of 1e+38 at index 1"},
		{"std 1e-9", func(f *checkpoint.File) { f.Header.Normalisation.Std[2] = 1e-9 }, ""},
		{"std 1000", func(f *checkpoint.File) { f.Header.Normalisation.Std[2] = 1000 }, ""},
		{"std 1e-45", func(f *checkpoint.File) { f.Header.Normalisation.Std[2] = 1e-45 }, "standard deviation of 1e-45 at index 2"},
		{"std 0", func(f *checkpoint.File) { f.Header.Normalisation.Std[0] = 0 }, "standard deviation of 0 at index 0"},
		{"std 1e30", func(f *checkpoint.File) { f.Header.Normalisation.Std[0] = 1e30 }, "standard deviation of 1e+30 at index 0"},
		{"two means", func(f *checkpoint.File) { f.Header.Normalisation.Mean = f.Header.Normalisation.Mean[:2] }, "2 means"},
		{"no std", func(f *checkpoint.File) { f.Header.Normalisation.Std = nil }, "0 standard deviations"},
		{"a mean for each pixel", func(f *checkpoint.File) { f.Header.Normalisation.Mean = make([]float32, 3*32*32) }, ""},
		{"γ of 1e15", func(f *checkpoint.File) { f.Tensors[0].Float32[3] = 1e15 }, ""},
		{"γ of MaxFloat32", func(f *checkpoint.File) { f.Tensors[0].Float32[3] = math.MaxFloat32 }, "holds 3.4028235e+38 at index 3"},
		{"γ of NaN", func(f *checkpoint.File) { f.Tensors[0].Float32[3] = float32(math.NaN()) }, "holds NaN at index 3"},
		{"running variance below 0", func(f *checkpoint.File) { f.Tensors[len(f.Tensors)-1].Float64[0] = -1 }, "holds -1 at index 0"},
		{"running variance of NaN", func(f *checkpoint.File) { f.Tensors[len(f.Tensors)-1].Float64[0] = math.NaN() }, "holds NaN at index 0"},
		{"running variance of 1e300", func(f *checkpoint.File) { f.Tensors[len(f.Tensors)-1].Float64[0] = 1e300 }, "holds 1e+300 at index 0"},
		{"running mean of -1e300", func(f *checkpoint.File) { f.Tensors[len(f.Tensors)-2].Float64[0] = -1e300 }, "holds -1e+300 at index 0"},
		{"running variance of 1e36", func(f *checkpoint.File) { f.Tensors[len(f.Tensors)-1].Float64[0] = 1e36 }, ""},
		{"running variance of 0", func(f *checkpoint.File) { f.Tensors[len(f.Tensors)-1].Float64[0] = 0 }, ""},
		{"running mean of -1e18", func(f *checkpoint.File) { f.Tensors[len(f.Tensors)-2].Float64[0] = -1e18 }, ""},
		{"constant γ of 1e38", func(f *checkpoint.File) { f.Header.Initialisers.Gamma = "constant:1e38" }, "at most 1e15"},
	} {
		file := untrainedFile(t, "resnet-8", 0)
		c.change(file)
		err := writeAndLoad(t, context.Background(), file, 0)
		var model *ModelError
		switch {
		case c.wantErr == "" && err != nil:
			t.Errorf("%s: got error %v, want none", c.name, err)
		case c.wantErr != "" && (!errors.As(err, &model) || !strings.Contains(model.Reason, c.wantErr)):
			t.Errorf("%s: got error %v, want a *ModelError that contains %q", c.name, err, c.wantErr)
		}
	}
}

// TestOversizedTensors checks that tensors far larger than the network's are refused before
// they are read, even if compression makes their file small.
func TestOversizedTensors(t *testing.T) {
	file := untrainedFile(t, "resnet-8", 0)
	zeros := make([]float32, 50<<20)
	file.Tensors = append(file.Tensors, checkpoint.Tensor{Section: checkpoint.SectionWeights, Name: "x", Shape: []int{len(zeros)}, Float32: zeros})
	path := filepath.Join(t.TempDir(), "x.bnz")
	if err := checkpoint.WriteFile(path, file); err != nil {
		t.Fatal(err)
	}
	var err error
	bytes := allocated(func() { _, err = LoadModel(path) })
	var model *ModelError
	if !errors.As(err, &model) || !strings.Contains(model.Reason, "bytes of tensors, but resnet-8") {
		t.Errorf("got error %v, want a *ModelError about the size", err)
	}
	if bytes > 32<<20 {
		t.Errorf("%.0f bytes were allocated, want at most %d", bytes, 32<<20)
	}
}

// TestLoadMemoryLimit checks that a network whose weights take more memory than the limit is
// refused.
func TestLoadMemoryLimit(t *testing.T) {
	file := untrainedFile(t, "resnet-110", 0)
	var limited *MemoryError
	if err := writeAndLoad(t, context.Background(), file, 1<<20); !errors.As(err, &limited) || limited.Limit != 1<<20 || limited.Need < 4*1_730_000 {
		t.Errorf("got error %v, want a *MemoryError for the 1.7 million weights", err)
	}
	if err := writeAndLoad(t, context.Background(), file, 32<<20); err != nil {
		t.Errorf("with a limit of 32 MiB: got error %v, want none", err)
	}
}

// TestLoadCancelled checks that loading stops if its context is cancelled.
func TestLoadCancelled(t *testing.T) {
	file := untrainedFile(t, "resnet-8", 0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := writeAndLoad(t, ctx, file, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}
