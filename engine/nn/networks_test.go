package nn

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/arch/archtest"
	"bnkit/engine/kernel"
	"bnkit/engine/rng"
)

// miniatureImageNet returns an ImageNet ResNet of three bottlenecks, narrower than
// any named network.
func miniatureImageNet(in arch.Shape, classes int) *arch.Network {
	n := &arch.Network{Name: "miniature", Input: in, Classes: classes}
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
		return add(arch.Unit{Name: name, BN: bn, In: in, ReLU: true, Kernel: kernel, Stride: stride, Pad: kernel / 2}, channels)
	}
	last := unit("conv1", "bn1", arch.Picture, 7, 2, 8)
	last = add(arch.Unit{Name: "maxpool", Op: arch.MaxPool, In: last, Kernel: 3, Stride: 2, Pad: 1}, 8)
	for _, b := range []struct {
		name                 string
		narrow, wide, stride int
	}{{"layer1.0.", 4, 16, 1}, {"layer1.1.", 4, 16, 1}, {"layer2.0.", 8, 32, 2}} {
		residual := arch.Residual{Kind: arch.Identity, From: last}
		x := unit(b.name+"conv1", b.name+"bn1", last, 1, 1, b.narrow)
		x = unit(b.name+"conv2", b.name+"bn2", x, 3, b.stride, b.narrow)
		if n.Units[last].OutShape.C != b.wide {
			residual = arch.Residual{Kind: arch.Projection, From: unit(b.name+"downsample.0", b.name+"downsample.1", last, 1, b.stride, b.wide)}
			n.Units[residual.From].ReLU = false
		}
		last = unit(b.name+"conv3", b.name+"bn3", x, 1, 1, b.wide)
		n.Units[last].Add = residual
	}
	return n
}

// miniatureWithMaps returns a network of three blocks whose channel maps no named network has.
// Their strides are 1, 2 and 3, and channels are out of order, used twice, unused, or without
// a source.
func miniatureWithMaps(in arch.Shape, classes int) *arch.Network {
	const none = arch.NoSource
	n := &arch.Network{Name: "mapped", Input: in, Classes: classes}
	add := func(name string, from, stride, channels int, r arch.Residual) int {
		u := arch.Unit{Name: name, BN: name + ".bn", In: from, Add: r, ReLU: true, Kernel: 3, Stride: stride, Pad: 1, InShape: in}
		if from != arch.Picture {
			u.InShape = n.Units[from].OutShape
		}
		u.OutShape = arch.Shape{C: channels, H: (u.InShape.H-1)/stride + 1, W: (u.InShape.W-1)/stride + 1}
		n.Units = append(n.Units, u)
		return len(n.Units) - 1
	}
	last := add("stem", arch.Picture, 1, 9, arch.Residual{})
	for i, m := range []*arch.ChannelMap{
		{Stride: 1, Source: []int{8, 7, none, 5, 4, 4, 2, none, 0, 0}},
		{Stride: 2, Source: []int{none, none, none, none, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, none, none, none, none}},
		{Stride: 3, Source: []int{17, none, 3, 16, 3}},
	} {
		name := fmt.Sprintf("block%d.conv", i)
		x := add(name+"1", last, m.Stride, len(m.Source), arch.Residual{})
		last = add(name+"2", x, 1, len(m.Source), arch.Residual{Kind: arch.Mapped, From: last, Map: m})
	}
	return n
}

// exampleOf returns an example of net.
func exampleOf[T kernel.Float](net *arch.Network, batch int) *example[T] {
	e := &example[T]{net: net, params: NewParams[T](net, nil)}
	e.params.Initialise(7)
	e.draw(batch)
	return e
}

// smallExamples returns networks that are small enough for float64 loops and have
// pools, biases and fixed γ and β.
func smallExamples(t *testing.T) map[string]*example[float64] {
	build := func(name string, in arch.Shape) *arch.Network {
		net, err := arch.Build(name, arch.Options{Input: in, Classes: 4})
		if err != nil {
			t.Fatal(err)
		}
		return net
	}
	// Every other unit and both projections have biases instead of BatchNorm.
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
		"imagenet stem":        exampleOf[float64](miniatureImageNet(arch.Shape{C: 3, H: 22, W: 19}, 4), 3),
		"convnet":              exampleOf[float64](build("convnet", arch.Shape{C: 1, H: 9, W: 11}), 3),
		"vgg-38":               exampleOf[float64](build("vgg-38", arch.Shape{C: 1, H: 16, W: 8}), 3),
		"resnet-11-bottleneck": exampleOf[float64](build("resnet-11-bottleneck", arch.Shape{C: 1, H: 8, W: 8}), 3),
		"channel maps":         exampleOf[float64](miniatureWithMaps(arch.Shape{C: 3, H: 10, W: 13}, 4), 3),
		"biases":               exampleOf[float64](plain, 3),
		"no scale, no shift":   exampleOf[float64](fixed, 3),
	}
}

