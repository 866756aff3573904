package analysis

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/convert"
)

// bins is the number of bins into which edges divides the range of values, before it rounds the
// width of a bin up and the ends of the range outwards.
const bins = 60

// describe returns a report with only the distributions of γ and β.
func describe(m *engine.Model, thresholds []float64) *Report {
	r := &Report{Arch: m.Network.Name, Data: m.Data.Name, Classes: m.Network.Classes, NearZero: thresholds}
	if m.Origin != nil {
		r.Trainable = string(m.Origin.Trainable)
	}
	pruned := m.Pruned()
	var gammas, betas [][]float64
	for i := range m.Network.Units {
		u := &m.Network.Units[i]
		if u.BN == "" {
			continue
		}
		r.Layers = append(r.Layers, Layer{
			Name: u.BN, Convolution: u.Name, Shortcut: u.Shortcut, ReLU: relu(u),
			Height: u.OutShape.H, Width: u.OutShape.W, Pruned: pruned[u.BN],
		})
		r.Total.Pruned += len(pruned[u.BN])
		gammas = append(gammas, widen(exclude(m.Params.Of(i, arch.Gamma), pruned[u.BN])))
		betas = append(betas, widen(exclude(m.Params.Of(i, arch.Beta), pruned[u.BN])))
	}
	r.setDistributions(gammas, betas)
	return r
}

// setDistributions sets the distributions of γ and β of each layer and of all layers together.
// The values must not include those of pruned channels.
func (r *Report) setDistributions(gammas, betas [][]float64) {
	allGamma, allBeta := slices.Concat(gammas...), slices.Concat(betas...)
	r.GammaEdges, r.BetaEdges = edges(allGamma), edges(allBeta)
	r.Total.Channels = len(allGamma) + r.Total.Pruned
	r.Total.Gamma, r.Total.Beta = distribution(allGamma, r.GammaEdges), distribution(allBeta, r.BetaEdges)
	r.Total.NearZero, r.Total.BetaNearZero, r.Total.BothNearZero = nearZero(allGamma, allBeta, r.NearZero)
	for i := range r.Layers {
		l, gamma, beta := &r.Layers[i], gammas[i], betas[i]
		l.Channels = len(gamma) + len(l.Pruned)
		l.Gamma, l.Beta = distribution(gamma, r.GammaEdges), distribution(beta, r.BetaEdges)
		l.NearZero, l.BetaNearZero, l.BothNearZero = nearZero(gamma, beta, r.NearZero)
	}
}

// DescribeBatchNorms reports the distributions of γ and β of the BatchNorms of an unknown
// network. All other values are missing; unmeasured is the reason. thresholds are those of
// Options.NearZero. The error is an *OptionError for an invalid threshold, a *convert.Error if
// there is no BatchNorm or a value is not finite, or an error of reading values.
func DescribeBatchNorms(norms []convert.BatchNorm, thresholds []float64, unmeasured string) (*Report, error) {
	o := Options{NearZero: thresholds}
	if err := o.complete(); err != nil {
		return nil, err
	}
	if len(norms) == 0 {
		return nil, &convert.Error{Reason: "it has no BatchNorm to analyze"}
	}
	r := &Report{NearZero: o.NearZero, Unmeasured: unmeasured}
	var gammas, betas [][]float64
	for i := range norms {
		gamma, beta, err := norms[i].Load()
		if err != nil {
			return nil, err
		}
		gammas, betas = append(gammas, gamma), append(betas, beta)
		r.Layers = append(r.Layers, Layer{Name: norms[i].Name})
	}
	r.setDistributions(gammas, betas)
	return r, nil
}

// checkAnalysable returns an error if the network has no BatchNorm, or one with a fixed γ or β.
func checkAnalysable(m *engine.Model) error {
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

// exclude returns the values of the channels that are not in excluded, which is in ascending order.
func exclude(values []float32, excluded []int) []float32 {
	var rest []float32
	for c, v := range values {
		if _, found := slices.BinarySearch(excluded, c); !found {
			rest = append(rest, v)
		}
	}
	return rest
}

// widen converts values to float64.
func widen(values []float32) []float64 {
	w := make([]float64, len(values))
	for i, v := range values {
		w[i] = float64(v)
	}
	return w
}

// edges returns the edges of equal bins of a round width that cover all values. Zero is an
// edge, so that no bin has values of both signs.
func edges(values []float64) []float64 {
	low, high := 0.0, 0.0
	for _, v := range values {
		low, high = min(low, v), max(high, v)
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
	// After rounding, the outermost edges may lie inside the extreme values.
	e[0], e[len(e)-1] = min(e[0], low), max(e[len(e)-1], high)
	return e
}

// roundUp returns the smallest number digit × 10^power that is at least x, where digit is
// 1, 2 or 5. If x is not positive, the number is 0.01.
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

// distribution returns the quantiles and the histogram of values.
func distribution(values, edges []float64) Distribution {
	values = slices.Sorted(slices.Values(values))
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

// nearZero returns, for each threshold, the shares of channels with |γ| below it, with |β| below
// it, and with both below it. It returns nil if there are no channels.
func nearZero(gamma, beta, thresholds []float64) (gammas, betas, both []float64) {
	if len(gamma) == 0 {
		return nil, nil, nil
	}
	for _, t := range thresholds {
		var smallGammas, smallBetas, smallBoth float64
		for i := range gamma {
			smallGamma, smallBeta := math.Abs(gamma[i]) < t, math.Abs(beta[i]) < t
			if smallGamma {
				smallGammas++
			}
			if smallBeta {
				smallBetas++
			}
			if smallGamma && smallBeta {
				smallBoth++
			}
		}
		n := float64(len(gamma))
		gammas, betas, both = append(gammas, smallGammas/n), append(betas, smallBetas/n), append(both, smallBoth/n)
	}
	return gammas, betas, both
}
