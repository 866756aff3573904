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

// clamps are ways to choose the channels that are held constant. Each function reports
// whether channel c of unit i is held, given draw, a random number from 0 to 1.
var clamps = []struct {
	name string
	hold func(net *arch.Network, i, c int, draw float64) bool
}{
	{"none", func(*arch.Network, int, int, float64) bool { return false }},
	{"a third", func(_ *arch.Network, _, _ int, draw float64) bool { return draw < 1.0/3 }},
	{"most", func(_ *arch.Network, _, _ int, draw float64) bool { return draw < 0.9 }},
	{"the same channels everywhere", func(_ *arch.Network, _, c int, _ float64) bool { return c%3 == 1 }},
	{"first layer", func(_ *arch.Network, i, _ int, _ float64) bool { return i == 0 }},
	{"odd units", func(_ *arch.Network, i, _ int, draw float64) bool { return i%2 == 1 || draw < 0.2 }},
	{"branches", func(net *arch.Network, i, c int, draw float64) bool {
		return net.Units[i].Add.Kind != arch.NoResidual && i%4 != 0 || c%3 == 1 || draw < 0.2
	}},
	{"shortcuts", func(net *arch.Network, i, _ int, draw float64) bool { return net.Units[i].Shortcut || draw < 0.2 }},
	{"last unit", func(net *arch.Network, i, _ int, draw float64) bool { return i == len(net.Units)-1 || draw < 0.2 }},
	{"all", func(*arch.Network, int, int, float64) bool { return true }},
}

// clamp holds channels of e's network constant and returns the other channels, in the form
// that Compact takes. Every β is random, except that β of held channels is 0 if zeroShifts is
// set.
func clamp(e *example[float64], hold func(net *arch.Network, i, c int, draw float64) bool, zeroShifts bool) (kept [][]int) {
	stream, index := rng.NewStream(11, "clamp"), uint64(0)
	draw := func() float64 {
		index++
		return float64(stream.Uint32(index)) / (1 << 32)
	}
	for i := range e.net.Units {
		gamma, beta := e.params.Of(i, arch.Gamma), e.params.Of(i, arch.Beta)
		for c := range beta {
			beta[c] = draw() - 0.4
		}
		if gamma == nil {
			kept = append(kept, nil)
			continue
		}
		channels := []int{}
		for c := range gamma {
			if !hold(e.net, i, c, draw()) {
				channels = append(channels, c)
				continue
			}
			gamma[c] = 0
			if zeroShifts && beta != nil {
				beta[c] = 0
			}
		}
		kept = append(kept, channels)
	}
	return kept
}

// compacted returns e's network without the channels that kept leaves out.
func compacted(t *testing.T, e *example[float64], kept [][]int) (*Compacted[float64], *example[float64]) {
	t.Helper()
	c, err := Compact(e.net, e.params, kept)
	if err != nil {
		t.Fatal(err)
	}
	return c, &example[float64]{net: c.Network, params: c.Params, pictures: e.pictures, labels: e.labels}
}

// prunedNetworks calls do for networks of every architecture, in each of its variants that has
// γ, or with -short only in the variant "bn". Each network is tried with a few of the clamps, from
// the one at which the previous network stopped.
func prunedNetworks(t *testing.T, do func(t *testing.T, e *example[float64], kept [][]int)) {
	turn := 0
	try := func(name string, net *arch.Network, times int) {
		for range times {
			turn++
			c, zeroShifts := clamps[turn/2%len(clamps)], turn%2 == 0
			t.Run(fmt.Sprintf("%s, held: %s, β of held channels zero: %v", name, c.name, zeroShifts), func(t *testing.T) {
				e := exampleOf[float64](net, 4)
				do(t, e, clamp(e, c.hold, zeroShifts))
			})
		}
	}
	try("channel maps", miniatureWithMaps(arch.Shape{C: 3, H: 10, W: 13}, 4), 2*len(clamps))
	try("imagenet stem", miniatureImageNet(arch.Shape{C: 3, H: 22, W: 19}, 4), 2*len(clamps))
	try("average pools", miniatureWithPools(), 2*len(clamps))
	for _, n := range archtest.Networks(t, 1.0/16) {
		for _, v := range variants {
			o := n.Options
			o.Input, o.Classes = pictureShape(&n), 5
			v.set(&o)
			if v.name == "some fixed" {
				o.NoScale, o.NoShift = "*1", "*0.*,*bn*"
			}
			net, err := arch.Build(n.Name, o)
			switch {
			case err != nil || arch.GammaOnly.Parameters(net) == 0:
			case v.name == "bn":
				try(n.String()+", "+v.name, net, 5)
			case !testing.Short():
				try(n.String()+", "+v.name, net, 2)
			}
		}
	}
}

