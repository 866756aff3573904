package nn

import (
	"math"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// imageNetInMiniature is an ImageNet ResNet of two bottlenecks, narrower than
// any that has a name, and one of whose convolutions has a bias alone.
func imageNetInMiniature(in arch.Shape, classes int) *arch.Network {
	n := &arch.Network{Name: "miniature", Input: in, Classes: classes, Shortcut: arch.OptionB}
	add := func(u arch.Unit, channels int) int {
		u.InShape = in
		if u.In != arch.Picture {
			u.InShape = n.Units[u.In].OutShape
		}
		u.OutShape = arch.Shape{C: channels, H: (u.InShape.H+2*u.Pad-u.Kernel)/u.Stride + 1, W: (u.InShape.W+2*u.Pad-u.Kernel)/u.Stride + 1}
		n.Units = append(n.Units, u)
		return len(n.Units) - 1
	}
	unit := func(name, bn string, in, kernel, stride, channels int) int {
		return add(arch.Unit{Name: name, BN: bn, In: in, Add: arch.None, ReLU: true, Kernel: kernel, Stride: stride, Pad: kernel / 2}, channels)
	}
	last := unit("conv1", "bn1", arch.Picture, 7, 2, 8)
	last = add(arch.Unit{Name: "maxpool", Op: arch.MaxPool, In: last, Add: arch.None, Kernel: 3, Stride: 2, Pad: 1}, 8)
	for _, b := range []struct {
		name                 string
		narrow, wide, stride int
	}{{"layer1.0.", 4, 16, 1}, {"layer1.1.", 4, 16, 1}, {"layer2.0.", 8, 32, 2}} {
		residual := last
		x := unit(b.name+"conv1", b.name+"bn1", last, 1, 1, b.narrow)
		x = unit(b.name+"conv2", b.name+"bn2", x, 3, b.stride, b.narrow)
		if n.Units[last].OutShape.C != b.wide {
			residual = unit(b.name+"downsample.0", b.name+"downsample.1", last, 1, b.stride, b.wide)
			n.Units[residual].ReLU = false
		}
		last = unit(b.name+"conv3", b.name+"bn3", x, 1, 1, b.wide)
		n.Units[last].Add = residual
	}
	return n
}

// exampleOf is an example of any network.
func exampleOf[T kernel.Float](net *arch.Network, batch int) *example[T] {
	e := &example[T]{net: net, params: NewParams[T](net, nil)}
	e.params.Initialise(7)
	e.draw(batch)
	return e
}

// smallExamples are networks small enough for float64 loops that have pools,
// biases and BatchNorms after sums.
func smallExamples(t *testing.T) map[string]*example[float64] {
	build := func(name string, in arch.Shape) *arch.Network {
		net, err := arch.Build(name, arch.Options{Input: in, Classes: 4})
		if err != nil {
			t.Fatal(err)
		}
		return net
	}
	// Without BatchNorm: units, and a projection, that end in their biases.
	plain := build("resnet-8", arch.Shape{C: 3, H: 9, W: 8})
	for i := range plain.Units {
		if i%2 == 1 || plain.Units[i].Kernel == 1 {
			plain.Units[i].BN, plain.Units[i].Bias = "", true
		}
	}
	fixed := build("resnet-8", arch.Shape{C: 1, H: 8, W: 8})
	for i := range fixed.Units {
		fixed.Units[i].NoScale, fixed.Units[i].NoShift = i%3 != 0, i%3 == 2
	}
	averages := build("convnet", arch.Shape{C: 1, H: 13, W: 8})
	for i := range averages.Units {
		if averages.Units[i].Op == arch.MaxPool {
			averages.Units[i].Op, averages.Units[i].BN, averages.Units[i].ReLU = arch.AveragePool, averages.Units[i].Name+".bn", i == 1
		}
	}
	return map[string]*example[float64]{
		"average pools":        exampleOf[float64](averages, 3),
		"imagenet stem":        exampleOf[float64](imageNetInMiniature(arch.Shape{C: 3, H: 22, W: 19}, 4), 3),
		"convnet":              exampleOf[float64](build("convnet", arch.Shape{C: 1, H: 9, W: 11}), 3),
		"vgg-38":               exampleOf[float64](build("vgg-38", arch.Shape{C: 1, H: 16, W: 8}), 3),
		"resnet-11-bottleneck": exampleOf[float64](build("resnet-11-bottleneck", arch.Shape{C: 1, H: 8, W: 8}), 3),
		"biases":               exampleOf[float64](plain, 3),
		"no scale, no shift":   exampleOf[float64](fixed, 3),
	}
}

// TestNetworkGradients checks pools, biases, missing BatchNorms and missing γ
// and β by finite differences, along shallow networks.
func TestNetworkGradients(t *testing.T) {
	for name, e := range smallExamples(t) {
		if len(e.net.Units) > 30 {
			continue // so many ReLUs that a difference crosses one's kink
		}
		t.Run(name, func(t *testing.T) { checkGradients(t, e) })
	}
}

// TestNetworkInference compares with plain loops.
func TestNetworkInference(t *testing.T) {
	for name, e := range smallExamples(t) {
		train := e.training(t, kernel.Generic[float64](), TrainingOptions{Threads: 1})
		loss := train.Forward(e.pictures, e.labels)
		stats := train.BatchStatistics()
		_, want := naive(e, stats, DefaultEps)
		f, err := NewInference(e.net, kernel.Generic[float64](), e.params, stats, InferenceOptions{Batch: len(e.labels), Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if d := distance(f.Run(e.pictures, len(e.labels)), want); !(d < 1e-12) {
			t.Errorf("%s: normalised error of the logits %.2g", name, d)
		}
		f.Close()
		if math.IsNaN(loss.Sum) {
			t.Errorf("%s: loss %v", name, loss.Sum)
		}
	}
}

// TestMaxPoolOfNaN checks that a NaN goes through a pool.
func TestMaxPoolOfNaN(t *testing.T) {
	e := exampleOf[float32](imageNetInMiniature(arch.Shape{C: 3, H: 16, W: 16}, 4), 2)
	e.pictures[100] = float32(math.NaN())
	step := e.training(t, kernel.Best(), TrainingOptions{Threads: 1})
	if loss := step.Forward(e.pictures, e.labels); !math.IsNaN(loss.Sum) {
		t.Errorf("loss %v", loss.Sum)
	}
}