// TestNetworkGradients checks the gradients of shallow networks with pools, biases, missing
// BatchNorms and missing γ and β by finite differences.
func TestNetworkGradients(t *testing.T) {
	for name, e := range smallExamples(t) {
		if len(e.net.Units) > 30 {
			continue // with so many ReLUs, some inputs change their sign within a finite difference
		}
		t.Run(name, func(t *testing.T) { checkGradients(t, e) })
	}
}

// TestNetworkInference compares logits with those of plain loops.
func TestNetworkInference(t *testing.T) {
	for name, e := range smallExamples(t) {
		train := e.training(t, kernel.Generic[float64](), TrainingOptions{Threads: 1})
		loss := train.Forward(e.pictures, e.labels)
		stats := train.BatchStatistics()
		_, want := referenceInference(e, stats, DefaultEps)
		f, err := NewInference(e.net, kernel.Generic[float64](), e.params, stats, InferenceOptions{Batch: len(e.labels), Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if d := normalisedError(f.Run(e.pictures, len(e.labels)), want); !(d < 1e-12) {
			t.Errorf("%s: normalised error of the logits %.2g, want less than 1e-12", name, d)
		}
		f.Close()
		if math.IsNaN(loss.Sum) {
			t.Errorf("%s: loss %v, want a number", name, loss.Sum)
		}
	}
}

// TestMaxPoolOfNaN checks that a NaN passes through a pool, and that its gradient does
// not fall outside the picture.
func TestMaxPoolOfNaN(t *testing.T) {
	e := exampleOf[float32](miniatureImageNet(arch.Shape{C: 3, H: 16, W: 16}, 4), 2)
	e.pictures[100] = float32(math.NaN())
	step := e.training(t, kernel.Best(), TrainingOptions{Threads: 1, Gradients: BNGradients})
	if loss := step.Forward(e.pictures, e.labels); !math.IsNaN(loss.Sum) {
		t.Errorf("loss %v, want NaN", loss.Sum)
	}
	step.Backward() // must not index outside the gradients
}

// TestLargeMaxPools checks the gradients behind the largest max pool that training supports, and
// that larger kernels, or windows of padding alone, are refused only if there are gradients.
func TestLargeMaxPools(t *testing.T) {
	for _, c := range []struct {
		kernel, pad int
		supported   bool
	}{{16, 8, true}, {17, 8, false}, {2, 2, false}} {
		net := &arch.Network{Name: "pool", Input: arch.Shape{C: 1, H: 20, W: 18}, Classes: 3}
		stem := net.Append(arch.Unit{Name: "stem", BN: "stem.bn", In: arch.Picture, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, 2)
		pool := net.Append(arch.Unit{Name: "pool", Op: arch.MaxPool, In: stem, Kernel: c.kernel, Stride: 4, Pad: c.pad}, 2)
		net.Append(arch.Unit{Name: "conv", BN: "conv.bn", In: pool, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, 4)
		e := exampleOf[float64](net, 3)
		if c.supported {
			checkGradients(t, e)
			continue
		}
		for gradients, want := range map[Gradients]string{BNGradients: "pool is a max pool with kernel", OutputGradients: ""} {
			step, err := NewTraining(net, kernel.Generic[float64](), e.params, TrainingOptions{Batch: 3, Threads: 1, Gradients: gradients})
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("kernel %d, padding %d, gradients %d: got error %v, want %q (\"\" for none)", c.kernel, c.pad, gradients, err, want)
			}
			if err == nil {
				step.Close()
			}
		}
	}
}

// variants choose which BatchNorms, γ and β a network has.
var variants = []struct {
	name string
	set  func(*arch.Options)
}{
	{"bn", func(*arch.Options) {}},
	{"no bn", func(o *arch.Options) { o.BN = arch.NoBN }},
	{"bn every 2", func(o *arch.Options) { o.BNEvery = 2 }},
	{"no scale", func(o *arch.Options) { o.NoScale = "*" }},
	{"no shift", func(o *arch.Options) { o.NoShift = "*" }},
	{"no scale, no shift", func(o *arch.Options) { o.NoScale, o.NoShift = "*", "*" }},
	{"some fixed", func(o *arch.Options) { o.NoScale, o.NoShift = "*1", "*0.*,*bn*" }},
}

// TestEveryNetwork takes a step of every network in every variant with every
// trainable set, and compares the gradients of the set with plain loops in float64.
// Networks with many parameters are narrowed to an eighth; TestWideNetwork runs one at full
// width.
func TestEveryNetwork(t *testing.T) {
	for _, n := range archtest.Networks(t, 1.0/8) {
		for _, v := range variants {
			o := n.Options
			o.Input, o.Classes = pictureShape(&n), 5
			v.set(&o)
			if v.name == "some fixed" {
				switch {
				case n.Name == "vgg-38":
					o.NoScale, o.NoShift = "*bn_1", "input*,block_?_[34].*"
				case strings.HasPrefix(n.Name, "vgg-") || n.Name == "convnet":
					o.NoScale, o.NoShift = "layers.[023].bn", "layers.[04].bn"
				}
			}
			t.Run(n.String()+", "+v.name, func(t *testing.T) {
				net, err := arch.Build(n.Name, o)
				if err != nil {
					t.Fatal(err)
				}
				compareStep(t, net)
			})
		}
	}
}

// TestWideNetwork compares gradients in float32 with those in float64 for a network of full
// width, so that the kernels run on its numbers of channels.
func TestWideNetwork(t *testing.T) {
	net, err := arch.Build("resnet18", arch.Options{Input: arch.Shape{C: 3, H: 33, W: 40}, Classes: 5})
	if err != nil {
		t.Fatal(err)
	}
	compareStep(t, net)
}

// TestChannelMaps compares gradients in float32 with those in float64 for networks with
// channel maps that subsample cannot apply.
func TestChannelMaps(t *testing.T) {
	centred, err := arch.Build("resnet-14", arch.Options{Input: arch.Shape{C: 3, H: 9, W: 12}, Classes: 5, Shortcut: arch.OptionACentred})
	if err != nil {
		t.Fatal(err)
	}
	for _, net := range []*arch.Network{centred, miniatureWithMaps(arch.Shape{C: 3, H: 19, W: 16}, 5)} {
		t.Run(net.Name, func(t *testing.T) { compareStep(t, net) })
	}
}

// TestLeadingMap checks that option A's map, which subsample computes a block at a time,
// gives the same bits as mapChannels, forward and backward.
func TestLeadingMap(t *testing.T) {
	e := newExample[float32](t, "resnet-14", arch.Options{Input: arch.Shape{C: 3, H: 11, W: 14}, Classes: 5, Shortcut: arch.OptionA, Variants: arch.Variants{Width: 0.3}}, 5)
	fast := e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: AllGradients})
	loss := fast.Forward(e.pictures, e.labels)
	fast.Backward()
	for i := range fast.units {
		u := &fast.units[i]
		if u.Add.Kind == arch.Mapped && u.residual != subsampledPad {
			t.Fatalf("the residual of %s is of kind %d, want %d (subsampledPad)", u.Name, u.residual, subsampledPad)
		}
	}
	slow := e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: AllGradients})
	maps := 0
	for i := range slow.units {
		if slow.units[i].residual == subsampledPad {
			slow.units[i].residual = mapped
			maps++
		}
	}
	slow.backward = newBackward(slow)
	slow.pool.run(len(slow.units), slow.packBackward)
	if got := slow.Forward(e.pictures, e.labels); got != loss || maps != 2 {
		t.Errorf("%d channel maps, want 2; loss %v, want %v", maps, got, loss)
	}
	slow.Backward()
	for i, g := range slow.Gradients().Values {
		checkEqual(t, "gradient of "+e.params.Tensors[i].Name, g, fast.Gradients().Values[i])
	}
}

