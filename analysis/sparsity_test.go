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

// forward computes the network over the test split in inference mode, with plain float64 loops.
// It returns the outputs of every unit, N×C×H×W, before the ReLU.
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
		in, inShape := input(u.In)
		weight, outShape := m.Params.Of(i, arch.ConvWeight), u.OutShape
		gamma, beta := m.Params.Of(i, arch.Gamma), m.Params.Of(i, arch.Beta)
		var residual []float64
		var residualShape arch.Shape
		if u.Add.Kind != arch.NoResidual {
			residual, residualShape = input(u.Add.From)
		}
		for n := range split.Len() {
			for c := range outShape.C {
				for y := range outShape.H {
					for x := range outShape.W {
						sum := 0.0
						for ci := range inShape.C {
							for r := range u.Kernel {
								for s := range u.Kernel {
									row, column := y*u.Stride+r-u.Pad, x*u.Stride+s-u.Pad
									if row >= 0 && row < inShape.H && column >= 0 && column < inShape.W {
										sum += in[((n*inShape.C+ci)*inShape.H+row)*inShape.W+column] * float64(weight[((c*inShape.C+ci)*u.Kernel+r)*u.Kernel+s])
									}
								}
							}
						}
						z := float64(gamma[c])*(sum-stats.Mean[i][c])/math.Sqrt(stats.Var[i][c]+m.Preprocessing.Eps) + float64(beta[c])
						switch {
						case residual != nil && residualShape == outShape:
							z += residual[len(all[i])]
						case residual != nil && c < residualShape.C: // a shortcut without a convolution
							z += residual[((n*residualShape.C+c)*residualShape.H+2*y)*residualShape.W+2*x]
						}
						all[i] = append(all[i], z)
					}
				}
			}
		}
	}
	return all
}

// TestSparsityOfEveryLayer compares the sparsity of a trained network with counts of the outputs
// that plain loops compute. An output that is within a rounding error of zero may be counted as
// zero or not.
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
	// below. Some are just below and just above the limits for channels that are off (more than 99%
	// zeros) and on (no zeros).
	const unit = 3
	gamma, beta := m.Params.Of(unit, arch.Gamma), m.Params.Of(unit, arch.Beta)
	for c := range gamma {
		gamma[c], beta[c] = 1, 0
	}
	z := forward(m, stats, data)[unit]
	area := m.Network.Units[unit].OutShape.H * m.Network.Units[unit].OutShape.W
	positions := data.Test.Len() * area
	mostZeros := int(0.99 * float64(positions)) // the most zeros of a channel that is not off
	for c, zeros := range []int{0, 1, positions * 95 / 100, mostZeros, mostZeros + 1, positions} {
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
	var channels, mostlyOff, alwaysOn, ambiguous, outputs int
	for i, z := range forward(m, stats, data) {
		u := &m.Network.Units[i]
		if !u.ReLU {
			continue
		}
		area := u.OutShape.H * u.OutShape.W
		positions := data.Test.Len() * area
		least, most := make([]int, u.OutShape.C), make([]int, u.OutShape.C)
		for j, v := range z {
			c := j / area % u.OutShape.C
			if v < -rounding {
				least[c]++
			}
			if v < rounding {
				most[c]++
			}
		}
		var zero, off, on [2]int // lower and upper bounds
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
		checkBounds := func(what string, got float64, bounds [2]int) {
			t.Helper()
			if got < float64(bounds[0]) || got > float64(bounds[1]) {
				t.Errorf("%s has %v %s, want a number from %d to %d", u.BN, got, what, bounds[0], bounds[1])
			}
		}
		checkBounds("zeros", math.Round(s.Zero*float64(len(z))), zero)
		checkBounds("channels off", float64(s.MostlyOff), off)
		checkBounds("channels on", float64(s.AlwaysOn), on)
		if s.Channels != u.OutShape.C {
			t.Errorf("%s has %d channels, want %d", u.BN, s.Channels, u.OutShape.C)
		}
		channels, mostlyOff, alwaysOn = channels+s.Channels, mostlyOff+s.MostlyOff, alwaysOn+s.AlwaysOn
		ambiguous, outputs = ambiguous+zero[1]-zero[0], outputs+len(z)
	}
	if ambiguous*100 > outputs {
		t.Errorf("%d of %d outputs are too near zero to compare, want at most 1%%", ambiguous, outputs)
	}
	total := report.Total.Sparsity
	if total.Channels != channels || total.MostlyOff != mostlyOff || total.AlwaysOn != alwaysOn || mostlyOff == 0 || alwaysOn == 0 {
		t.Errorf("the total is %+v, want %d channels, %d off and %d on, as the layers have, and some of both", total, channels, mostlyOff, alwaysOn)
	}
}
