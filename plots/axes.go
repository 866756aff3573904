package plots

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
)

// ticks labels an axis at a few round numbers.
type ticks struct {
	percent  bool // the axis is a share, shown in percent
	whole    bool // only whole numbers make sense
	maxSteps int  // largest number of steps between labels; 0 for 7
}

// step returns the distance between labels, in the unit that they show.
func (t ticks) step(low, high float64) float64 {
	maxSteps := t.maxSteps
	if maxSteps == 0 {
		maxSteps = 7
	}
	// A rounding error of the range must not double the step.
	step := roundUp((high - low) * t.unit() / float64(maxSteps) * (1 - 1e-9))
	if t.whole {
		step = max(step, 1)
	}
	return step
}

// unit returns the number by which values are multiplied for labels.
func (t ticks) unit() float64 {
	if t.percent {
		return 100
	}
	return 1
}

// Ticks implements plot.Ticker.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	step, unit, suffix := t.step(low, high), t.unit(), ""
	if t.percent {
		suffix = "%"
	}
	var all []plot.Tick
	first, last := math.Ceil(low*unit/step*(1-1e-12)), math.Floor(high*unit/step*(1+1e-12))
	for i := 0.0; i <= last-first; i++ {
		value := (first+i)*step + 0 // adding 0 turns -0 into 0
		// %.6g hides the rounding error of products such as 3 × 0.1.
		all = append(all, plot.Tick{Value: value / unit, Label: fmt.Sprintf("%.6g%s", value, suffix)})
	}
	return all
}

// shareAxis makes the vertical axis show shares in percent. It begins at 0 and ends at the
// first label that is below neither the data nor 5%. It has at most maxSteps steps.
func shareAxis(p *plot.Plot, maxSteps int) {
	t := ticks{percent: true, maxSteps: maxSteps}
	high := 0.05
	if finite(p.Y.Max) {
		high = max(high, p.Y.Max)
	}
	step := t.step(0, high) / 100
	p.Y.Min, p.Y.Max = 0, math.Ceil(high/step*(1-1e-9))*step
	p.Y.Tick.Marker = t
}

// logAxis makes an axis logarithmic from low to high, which must be positive. Its coordinates
// are exponents, log₁₀ of the values that it shows. maxLabels is that of logTicks.
// plot.LogScale is not used because it does not centre the label of the axis and panics at 0.
func logAxis(a *plot.Axis, low, high float64, maxLabels int) {
	a.Min, a.Max = math.Log10(low), math.Log10(high)
	if a.Min == a.Max {
		a.Min, a.Max = a.Min-0.3, a.Max+0.3
	}
	a.Tick.Marker = logTicks{maxLabels}
}

// logTicks labels an axis of exponents at 1, 2 and 5 times each power of ten. If there
// would be more than about maxLabels labels, it labels only powers of ten, or only some of them.
type logTicks struct{ maxLabels int }

// Ticks implements plot.Ticker.
func (t logTicks) Ticks(low, high float64) []plot.Tick {
	decades := high - low
	stride := max(1, int(math.Ceil(decades/float64(t.maxLabels)))) // of labelled powers
	crowded := math.Floor(3*decades)+1 > float64(t.maxLabels)
	var all []plot.Tick
	for power := int(math.Floor(low)); power <= int(math.Ceil(high)); power++ {
		for _, digit := range []float64{1, 2, 5} {
			exponent := float64(power) + math.Log10(digit)
			if exponent < low-1e-9 || exponent > high+1e-9 || digit != 1 && stride > 1 {
				continue
			}
			tick := plot.Tick{Value: exponent}
			if digit == 1 && power%stride == 0 || !crowded {
				tick.Label = fmt.Sprintf("%.6g", digit*math.Pow10(power))
			}
			all = append(all, tick)
		}
	}
	return all
}

// relabelled places ticks like its Ticker, but gives all labelled ticks the same label. A label of
// one space is invisible and keeps the line of the grid, which ticks without a label do not have.
type relabelled struct {
	plot.Ticker
	label string
}

// Ticks implements plot.Ticker.
func (r relabelled) Ticks(low, high float64) []plot.Tick {
	all := slices.Clone(r.Ticker.Ticks(low, high))
	for i := range all {
		if all[i].Label != "" {
			all[i].Label = r.label
		}
	}
	return all
}

// roundUp returns the smallest 1, 2 or 5 times a power of ten that is at least x, or 1 if x is
// not positive and finite.
func roundUp(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, step := range []float64{1, 2, 5} {
		if step*power >= x {
			return step * power
		}
	}
	return 10 * power
}

// roundDown returns the largest 1, 2 or 5 times a power of ten that is at most x. x must be
// positive.
func roundDown(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, step := range []float64{5, 2, 1} {
		if down := step * power; 0 < down && down <= x {
			return down
		}
	}
	return x // x is below the smallest power of ten of a float64
}

// sameX gives panels the same horizontal range.
func sameX(panels []panel) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range panels {
		low, high = min(low, p.X.Min), max(high, p.X.Max)
	}
	for _, p := range panels {
		p.X.Min, p.X.Max = low, high
	}
}

// finite reports whether v can be drawn on an axis. The range of the axis would overflow
// beyond 1e300.
func finite(v float64) bool { return math.Abs(v) < 1e300 }
