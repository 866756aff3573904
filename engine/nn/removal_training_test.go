package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// TestTrainingCompacted takes steps with momentum, weight decay and a limit on the
// gradient's norm, with every trainable set but "none", in the compacted and in the whole
// network. In the whole network, parameters that are hidden from the optimizer of the compacted
// network are masked. Apart from rounding, both networks must give the same result, and masked
// parameters must keep their bits.
func TestTrainingCompacted(t *testing.T) {
	build := func(name string, shortcut arch.Shortcut) *arch.Network {
		net, err := arch.Build(name, arch.Options{Input: arch.Shape{C: 1, H: 10, W: 10}, Classes: 4, Shortcut: shortcut})
		if err != nil {
			t.Fatal(err)
		}
		return net
	}
	for _, net := range []*arch.Network{build("resnet-8", arch.OptionA), build("resnet-8", arch.OptionB), build("convnet", arch.OptionB),
		miniatureImageNet(arch.Shape{C: 3, H: 22, W: 19}, 4)} {
		for _, clampName := range []string{"a third", "the same channels everywhere"} {
			for _, set := range append(slices.Clone(arch.TrainableSets), "random-2", "bn+random-2") {
				if set == arch.Nothing {
					continue
				}
				t.Run(fmt.Sprint(net.Name, net.Options.Shortcut, ", ", clampName, " held, ", set), func(t *testing.T) {
					trainCompacted(t, net, clampName, set)
				})
			}
		}
	}
}

// trainCompacted compares training of the compacted and of the whole network.
func trainCompacted(t *testing.T, net *arch.Network, clampName string, set arch.TrainableSet) {
	const seed, steps = 7, 4
	e := exampleOf[float64](net, 6)
	hold := clamps[slices.IndexFunc(clamps, func(c struct {
		name string
		hold func(net *arch.Network, i, c int, draw float64) bool
	}) bool {
		return c.name == clampName
	})].hold
	kept := clamp(e, hold, false)
	start := NewParams[float64](net, nil)
	for i, values := range e.params.Values {
		copy(start.Values[i], values)
	}
	c, f := compacted(t, e, kept)

	o := TrainingOptions{Threads: 2, Gradients: GradientsOf(net, set)}
	family := kernel.Generic[float64]()
	whole, small := e.training(t, family, o), f.training(t, family, o)
	gradients := c.TrainedGradients(small.Gradients(), set, seed)
	trained := c.Trained(e.params, set, seed)
	expanded := NewParams[float64](net, nil)
	for i, values := range start.Values {
		copy(expanded.Values[i], values)
	}

	elements := unmasked(net, c, kept, set, seed)
	var wholeOptimizer, smallOptimizer sgd
	for step := range steps {
		want, got := whole.Forward(e.pictures, e.labels), small.Forward(f.pictures, f.labels)
		if math.Abs(got.Sum-want.Sum) > 1e-9*want.Sum {
			t.Fatalf("step %d: loss %v, want %v", step, got.Sum, want.Sum)
		}
		whole.Backward()
		values, slopes := gather(e.params, elements), gather(whole.Gradients(), elements)
		wholeOptimizer.step(values, slopes)
		for i, positions := range elements {
			for j, p := range positions {
				e.params.Values[i][p] = values[i][j]
			}
		}
		small.Backward()
		gradients.Gather()
		smallOptimizer.step(trained.Values, gradients.Values)
		trained.Scatter()
		whole.Repack()
		small.Repack()
	}

	c.Expand(expanded, trained, set, seed)
	changed := 0
	for i := range net.Tensors() {
		x := &e.params.Tensors[i]
		for j, v := range expanded.Values[i] {
			before, want := start.Values[i][j], e.params.Values[i][j]
			if !slices.Contains(elements[i], int32(j)) && v != before {
				t.Errorf("%s[%d] is masked: it is %v, want %v, as before", x.Name, j, v, before)
			}
			if math.Abs(v-want) > 1e-8*(1+math.Abs(want)) {
				t.Errorf("%s[%d] is %v, want %v", x.Name, j, v, want)
			}
			if v != before {
				changed++
			}
		}
	}
	if changed == 0 {
		t.Error("training changed 0 parameters, want some")
	}
	// Compacting the trained network again must give the trained parameters.
	recompacted, err := Compact(net, expanded, kept)
	if err != nil {
		t.Fatal(err)
	}
	for i, values := range recompacted.Params.Values {
		checkEqual(t, "compacted again: "+recompacted.Params.Tensors[i].Name, c.Params.Values[i], values)
	}
}

// unmasked returns for each tensor the elements that a set trains, without the elements that
// belong to channels that are held constant, compute such channels, or read removed channels.
func unmasked(net *arch.Network, c *Compacted[float64], kept [][]int, set arch.TrainableSet, seed uint64) [][]int32 {
	var elements [][]int32
	for _, x := range net.Tensors() {
		var positions []int32
		if set.Chooses(&x) {
			positions = Chosen(&x, set, seed)
		} else if set.Trains(&x) {
			for j := range x.Len() {
				positions = append(positions, int32(j))
			}
		}
		positions = slices.DeleteFunc(positions, func(p int32) bool {
			out, in, reads := int(p), -1, arch.Picture
			switch x.Kind {
			case arch.OutputBias:
				return false
			case arch.OutputWeight:
				return !slices.Contains(c.Origins[x.Unit-1], int(p)%x.Shape[1])
			case arch.ConvWeight:
				out, in, reads = int(p)/x.FanIn, int(p)%x.FanIn/(x.Shape[2]*x.Shape[3]), net.Units[x.Unit].In
			}
			constant := kept[x.Unit] != nil && !slices.Contains(kept[x.Unit], out)
			return constant || reads != arch.Picture && !slices.Contains(c.Origins[reads], in)
		})
		elements = append(elements, positions)
	}
	return elements
}

// gather returns copies of the elements at the given positions of each tensor.
func gather(p *Params[float64], positions [][]int32) [][]float64 {
	values := make([][]float64, len(positions))
	for i := range positions {
		for _, position := range positions[i] {
			values[i] = append(values[i], p.Values[i][position])
		}
	}
	return values
}

// sgd is SGD with momentum, weight decay and a limit on the gradients' norm, in plain loops.
type sgd struct{ velocity [][]float64 }

// step changes values by a step along the gradients.
func (s *sgd) step(values, gradients [][]float64) {
	if s.velocity == nil {
		for _, v := range values {
			s.velocity = append(s.velocity, make([]float64, len(v)))
		}
	}
	norm := 0.0
	for _, g := range gradients {
		for _, v := range g {
			norm += v * v
		}
	}
	scale := math.Min(0.5/math.Sqrt(norm), 1)
	for i, g := range gradients {
		for j := range g {
			s.velocity[i][j] = 0.9*s.velocity[i][j] + scale*g[j] + 1e-2*values[i][j]
			values[i][j] -= 0.1 * s.velocity[i][j]
		}
	}
}
