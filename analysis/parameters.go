package analysis

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// bins is the number of bins of a histogram.
const bins = 60

// describe returns a report that holds only the distributions of γ and β.
func describe(m *engine.Model, thresholds []float64) *Report {
	r := &Report{Arch: m.Network.Name, Data: m.Data.Name, Classes: m.Network.Classes, NearZero: thresholds}
	if m.Origin != nil {
		r.Trainable = string(m.Origin.Trainable)
	}
	pruned := m.Pruned()
	var gammas, betas [][]float64 // of the channels that are not pruned
	var units []*arch.Unit
	for i := range m.Network.Units {
		if u := &m.Network.Units[i]; u.BN != "" {
			units = append(units, u)
			gammas = append(gammas, sorted(without(m.Params.Of(i, arch.Gamma), pruned[u.BN])))
			betas = append(betas, sorted(without(m.Params.Of(i, arch.Beta), pruned[u.BN])))
		}
	}
	allGamma, allBeta := slices.Concat(gammas...), slices.Concat(betas...)
	slices.Sort(allGamma)
	slices.Sort(allBeta)
	r.GammaEdges, r.BetaEdges = edges(allGamma), edges(allBeta)
	for i, u := range units {
		r.Total.Channels += u.OutShape.C
		r.Total.Pruned += len(pruned[u.BN])
		r.Layers = append(r.Layers, Layer{
			Name: u.BN, Convolution: u.Name, Shortcut: u.Shortcut, ReLU: relu(u),
			Channels: u.OutShape.C, Height: u.OutShape.H, Width: u.OutShape.W,
			Gamma: distribution(gammas[i], r.GammaEdges), Beta: distribution(betas[i], r.BetaEdges),
			NearZero: nearZero(gammas[i], r.NearZero), Pruned: pruned[u.BN],
		})
	}
	r.Total.Gamma, r.Total.Beta = distribution(allGamma, r.GammaEdges), distribution(allBeta, r.BetaEdges)
	r.Total.NearZero = nearZero(allGamma, r.NearZero)
	return r
}

// analysable returns an error if the network has no BatchNorm, or one with a fixed γ or β.
func analysable(m *engine.Model) error {
	if !m.Network.HasBN() {
		return &engine.ModelError{Path: m.Source.Path, Reason: "it has no BatchNorm to analyze"}
	}
	for i := range m.Network.Units {
		if u := &m.Network.Units[i]; u.NoScale || u.NoShift {
			return &engine.ModelError{Path: m.Source.Path, Reason: fmt.Sprintf("γ or β of %s is fixed; only networks whose γ and β are all variable can be analyzed", u.BN)}
		}
	}
	return nil
}

// layerOf returns the index of each unit in Report.Layers, or -1 if it has no BatchNorm.
func layerOf(net *arch.Network) []int {
	layer, next := make([]int, len(net.Units)), 0
	for i := range layer {
		layer[i] = -1
		if net.Units[i].BN != "" {
			layer[i] = next
			next++
		}
	}
	return layer
}

// relu returns the value of Layer.ReLU for a unit.
func relu(u *arch.Unit) string {
	switch {
	case !u.ReLU:
		return ""
	case u.Add.Kind != arch.NoResidual:
		return u.BN + " + residual"
	}
	return u.BN
}

// without returns the values of the channels that are not in out, which ascends.
func without(values []float32, out []int) []float32 {
	var rest []float32
	for c, v := range values {
		if _, found := slices.BinarySearch(out, c); !found {
			rest = append(rest, v)
		}
	}
	return rest
}

func sorted(values []float32) []float64 {
	s := make([]float64, len(values))
	for i, v := range values {
		s[i] = float64(v)
	}
	slices.Sort(s)
	return s
}

// edges divides the range of all values into equal bins of a round width. Zero is an edge,
// so that no bin mixes signs.
func edges(values []float64) []float64 {
	low, high := 0.0, 0.0
	if len(values) > 0 {
		low, high = min(values[0], 0), max(values[len(values)-1], 0)
	}
	digit, power := roundUp((high - low) / bins)
	// Multiples of a width below 1 are computed as quotients, because 3/10 is nearer
	// to 0.3 than 3 × 0.1 is.
	edge := func(i float64) float64 {
		if power < 0 {
			return i * digit / math.Pow10(-power)
		}
		return i * digit * math.Pow10(power)
	}
	width := edge(1)
	first, last := math.Floor(low/width), math.Ceil(high/width)
	if last == first {
		last++
	}
	e := make([]float64, int(last-first)+1)
	for i := range e {
		e[i] = edge(first + float64(i))
	}
	// A quotient may be rounded to an edge although the extreme value is beyond it.
	e[0], e[len(e)-1] = min(e[0], low), max(e[len(e)-1], high)
	return e
}

// roundUp returns the smallest number digit × 10^power that is at least x, where digit is
// 1, 2 or 5.
func roundUp(x float64) (digit float64, power int) {
	if x <= 0 {
		return 1, -2
	}
	power = int(math.Floor(math.Log10(x)))
	for _, digit := range []float64{1, 2, 5} {
		if digit*math.Pow10(power) >= x {
			return digit, power
		}
	}
	return 1, power + 1
}

// distribution describes sorted values.
func distribution(values, edges []float64) Distribution {
	d := Distribution{Histogram: make([]int, len(edges)-1)}
	if len(values) == 0 {
		return d
	}
	for _, p := range Levels {
		d.Quantiles = append(d.Quantiles, stat.Quantile(p, stat.Empirical, values, nil))
	}
	for _, v := range values {
		// The last edge belongs to the last bin.
		bin := floats.Within(edges, v)
		if bin < 0 {
			bin = len(d.Histogram) - 1
		}
		d.Histogram[bin]++
	}
	return d
}

// nearZero returns the share of values whose magnitude is below each threshold, or nil
// without values.
func nearZero(values, thresholds []float64) []float64 {
	if len(values) == 0 {
		return nil
	}
	shares := make([]float64, len(thresholds))
	for i, t := range thresholds {
		below := 0
		for _, v := range values {
			if math.Abs(v) < t {
				below++
			}
		}
		shares[i] = float64(below) / float64(len(values))
	}
	return shares
}