// miniatureWithPools returns a network that has average pools with and without BatchNorm,
// and a max pool in a residual block. Two of the average pools are padded, so that
// constants are smaller at borders.
func miniatureWithPools() *arch.Network {
	n := &arch.Network{Name: "averages", Input: arch.Shape{C: 1, H: 13, W: 8}, Classes: 4}
	add := func(u arch.Unit, channels int) int {
		u.InShape = n.Input
		if u.In != arch.Picture {
			u.InShape = n.Units[u.In].OutShape
		}
		u.OutShape = arch.Shape{C: channels, H: (u.InShape.H+2*u.Pad-u.Kernel)/u.Stride + 1, W: (u.InShape.W+2*u.Pad-u.Kernel)/u.Stride + 1}
		n.Units = append(n.Units, u)
		return len(n.Units) - 1
	}
	last := add(arch.Unit{Name: "stem", BN: "stem.bn", In: arch.Picture, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, 9)
	last = add(arch.Unit{Name: "padded", Op: arch.AveragePool, BN: "padded.bn", In: last, ReLU: true, Kernel: 3, Stride: 2, Pad: 1}, 9)
	pooled := add(arch.Unit{Name: "pool", Op: arch.MaxPool, In: last, Kernel: 3, Stride: 1, Pad: 1}, 9)
	last = add(arch.Unit{Name: "conv", BN: "conv.bn", In: pooled, Kernel: 3, Stride: 1, Pad: 1, Add: arch.Residual{Kind: arch.Identity, From: last}, ReLU: true}, 9)
	last = add(arch.Unit{Name: "average", Op: arch.AveragePool, BN: "average.bn", In: last, ReLU: true, Kernel: 2, Stride: 1}, 9)
	last = add(arch.Unit{Name: "end", BN: "end.bn", In: last, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, 5)
	add(arch.Unit{Name: "edge", Op: arch.AveragePool, In: last, Kernel: 3, Stride: 1, Pad: 1}, 5)
	return n
}

// TestCompact compares compacted networks with networks whose channels are held constant, in
// float64. It compares the logits with batch statistics and with given statistics, the loss,
// and the gradients of all parameters of the channels that are not held.
func TestCompact(t *testing.T) {
	smaller := 0
	prunedNetworks(t, func(t *testing.T, e *example[float64], kept [][]int) {
		c, f := compacted(t, e, kept)
		if c.Network.MACs() < e.net.MACs() {
			smaller++
		}
		if err := compareCompacted(t, e, f, c, kept); err != nil {
			t.Error(err)
		}
	})
	if smaller == 0 {
		t.Error("no network has fewer multiply-accumulates after removal, want at least one")
	}
}

// compareCompacted compares the compacted network f with e.
func compareCompacted(t *testing.T, e, f *example[float64], c *Compacted[float64], kept [][]int) error {
	const tolerance = 1e-10
	gradientTolerance := tolerance
	if len(e.net.Units) > 40 {
		gradientTolerance = 1e-8 // depth and variances near 0 amplify rounding errors
	}
	family, o := kernel.Generic[float64](), TrainingOptions{Threads: 1, Gradients: AllGradients}
	whole, small := e.training(t, family, o), f.training(t, family, o)
	want, got := whole.Forward(e.pictures, e.labels), small.Forward(f.pictures, f.labels)
	if d := normalisedError(small.Logits(), whole.Logits()); !(d < tolerance) {
		return fmt.Errorf("normalised error of the logits %.2g, want less than %.2g", d, tolerance)
	}
	if !(math.Abs(got.Sum-want.Sum) < tolerance*want.Sum) {
		return fmt.Errorf("loss %v, want %v", got.Sum, want.Sum)
	}
	whole.Backward()
	small.Backward()
	// Parameters whose effect BatchNorm cancels, such as the filters of a
	// convolution that reads only constants, have gradients that are 0 apart from
	// rounding errors, which a variance of 0 multiplies by 1/√ε.
	rounding := 0.0
	for _, values := range whole.Gradients().Values {
		rounding = max(rounding, tolerance/math.Sqrt(DefaultEps)*largest(values))
	}
	for n := range f.params.Tensors {
		x := &f.params.Tensors[n]
		got, want := variableGradients(e.net, c, x, small.Gradients().Values[n], whole.Gradients().Of(x.Unit, x.Kind), kept)
		if d := normalisedError(got, want); !(d < gradientTolerance) && largest(append(got, want...)) > rounding {
			return fmt.Errorf("normalised error of the gradient of %s %.2g, want less than %.2g", x.Name, d, gradientTolerance)
		}
	}
	return compareInference(e, f, whole.BatchStatistics(), c)
}

// largest returns the largest magnitude.
func largest(values []float64) float64 {
	m := 0.0
	for _, v := range values {
		m = max(m, math.Abs(v))
	}
	return m
}

// compareInference compares the logits of f and e with given statistics.
func compareInference(e, f *example[float64], stats *Statistics, c *Compacted[float64]) error {
	var logits [2][]float64
	for i, x := range []struct {
		*example[float64]
		stats *Statistics
	}{{e, stats}, {f, c.Statistics(stats)}} {
		inference, err := NewInference(x.net, kernel.Generic[float64](), x.params, x.stats, InferenceOptions{Batch: len(x.labels), Threads: 1})
		if err != nil {
			return err
		}
		logits[i] = slices.Clone(inference.Run(x.pictures, len(x.labels)))
		inference.Close()
	}
	if d := normalisedError(logits[1], logits[0]); !(d < 1e-10) {
		return fmt.Errorf("given statistics: normalised error of the logits %.2g, want less than 1e-10", d)
	}
	return nil
}

// variableGradients returns the gradients that belong to channels that are not held constant,
// of a compacted network's tensor x and of the same tensor of the whole network.
func variableGradients(net *arch.Network, c *Compacted[float64], x *arch.Tensor, small, whole []float64, kept [][]int) (got, want []float64) {
	varies := func(unit, channel int) bool {
		return channel != ConstantChannel && (kept[unit] == nil || slices.Contains(kept[unit], channel))
	}
	switch x.Kind {
	case arch.OutputBias:
		return small, whole
	case arch.ConvWeight, arch.OutputWeight:
		in, all := len(net.Units)-1, net.Features()
		if x.Kind == arch.ConvWeight {
			in, all = net.Units[x.Unit].In, net.Units[x.Unit].InShape.C
		}
		area := 1
		for _, d := range x.Shape[2:] {
			area *= d
		}
		if x.Kind == arch.ConvWeight && area != net.Units[x.Unit].Kernel*net.Units[x.Unit].Kernel {
			return nil, nil // nothing uses its output
		}
		for newOut := range x.Shape[0] {
			out := newOut
			if x.Kind == arch.ConvWeight {
				if out = c.Origins[x.Unit][newOut]; !varies(x.Unit, out) {
					continue
				}
			}
			for newIn := range x.Shape[1] {
				channel := newIn
				if in != arch.Picture {
					channel = c.Origins[in][newIn]
				}
				if channel != ConstantChannel {
					got = append(got, small[(newOut*x.Shape[1]+newIn)*area:][:area]...)
					want = append(want, whole[(out*all+channel)*area:][:area]...)
				}
			}
		}
		return got, want
	}
	for j, channel := range c.Origins[x.Unit] {
		if varies(x.Unit, channel) && (x.Kind != arch.ConvBias || net.Units[x.Unit].BN == "") {
			got, want = append(got, small[j]), append(want, whole[channel])
		}
	}
	return got, want
}

// TestCompactedShapes checks which channels are removed, in networks small enough to list
// them.
func TestCompactedShapes(t *testing.T) {
	build := func(name string, o arch.Options) *arch.Network {
		o.Input, o.Classes = arch.Shape{C: 3, H: 8, W: 8}, 4
		net, err := arch.Build(name, o)
		if err != nil {
			t.Fatal(err)
		}
		return net
	}
	indexOf := func(net *arch.Network, name string) int {
		return slices.IndexFunc(net.Units, func(u arch.Unit) bool { return u.Name == name })
	}
	firstFour := func(prefix string) func(*arch.Network, int, int, float64) bool {
		return func(net *arch.Network, i, c int, _ float64) bool {
			return strings.HasPrefix(net.Units[i].Name, prefix) && c < 4
		}
	}
	const constant = ConstantChannel
	for _, c := range []struct {
		what       string
		net        *arch.Network
		hold       func(*arch.Network, int, int, float64) bool
		zeroShifts bool
		want       map[string]int // number of channels, by unit; other units keep all channels
		origin     int            // Origins[unit][0] of the units in want
	}{
		{"inner channels", build("resnet-8", arch.Options{}), firstFour("blocks.0.conv1"), false, map[string]int{"blocks.0.conv1": 16 - 4 + 1}, constant},
		{"inner channels that are 0", build("resnet-8", arch.Options{}), firstFour("blocks.0.conv1"), true, map[string]int{"blocks.0.conv1": 16 - 4}, 4},
		{"only a stream's start", build("resnet-8", arch.Options{}), firstFour("conv"), false, map[string]int{"conv": 16}, 0},
		{"a stream's start and only branch", build("resnet-8", arch.Options{}), func(net *arch.Network, i, c int, _ float64) bool {
			return c < 4 && (net.Units[i].Name == "conv" || net.Units[i].Name == "blocks.0.conv2")
		}, false, map[string]int{"conv": 13, "blocks.0.conv2": 13}, constant},
		{"channels that only the output layer reads", build("resnet-8", arch.Options{}), func(net *arch.Network, i, c int, _ float64) bool {
			return c < 4 && (net.Units[i].Name == "blocks.2.shortcut.0" || net.Units[i].Name == "blocks.2.conv2")
		}, false, map[string]int{"blocks.2.shortcut.0": 60, "blocks.2.conv2": 60}, 4},
		{"a whole branch", build("resnet-8", arch.Options{}), func(net *arch.Network, i, _ int, _ float64) bool {
			return net.Units[i].Name == "blocks.0.conv2"
		}, false, map[string]int{"blocks.0.conv1": 1, "blocks.0.conv2": 16}, 0},
		{"channels that a pool reads", build("convnet", arch.Options{}), firstFour("layers.0"), false, map[string]int{"layers.0.conv": 13, "layers.1": 13}, constant},
		{"everything", build("convnet", arch.Options{}), func(*arch.Network, int, int, float64) bool { return true }, false,
			map[string]int{"layers.0.conv": 1, "layers.1": 1, "layers.2.conv": 1, "layers.3": 1, "layers.4.conv": 1}, 0},
	} {
		e := exampleOf[float64](c.net, 2)
		kept := clamp(e, c.hold, c.zeroShifts)
		small, _ := compacted(t, e, kept)
		for i := range c.net.Units {
			u := &small.Network.Units[i]
			want, changed := c.want[u.Name]
			if !changed {
				want = c.net.Units[i].OutShape.C
			}
			if u.OutShape.C != want {
				t.Errorf("%s: %s has %d channels, want %d", c.what, u.Name, u.OutShape.C, want)
			}
			if changed && small.Origins[i][0] != c.origin {
				t.Errorf("%s: the first channel of %s has origin %d, want %d", c.what, u.Name, small.Origins[i][0], c.origin)
			}
		}
		if i := indexOf(c.net, "blocks.0.conv2"); c.what == "a whole branch" && small.Network.Units[i].Kernel != 1 {
			t.Errorf("%s: blocks.0.conv2 has kernel size %d, want 1", c.what, small.Network.Units[i].Kernel)
		}
	}
}

// TestCompactErrors checks the errors for invalid lists of kept channels.
func TestCompactErrors(t *testing.T) {
	net, err := arch.Build("resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 4, Variants: arch.Variants{NoScale: "blocks.1.bn1"}})
	if err != nil {
		t.Fatal(err)
	}
	e := exampleOf[float64](net, 1)
	fixed := slices.IndexFunc(net.Units, func(u arch.Unit) bool { return u.NoScale })
	e.params.Of(1, arch.Gamma)[3] = 0
	for _, c := range []struct {
		what string
		unit int
		kept []int
		want string // part of the reason
	}{
		{"the same channel twice", 1, []int{0, 0, 1}, "channel 0 is out of order"},
		{"descending", 1, []int{1, 0}, "channel 0 is out of order"},
		{"out of range", 1, []int{0, 16}, "channel 16 is out of order or out of range"},
		{"negative", 1, []int{-1}, "channel -1 is out of order or out of range"},
		{"a γ that is not 0", 1, []int{0, 1, 2, 3, 4}, "channel 5 cannot be removed"},
		{"no γ", fixed, []int{0}, "has no γ"},
	} {
		kept := make([][]int, len(net.Units))
		kept[c.unit] = c.kept
		var refused *RemovalError
		if _, err := Compact(net, e.params, kept); !errors.As(err, &refused) || refused.Unit != net.Units[c.unit].BN || !strings.Contains(refused.Reason, c.want) {
			t.Errorf("%s: got error %v, want a *RemovalError of %s that contains %q", c.what, err, net.Units[c.unit].BN, c.want)
		}
	}
	var refused *RemovalError
	if _, err := Compact(net, e.params, nil); !errors.As(err, &refused) {
		t.Errorf("no lists of kept channels: got error %v, want a *RemovalError", err)
	}
}

// TestCompactInFloat32 compares a step of the compacted network in float32 with a step
// of the whole network in float64. The bounds are as in TestEveryNetwork, except that
// the gradients of γ and β are compared all together, with a bound of at least 5e-3. If a
// convolution reads only constants, a variance near 0 multiplies rounding errors by up to
// 1/√ε = 316 in both networks. The error of the compacted network may then be up to 8
// times that of the whole network.
func TestCompactInFloat32(t *testing.T) {
	prunedNetworks(t, func(t *testing.T, e *example[float64], kept [][]int) {
		e32 := inFloat32(e)
		c32, err := Compact(e.net, e32.params, kept)
		if err != nil {
			t.Fatal(err)
		}
		small32 := &example[float32]{net: c32.Network, params: c32.Params, pictures: e32.pictures, labels: e32.labels}
		_, small := compacted(t, e, kept)
		_, perturbed := compacted(t, e, kept)
		perturbed.pictures = slices.Clone(perturbed.pictures)
		perturbed.perturb()

		o := TrainingOptions{Threads: 2, Gradients: AllGradients}
		family, best := kernel.Generic[float64](), kernel.Best()
		whole64, whole32 := e.training(t, family, o), e32.training(t, best, o)
		small64, step, perturbedStep := small.training(t, family, o), small32.training(t, best, o), perturbed.training(t, family, o)
		want := whole64.Forward(e.pictures, e.labels)
		whole32.Forward(e32.pictures, e32.labels)
		small64.Forward(small.pictures, small.labels)
		got := step.Forward(small32.pictures, small32.labels)
		perturbedStep.Forward(perturbed.pictures, perturbed.labels)

		tolerance := max(float32Tolerance(1e-4, normalisedError(perturbedStep.Logits(), whole64.Logits())), 8*normalisedError(whole32.Logits(), whole64.Logits()))
		d := normalisedError(step.Logits(), whole64.Logits())
		t.Logf("normalised error of the logits %.2g (bound %.2g), in the whole network %.2g", d, tolerance, normalisedError(whole32.Logits(), whole64.Logits()))
		if !(d < tolerance) || !(math.Abs(got.Sum-want.Sum) < tolerance*want.Sum) {
			t.Errorf("normalised error of the logits %.2g, want less than %.2g; loss %v, want %v", d, tolerance, got.Sum, want.Sum)
		}

		copyMasks(whole64, whole32)
		copyMasks(small64, step)
		copyMasks(perturbedStep, step)
		for _, backward := range []func(){whole64.Backward, whole32.Backward, small64.Backward, step.Backward, perturbedStep.Backward} {
			backward()
		}
		exact := gammasAndBetas(small64.Gradients())
		if len(exact) == 0 || largest(exact) < 1e-10 {
			return
		}
		d = normalisedError(gammasAndBetas(step.Gradients()), exact)
		wholeError := normalisedError(gammasAndBetas(whole32.Gradients()), gammasAndBetas(whole64.Gradients()))
		tolerance = max(float32Tolerance(5e-3, normalisedError(gammasAndBetas(perturbedStep.Gradients()), exact)), 8*wholeError)
		t.Logf("normalised error of the gradient of γ and β %.2g (bound %.2g), in the whole network %.2g", d, tolerance, wholeError)
		if !(d < tolerance) {
			t.Errorf("normalised error of the gradient of γ and β %.2g, want less than %.2g", d, tolerance)
		}
	})
}

// inFloat32 rounds an example's values to float32 and returns a copy in that type.
func inFloat32(e *example[float64]) *example[float32] {
	f := &example[float32]{net: e.net, params: NewParams[float32](e.net, nil), labels: e.labels}
	for i, values := range e.params.Values {
		for j, v := range values {
			f.params.Values[i][j] = float32(v)
			values[j] = float64(float32(v))
		}
	}
	for _, v := range e.pictures { // drawn in float32
		f.pictures = append(f.pictures, float32(v))
	}
	return f
}

// gammasAndBetas returns all γ and β, one after the other.
func gammasAndBetas[T kernel.Float](p *Params[T]) []T {
	var all []T
	for i := range p.Tensors {
		if kind := p.Tensors[i].Kind; kind == arch.Gamma || kind == arch.Beta {
			all = append(all, p.Values[i]...)
		}
	}
	return all
}
