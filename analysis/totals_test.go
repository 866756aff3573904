package analysis

import (
	"context"
	"math"
	"slices"
	"testing"

	"bnkit/engine/arch"
)

// TestTotals recomputes the totals from the layers and the parameters, and compares them with
// those of the report.
func TestTotals(t *testing.T) {
	data := tinyData(64, 32)
	m := trainedModel(t, data, false)
	copy(m.Params.Of(2, arch.Gamma), []float32{0.25, -0.25, 0.2499, -0.2499}) // a γ equal to the threshold is not clamped
	before := snapshot(m)
	r, err := Run(context.Background(), m, data, Options{Threads: 2, GradientBatches: 1, Thresholds: []float64{0.25}})
	if err != nil {
		t.Fatal(err)
	}
	checkUnchanged(t, m, before)

	elements := map[arch.Kind]float64{}
	var gradient Magnitude
	var gamma, beta []int
	for i, l := range r.Layers {
		for kind, part := range map[arch.Kind]struct {
			sum   *float64
			layer float64
		}{arch.Gamma: {&gradient.Gamma, l.Gradient.Gamma}, arch.Beta: {&gradient.Beta, l.Gradient.Beta}, arch.ConvWeight: {&gradient.Convolution, l.Gradient.Convolution}} {
			n := float64(len(m.Params.Of(i, kind)))
			*part.sum += n * part.layer
			elements[kind] += n
		}
		gamma, beta = addCounts(gamma, l.Gamma.Histogram), addCounts(beta, l.Beta.Histogram)
	}
	for what, pair := range map[string][2]float64{
		"γ":            {r.Total.Gradient.Gamma, gradient.Gamma / elements[arch.Gamma]},
		"β":            {r.Total.Gradient.Beta, gradient.Beta / elements[arch.Beta]},
		"convolutions": {r.Total.Gradient.Convolution, gradient.Convolution / elements[arch.ConvWeight]},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-12*pair[1] || pair[1] == 0 {
			t.Errorf("the total gradient of %s is %v, want %v, as the layers give, and not 0", what, pair[0], pair[1])
		}
	}
	if !slices.Equal(gamma, r.Total.Gamma.Histogram) || !slices.Equal(beta, r.Total.Beta.Histogram) {
		t.Errorf("the total histograms are %v and %v, want %v and %v, as the layers give", r.Total.Gamma.Histogram, r.Total.Beta.Histogram, gamma, beta)
	}

	var all []float32
	for i := range m.Network.Units {
		all = append(all, m.Params.Of(i, arch.Gamma)...)
	}
	small := 0
	for _, g := range all {
		if -0.25 < g && g < 0.25 {
			small++
		}
	}
	if s := r.Sweep[1]; s.Clamped != small || s.Share != float64(small)/float64(len(all)) {
		t.Errorf("the sweep clamps %d γ, a share of %v; want %d of %d", s.Clamped, s.Share, small, len(all))
	}
	checkDistribution(t, "all γ", r.Total.Gamma, all, r.GammaEdges)
	all = all[:0]
	for i := range m.Network.Units {
		all = append(all, m.Params.Of(i, arch.Beta)...)
	}
	checkDistribution(t, "all β", r.Total.Beta, all, r.BetaEdges)
}

// addCounts adds b to a, element by element, and returns a. If a is nil, it returns a copy of b.
func addCounts(a, b []int) []int {
	if a == nil {
		return slices.Clone(b)
	}
	for i := range a {
		a[i] += b[i]
	}
	return a
}

// TestDyadicEdges uses multiples of powers of two, some of which lie on an edge of the histogram or,
// because of rounding, next to one. Every value must be counted in the bin whose edges enclose it.
func TestDyadicEdges(t *testing.T) {
	for exponent := -20; exponent < 20; exponent++ {
		for mantissa := 1; mantissa < 128; mantissa += 2 {
			v := math.Ldexp(float64(mantissa), exponent)
			for _, values := range [][]float64{{-v}, {v}, {-v, v}, {-v, 0, 3 * v}} {
				e := edges(values)
				d := distribution(values, e)
				sum := 0
				for bin, n := range d.Histogram {
					sum += n
					for _, x := range values {
						if e[bin] <= x && x < e[bin+1] && n == 0 {
							t.Fatalf("the histogram counts 0 values from %v to %v, want at least 1, because %v of %v lies there", e[bin], e[bin+1], x, values)
						}
					}
				}
				if sum != len(values) || e[0] > values[0] || e[len(e)-1] < values[len(values)-1] || !slices.Contains(e, 0) {
					t.Fatalf("the histogram of %v is %v for the edges %v, want each value counted once and 0 among the edges", values, d.Histogram, e)
				}
			}
		}
	}
}