// TestInvalidNetwork checks that an invalid network is refused with an *arch.Error.
func TestInvalidNetwork(t *testing.T) {
	net := miniatureWithMaps(arch.Shape{C: 3, H: 16, W: 16}, 4)
	params := NewParams[float32](net, nil)
	net.Units[2].Add.Map.Source[0] = 9
	var e *arch.Error
	if _, err := NewInference(net, kernel.Best(), params, NewStatistics(net), InferenceOptions{Batch: 1, Threads: 1}); !errors.As(err, &e) {
		t.Errorf("inference: got error %v, want an *arch.Error", err)
	}
	if _, err := NewTraining(net, kernel.Best(), params, TrainingOptions{Batch: 2, Threads: 1}); !errors.As(err, &e) {
		t.Errorf("training: got error %v, want an *arch.Error", err)
	}
}

// pictureShape returns the shape of the test pictures for a network. It is larger than the
// network requires, so that the last outputs have more than one position to normalise over.
// Some shapes are not square.
func pictureShape(n *archtest.Network) arch.Shape {
	switch {
	case n.Name == "convnet":
		return arch.Shape{C: 1, H: 14, W: 14}
	case n.Options.Shortcut == arch.OptionA:
		return arch.Shape{C: 3, H: 9, W: 12}
	case n.Name == "vgg-38":
		return arch.Shape{C: 3, H: 16, W: 16}
	case n.Options.Stem == arch.CIFARStem:
		return arch.Shape{C: 3, H: 12, W: 16}
	case n.Options.Width != 0:
		return arch.Shape{C: 3, H: 33, W: 40}
	}
	return arch.Shape{C: 3, H: 12, W: 12}
}

