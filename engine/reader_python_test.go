package engine

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
	"bnkit/engine/rundir"
)

// reader is the path of a reader of .bnz files in Python, which was written from FORMAT.md and
// SPEC.md alone.
var reader = filepath.Join("..", "checkpoint", "testdata", "reader", "bnz.py")

// readerPython returns a Python interpreter that has what the reader needs, or "".
var readerPython = sync.OnceValue(func() string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-B", reader, "--help").Run() == nil {
			return python
		}
	}
	return ""
})

// readerExample is a model whose file the reader reads.
type readerExample struct {
	name    string
	arch    string
	options arch.Options // Input.H is the side of the colour pictures, or 0 for 8; the other sizes are not set
	set     arch.TrainableSet
	in      nn.Initialisers
	seed    uint64
	stored  bool // whether the file stores running statistics
	eps     float64
	clamps  int  // index of exportClamps, counted from 1; 0 for no channels held constant
	pixel   bool // whether the mean is per pixel
}

// readerExamples use every initialiser, every trainable set, and every variant. One constant is
// just above the middle of two float32 numbers; its nearest float64 is the middle.
var readerExamples = []readerExample{
	{name: "option B", arch: "resnet-14", set: arch.BN},
	{name: "option A", arch: "resnet-14", options: arch.Options{Input: arch.Shape{H: 9}, Shortcut: arch.OptionA}, set: "bn+output", seed: 1<<64 - 1, stored: true,
		in: nn.Initialisers{Weights: "he-uniform", Gamma: "uniform-symmetric", Beta: "constant:-0.25"}},
	{name: "centred option A", arch: "resnet-8", options: arch.Options{Shortcut: arch.OptionACentred, Variants: arch.Variants{Width: 0.3}}, set: "gamma", pixel: true,
		in: nn.Initialisers{Weights: "orthogonal", Gamma: "one", Beta: "one"}},
	{name: "wide", arch: "wrn-8-2", set: "bn+shortcut", seed: 1 << 40, eps: 1e-3,
		in: nn.Initialisers{Weights: "binary", Gamma: "normal", Beta: "constant:0.1"}},
	{name: "bottlenecks", arch: "resnet-11-bottleneck", set: "random-3", stored: true,
		in: nn.Initialisers{Weights: "orthogonal", Gamma: "constant:1.000000059604644775390626", Beta: "zero"}},
	{name: "every second BatchNorm", arch: "resnet-11-bottleneck", options: arch.Options{Variants: arch.Variants{BNEvery: 2}}, set: arch.All, stored: true},
	{name: "ImageNet", arch: "resnet2-1-1-1", options: arch.Options{Input: arch.Shape{H: 64}, Variants: arch.Variants{Width: 0.125}}, set: "bn+random-5", stored: true},
	{name: "ImageNet bottlenecks", arch: "resnet1-2-1-1-bottleneck", options: arch.Options{Input: arch.Shape{H: 16}, Variants: arch.Variants{Stem: arch.CIFARStem, Width: 0.0625}}, set: "beta",
		in: nn.Initialisers{Weights: "he-uniform", Gamma: "uniform", Beta: "zero"}},
	{name: "ResNet-18", arch: "resnet18", options: arch.Options{Variants: arch.Variants{Stem: arch.CIFARStem, Width: 0.05, BNEvery: 3}}, set: arch.BN, eps: 1e-3, stored: true},
	{name: "VGG", arch: "vgg-11", options: arch.Options{Input: arch.Shape{H: 17}, Variants: arch.Variants{Width: 0.0625, NoScale: "*1?.bn,layers.0.bn"}}, set: "output", stored: true},
	{name: "no BatchNorm", arch: "convnet", options: arch.Options{Variants: arch.Variants{BN: arch.NoBN}}, set: "random-2"},
	{name: "VGG-38", arch: "vgg-38", options: arch.Options{Variants: arch.Variants{NoShift: "block_?_[1-3].*,input*"}}, set: "bn+shortcut", stored: true},
	{name: "nothing trained", arch: "convnet", set: "none", seed: 12},
	{name: "pruned", arch: "resnet-14", set: arch.BN, clamps: 1},
	{name: "pruned layers", arch: "resnet-8", options: arch.Options{Shortcut: arch.OptionA}, set: "bn+random-2", clamps: 4, stored: true},
	{name: "pruned weights, option A", arch: "resnet-14", options: arch.Options{Shortcut: arch.OptionA}, set: arch.All, clamps: 1, stored: true},
	{name: "pruned weights, bottlenecks", arch: "resnet-11-bottleneck", set: arch.All, clamps: 2},
	{name: "pruned weights, ImageNet", arch: "resnet2-1-1-1", options: arch.Options{Variants: arch.Variants{Width: 0.0625}}, set: arch.All, clamps: 5, stored: true},
	{name: "pruned weights, VGG-38", arch: "vgg-38", set: arch.All, clamps: 3, stored: true},
	{name: "pruned weights, VGG", arch: "vgg-11", options: arch.Options{Input: arch.Shape{H: 16}, Variants: arch.Variants{Width: 0.0625}}, set: arch.All, clamps: 1},
}

