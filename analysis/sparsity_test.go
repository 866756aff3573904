package analysis

import (
	"context"
	"math"
	"slices"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// forward computes the network in inference mode with plain float64 loops. It returns the
// outputs of every unit, N×C×H×W, before the ReLU.
func forward(m *engine.Model, stats *nn.Statistics, data *dataset.Data) [][]float64 {
	split := data.Test
	var pictures []float64
	area := split.Height * split.Width
	for i, v := range split.Images {
		c := i / area % split.Channels
		pictures = append(pictures, (float64(v)/255-float64(data.Mean[c]))/float64(data.Std[c]))
	}
	net := m.Network
	all := make([][]float64, len(net.Units))
	input := func(unit int) ([]float64, arch.Shape) {
		if unit == arch.Picture {
			return pictures, net.Input
		}
		out := all[unit]
		if net.Units[unit].ReLU {
			out = make([]float64, len(all[unit]))
			for i, v := range all[unit] {
				out[i] = math.Max(v, 0)
			}
		}
		return out, net.Units[unit].OutShape
	}
	for i := range net.Units {
		u := &net.Units[i]
		in, from := input(u.In)
		weight, to := m.Params.Of(i, arch.ConvWeight), u.OutShape
		gamma, beta := m.Params.Of(i, arch.Gamma), m.Params.Of(i, arch.Beta)
		var add []float64
		var shape arch.Shape
		if u.Add.Kind != arch.NoResidual {
			add, shape = input(u.Add.From)
		}
		for n := range split.Len() {
			for c := range to.C {
				for y := range to.H {
					for x := range to.W {
						sum := 0.0
						for ci := range from.C {
							for r := range u.Kernel {
								for s := range u.Kernel {
									row, column := y*u.Stride+r-u.Pad, x*u.Stride+s-u.Pad
									if row >= 0 && row < from.H && column >= 0 && column < from.W {
										sum += in[((n*from.C+ci)*from.H+row)*from.W+column] * float64(weight[((c*from.C+ci)*u.Kernel+r)*u.Kernel+s])
									}
								}
							}
						}
						z := float64(gamma[c])*(sum-stats.Mean[i][c])/math.Sqrt(stats.Var[i][c]+m.Preprocessing.Eps) + float64(beta[c])
						switch {
						case add != nil && shape == to:
							z += add[len(all[i])]
						case add != nil && c < shape.C: // a shortcut without a convolution
							z += add[((n*shape.C+c)*shape.H+2*y)*shape.W+2*x]
						}
						all[i] = append(all[i], z)
					}
				}
			}
		}
	}
	return all
}

// TestSparsityOfEveryLayer compares the sparsity of a trained network with counts over plain
// loops. An output that is within a rounding error of zero may be counted as zero or not.
func TestSparsityOfEveryLayer(t *testing.T) {
	data := tinyData(64, 24)
	m := trainedModel(t, data, false)
	evaluator, err := m.Evaluator(data, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer evaluator.Close()
	stats, err := evaluator.Reestimate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// β is chosen so that the first channels have the numbers of zero outputs that are listed
	// below. They are just below and just above the limits for channels that are off or on.
	const unit = 3
	gamma, beta := m.Params.Of(unit, arch.Gamma), m.Params.Of(unit, arch.Beta)
	for c := range gamma {
		gamma[c], beta[c] = 1, 0
	}
	z := forward(m, stats, data)[unit]
	area := m.Network.Units[unit].OutShape.H * m.Network.Units[unit].OutShape.W
	positions := data.Test.Len() * area
	edge := int(0.99 * float64(positions)) // outputs that may be zero in a channel that is not off
	for c, zeros := range []int{0, 1, positions * 95 / 100, edge, edge + 1, positions} {
		var values []float64
		for n := range data.Test.Len() {
			values = append(values, z[(n*len(gamma)+c)*area:][:area]...)
		}
		slices.Sort(values)
		values = slices.Concat([]float64{values[0] - 1}, values, []float64{values[positions-1] + 1})
		beta[c] = float32(-(values[zeros] + values[zeros+1]) / 2)
	}
	// The statistics of later units have changed.
	if stats, err = evaluator.Reestimate(context.Background()); err != nil {
		t.Fatal(err)
	}
	report, err := Run(context.Background(), m, data, Options{Threads: 2, GradientBatches: 1, Thresholds: []float64{0.01}})
	if err != nil {
		t.Fatal(err)
	}
	const rounding = 1e-5
	var channels, mostlyOff, alwaysOn, unsure, outputs int
	for i, z := range forward(m, stats, data) {
		u := &m.Network.Units[i]
		if !u.ReLU {
			continue
		}
		area := u.OutShape.H * u.OutShape.W
		positions := data.Test.Len() * area
		least, most := make([]int, u.OutShape.C), make([]int, u.OutShape.C)
		for at, v := range z {
			c := at / area % u.OutShape.C
			if v < -rounding {
				least[c]++
			}
			if v < rounding {
				most[c]++
			}
		}
		var zero, off, on [2]int
		for c := range least {
			for k, n := range []int{least[c], most[c]} {
				zero[k] += n
				if float64(n) > 0.99*float64(positions) {
					off[k]++
				}
				if n == 0 {
					on[1-k]++
				}
			}
		}
		s := report.Layers[i].Sparsity
		within := func(what string, got float64, bounds [2]int) {
			t.Helper()
			if got < float64(bounds[0]) || got > float64(bounds[1]) {
				t.Errorf("%s has %v %s, want a number in %v", u.BN, got, what, bounds)
			}
		}
		within("zeros", math.Round(s.Zero*float64(len(z))), zero)
		within("channels off", float64(s.MostlyOff), off)
		within("channels on", float64(s.AlwaysOn), on)
		if s.Channels != u.OutShape.C {
			t.Errorf("%s has %d channels, want %d", u.BN, s.Channels, u.OutShape.C)
		}
		channels, mostlyOff, alwaysOn = channels+s.Channels, mostlyOff+s.MostlyOff, alwaysOn+s.AlwaysOn
		unsure, outputs = unsure+zero[1]-zero[0], outputs+len(z)
	}
	if unsure*100 > outputs {
		t.Errorf("%d of %d outputs are too near zero to compare", unsure, outputs)
	}
	total := report.Total.Sparsity
	if total.Channels != channels || total.MostlyOff != mostlyOff || total.AlwaysOn != alwaysOn || mostlyOff == 0 || alwaysOn == 0 {
		t.Errorf("the total is %+v, but the layers have %d channels, %d off, %d on", total, channels, mostlyOff, alwaysOn)
	}
}