// compareStep compares the loss, the logits and, for every trainable set, the gradients of a
// step in float32 with those in float64.
func compareStep(t *testing.T, net *arch.Network) {
	e, exact, perturbed := exampleOf[float32](net, 6), exampleOf[float64](net, 6), exampleOf[float64](net, 6)
	perturbed.perturb()
	options := TrainingOptions{Threads: 2, Gradients: AllGradients}
	want, perturbedStep := exact.training(t, kernel.Generic[float64](), options), perturbed.training(t, kernel.Generic[float64](), options)
	loss := want.Forward(exact.pictures, exact.labels)
	perturbedStep.Forward(perturbed.pictures, perturbed.labels)
	tolerance := float32Tolerance(1e-4, normalisedError(perturbedStep.Logits(), want.Logits()))
	steps := map[Gradients]*Training[float32]{}
	forward := func(g Gradients) *Training[float32] {
		if steps[g] == nil {
			steps[g] = e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: g})
			if got := steps[g].Forward(e.pictures, e.labels); !(math.Abs(got.Sum-loss.Sum) < tolerance*loss.Sum) {
				t.Errorf("gradients %d: loss %v, want %v, as in float64, with a relative error below %.2g", g, got.Mean(), loss.Mean(), tolerance)
			}
			if d := normalisedError(steps[g].Logits(), want.Logits()); !(d < tolerance) {
				t.Errorf("gradients %d: normalised error of the logits %.2g, want less than %.2g", g, d, tolerance)
			}
		}
		return steps[g]
	}
	all := forward(AllGradients)
	if changed, outputs := copyMasks(want, all); float64(changed) > 1+tolerance/10*float64(outputs) {
		t.Errorf("the masks of %d of %d outputs of ReLUs differ between float32 and float64, want at most %.0f", changed, outputs, 1+tolerance/10*float64(outputs))
	}
	copyMasks(perturbedStep, all)
	want.Backward()
	perturbedStep.Backward()
	change, _ := largestError(net, perturbedStep.Gradients().Values, want.Gradients().Values)
	worst, worstName := 0.0, ""
	for _, set := range append(slices.Clone(arch.TrainableSets), "random-2", "bn+random-2") {
		step := forward(GradientsOf(net, set))
		if step.Gradients() == nil {
			if set.Parameters(net) > 0 {
				t.Errorf("%s: Gradients is nil, want gradients of %d parameters", set, set.Parameters(net))
			}
			continue
		}
		step.Backward()
		got, reference := NewTrained(net, step.Gradients(), set, 7), NewTrained(net, want.Gradients(), set, 7)
		if d, name := largestError(net, got.Values, reference.Values); !(d <= worst) {
			worst, worstName = d, string(set)+", "+name
		}
		trained := 0
		for _, g := range got.Values {
			trained += len(g)
		}
		if trained != set.Parameters(net) {
			t.Errorf("%s: %d gradients, want %d, one for each parameter", set, trained, set.Parameters(net))
		}
	}
	tolerance = float32Tolerance(1e-3, change)
	t.Logf("largest normalised error %.2g (bound %.2g), of %s", worst, tolerance, worstName)
	if !(worst < tolerance) {
		t.Errorf("%s: normalised error of the gradient %.2g, want less than %.2g", worstName, worst, tolerance)
	}
}

// float32Tolerance returns the largest normalised error that float32 may have: the greater of
// least and 20·change, but at most 0.05. change is the normalised change that perturb causes,
// which is large if a deep network amplifies rounding errors. perturb rounds each value once,
// while a convolution rounds at each term of its sums; errors are 1 to 7 times change in
// networks of 100 to 200 layers.
func float32Tolerance(least, change float64) float64 {
	return math.Min(math.Max(least, 20*change), 0.05)
}