// save writes the example's model and returns the file's path.
func (e *readerExample) save(t *testing.T, data *dataset.Data) string {
	t.Helper()
	o := e.options
	s := data.Train
	o.Input, o.Classes = arch.Shape{C: s.Channels, H: s.Height, W: s.Width}, len(data.Classes)
	net, err := arch.Build(e.arch, o)
	if err != nil {
		t.Fatal(err)
	}
	in := cmp.Or(e.in, nn.DefaultInitialisers)
	m := &Model{
		Network: net, Params: nn.NewParams[float32](net, nil), Origin: &Origin{e.set, e.seed, in},
		Preprocessing: Preprocessing{data.Mean, data.Std, e.eps}, Estimation: Estimation{Seed: 5, Batch: 12, Batches: 3},
	}
	if e.pixel {
		m.Preprocessing.Mean = make([]float32, s.Channels*s.Height*s.Width)
		rng.NewStream(3, "mean").Uniforms(m.Preprocessing.Mean, 0)
	}
	m.Params.InitialiseBy(in, e.seed)
	trained := nn.NewTrained(net, m.Params, e.set, e.seed)
	for i, values := range trained.Values {
		change := make([]float32, len(values))
		rng.NewStream(9, trained.Tensors[i].Name).Normals(change, 0)
		for j := range values {
			values[j] += 0.1 * change[j]
		}
	}
	trained.Scatter()
	if e.clamps > 0 {
		draw, n := rng.NewStream(11, "clamp"), uint64(0)
		for i := range net.Units {
			kept := []int{}
			for c := range m.Params.Of(i, arch.Gamma) {
				n++
				if exportClamps[e.clamps-1].hold(net, i, c, float64(draw.Uint32(n))/(1<<32)) {
					m.Params.Of(i, arch.Gamma)[c] = 0
				} else {
					kept = append(kept, c)
				}
			}
			if m.Params.Of(i, arch.Gamma) == nil {
				kept = nil
			}
			m.Kept = append(m.Kept, kept)
		}
	}
	if e.stored {
		m.Stored = reestimated(t, m, data)
	}
	path := filepath.Join(t.TempDir(), "m.bnz")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func reestimated(t *testing.T, m *Model, data *dataset.Data) *nn.Statistics {
	t.Helper()
	e, err := m.Evaluator(m.Normalised(data), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	stats, err := e.Reestimate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// TestPythonReader has files read by a second implementation. It compares the bits of all
// tensors, stored and drawn, and the logits of pictures, with running statistics that are
// stored or re-estimated.
func TestPythonReader(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Python for each of 26 files")
	}
	if readerPython() == "" {
		if os.Getenv("CI") != "" { // .ci/run installs them
			t.Fatal("neither python3 nor /usr/bin/python3 can import numpy and decompress zstd")
		}
		t.Skip("neither python3 nor /usr/bin/python3 can import numpy and decompress zstd")
	}
	for _, e := range readerExamples {
		t.Run(e.name, func(t *testing.T) {
			data := syntheticOf(cmp.Or(e.options.Input.H, 8), 40, examplePictures)
			compareReader(t, e.save(t, data), data)
		})
	}
	for _, c := range []struct {
		name string
		set  func(*config.Config)
	}{
		{"a run on a subset", func(c *config.Config) { c.Subset, c.Validation, c.Shortcut = 70, 20, "A" }},
		{"a run on pictures of each class", func(c *config.Config) { c.SubsetPerClass, c.Trainable, c.WithStats = 17, "all", true }},
		{"a run on random labels", func(c *config.Config) { c.RandomLabels, c.Trainable, c.Normalise = true, "bn+random-2", "pixel" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := tinyConfig()
			cfg.Epochs, cfg.LRDrops = 1, nil
			c.set(&cfg)
			data, dir := synthetic(150, 40), t.TempDir()
			mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
			for _, name := range []string{rundir.CheckpointFile, rundir.ResumeFile} {
				compareReader(t, filepath.Join(dir, name), data)
			}
		})
	}
}

// compareReader compares what the reader and bnkit read from a file and compute with it. data
// holds all training pictures, from which the file's model may use a selection.
func compareReader(t *testing.T, path string, data *dataset.Data) {
	t.Helper()
	m, err := LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	stats := m.Stored
	if stats == nil {
		selected, err := selectData(data, m.Data.Selection)
		if err != nil {
			t.Fatal(err)
		}
		stats = reestimated(t, m, selected)
	}
	test, in := data.Test, m.Network.Input
	pictures := test.Images[:examplePictures*in.C*in.H*in.W]
	want := logitsOf(t, m, stats, normalise(m, pictures))

	dir := t.TempDir()
	numpy := func(name string, shape string, values []byte) string {
		header := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%s), }\n", shape)
		file := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header)))
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, slices.Concat(file, []byte(header), values), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	shape := func(n int) string { return fmt.Sprintf("%d, %d, %d, %d", n, in.C, in.H, in.W) }
	args := []string{"-B", reader, path, "--pictures", numpy("pictures.npy", shape(examplePictures), pictures)}
	if m.Stored == nil {
		train := data.Train
		args = append(args, "--train", numpy("train.npy", shape(train.Len()), train.Images), numpy("labels.npy", fmt.Sprint(train.Len())+",", train.Labels))
	}
	c := exec.Command(readerPython(), args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("the reader: %v\n%s", err, stderr.Bytes())
	}
	var got struct {
		Tensors map[string]struct {
			Shape  []int
			SHA256 string
		}
		Logits [][]float32
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for i := range m.Params.Tensors {
		x := &m.Params.Tensors[i]
		read, ok := got.Tensors[x.Name]
		if !ok || !slices.Equal(read.Shape, x.Shape) {
			t.Errorf("%s has the shape %v, want %v", x.Name, read.Shape, x.Shape)
		} else if hash := sha256.Sum256(littleEndian(m.Params.Values[i])); read.SHA256 != hex.EncodeToString(hash[:]) {
			t.Errorf("the values of %s have SHA-256 %s, want %x", x.Name, read.SHA256, hash)
		}
	}
	if len(got.Tensors) != len(m.Params.Tensors) {
		t.Errorf("%d tensors, want %d", len(got.Tensors), len(m.Params.Tensors))
	}
	read, largest := slices.Concat(got.Logits...), 0.0
	if len(read) != len(want) {
		t.Fatalf("%d logits, want %d", len(read), len(want))
	}
	for _, v := range want {
		largest = max(largest, math.Abs(float64(v)))
	}
	for i := range want {
		read[i], want[i] = read[i]/float32(largest), want[i]/float32(largest)
	}
	d := difference(read, want)
	if !(d < 1e-5) {
		t.Errorf("the logits differ by %.2g of the largest, want less than 1e-5", d)
	}
	t.Logf("%s: %d tensors; the logits differ by %.2g", strings.TrimSuffix(filepath.Base(path), ".bnz"), len(got.Tensors), d)
}

// normalise returns the inputs of the model's network for pictures (FORMAT.md, section 6).
func normalise(m *Model, pictures []byte) []float32 {
	in, mean := m.Network.Input, m.Preprocessing.Mean
	inputs := make([]float32, len(pictures))
	for i, v := range pictures {
		c := i / (in.H * in.W) % in.C
		meanIndex := c
		if len(mean) > in.C {
			meanIndex = i % len(mean)
		}
		inputs[i] = float32((float64(v)/255 - float64(mean[meanIndex])) / float64(m.Preprocessing.Std[c]))
	}
	return inputs
}

func littleEndian(values []float32) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		panic(err)
	}
	return b
}