// perturb changes every element of the pictures and parameters by as much as rounding
// to float32 can.
func (e *example[T]) perturb() {
	stream, index := rng.NewStream(7, "roundings"), uint64(0)
	for _, values := range append(slices.Clone(e.params.Values), e.pictures) {
		for i := range values {
			values[i] *= 1 + T(int(stream.Uint32(index)>>31)*2-1)*0x1p-24
			index++
		}
	}
}

// largestError returns the largest normalised error of a tensor, and the tensor's name. It
// leaves out gradients that BatchNorm makes zero.
func largestError[T kernel.Float](net *arch.Network, got [][]T, want [][]float64) (worst float64, name string) {
	for i, x := range net.Tensors() {
		if got[i] == nil || x.Kind == arch.ConvBias && net.Units[x.Unit].BN != "" {
			continue
		}
		if d := normalisedError(got[i], want[i]); !(d <= worst) {
			worst, name = d, x.Name
		}
	}
	return worst, name
}

// copyMasks makes the Backward of exact use the masks of ReLUs and the maxima of pools that got
// has computed. If an input of a ReLU is closer to 0 than float32 resolves, its sign may differ
// between the two, and both gradients are correct. copyMasks returns the number of outputs of
// ReLUs whose mask it changed, and the number of all outputs of ReLUs.
func copyMasks(exact *Training[float64], got *Training[float32]) (changed, outputs int) {
	for i := range exact.units {
		u := &exact.units[i]
		copy(exact.backward.units[i].argmax, got.backward.units[i].argmax)
		if !u.ReLU {
			continue
		}
		outputs += exact.n * u.area * u.OutShape.C
		mask, wanted := reluMask(exact, i), reluMask(got, i)
		lanes := exact.family.Lanes
		for position, m := range mask {
			for lane := range lanes {
				if (m^wanted[position])>>lane&1 == 0 {
					continue
				}
				changed++
				if exact.buffers.mask[i] != nil {
					continue
				}
				// Backward recomputes this mask from y, so change y.
				c := position/u.area%u.blocks*lanes + lane
				y := &exact.buffers.y[i][position*lanes+lane]
				z := math.Max(math.Abs(u.scale[c]**y+u.shift[c]), 1e-12)
				if wanted[position]>>lane&1 == 0 {
					z = -z
				}
				*y = (z - u.shift[c]) / u.scale[c]
			}
		}
		copy(exact.buffers.mask[i], wanted)
	}
	return changed, outputs
}

// reluMask returns the mask of the positions at which the sum before unit i's ReLU was above 0
// in the last Forward. It has one byte for each position of a block, with one bit for each
// channel.
func reluMask[T kernel.Float](t *Training[T], i int) []uint8 {
	if mask := t.buffers.mask[i]; mask != nil {
		return mask
	}
	u := &t.units[i]
	mask := make([]uint8, t.n*u.size/t.family.Lanes)
	for image := range t.n {
		t.family.Activate(&kernel.Activation[T]{Blocks: u.blocks, H: u.OutShape.H, W: u.OutShape.W,
			Y: t.buffers.y[i][image*u.size:][:u.size], Scale: u.scale, Shift: u.shift, Floor: u.floor,
			Mask: mask[image*u.size/t.family.Lanes:][:u.size/t.family.Lanes]})
	}
	return mask
}

// TestPoolsInParallel checks that a step with pools, biases and channel maps allocates
// nothing and gives the same bits for any number of threads.
func TestPoolsInParallel(t *testing.T) {
	net, err := arch.Build("convnet", arch.Options{Input: arch.Shape{C: 1, H: 14, W: 14}, Classes: 4, Variants: arch.Variants{BNEvery: 2}})
	if err != nil {
		t.Fatal(err)
	}
	for _, net := range []*arch.Network{net, miniatureImageNet(arch.Shape{C: 3, H: 32, W: 32}, 4), miniatureWithMaps(arch.Shape{C: 3, H: 16, W: 13}, 4)} {
		e := exampleOf[float32](net, 23)
		var want [][]float32
		for _, threads := range []int{1, 3} {
			step := e.training(t, kernel.Best(), TrainingOptions{Threads: threads, Gradients: AllGradients})
			if n := testing.AllocsPerRun(5, func() {
				step.Forward(e.pictures, e.labels)
				step.Backward()
				step.Repack()
			}); n != 0 {
				t.Errorf("%s: %v allocations in a step, want 0", net.Name, n)
			}
			for i, g := range step.Gradients().Values {
				if threads == 1 {
					want = append(want, slices.Clone(g))
				} else {
					checkEqual(t, fmt.Sprintf("%s, %d threads: gradient of %s", net.Name, threads, e.params.Tensors[i].Name), g, want[i])
				}
			}
		}
	}
}
