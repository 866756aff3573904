package plots

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/engine"
	"bnkit/prune"
)

// DrawPolicies draws a comparison of pruning policies as a file at path, whose extension
// is the format: test accuracy against the remaining multiply-adds and against the measured
// time, with 95% intervals.
func DrawPolicies(path string, c *prune.Comparison) error {
	return policies(c).saveAs(path)
}

// policies draws accuracy against multiply-adds and against time, with a line for each policy.
func policies(c *prune.Comparison) *figure {
	measured := "statistics re-estimated after pruning"
	if c.Epochs > 0 {
		measured = fmt.Sprintf("γ and β trained for %d epochs after pruning", c.Epochs)
	}
	f := &figure{
		title:   "Test accuracy of a network pruned by several policies",
		scope:   fmt.Sprintf("%d pictures of the test split, inference mode, %s", c.Before.Examples, measured),
		note:    "Bars are 95% intervals (Wilson) for the choice of test pictures. Time: inference in batches of up to 128, measured in turn with the whole network.",
		columns: 2,
	}
	byMACs, byTime := newPanel("multiply-adds that stay", "test accuracy"), newPanel("time that stays", "")
	f.panels = []panel{{byMACs, 1}, {byTime, 1}}
	var lines []policyCurve
	for _, row := range c.Rows {
		name := policyName(row.Policy)
		i := slices.IndexFunc(lines, func(l policyCurve) bool { return l.name == name })
		if i < 0 {
			i = len(lines)
			lines = append(lines, policyCurve{name: name, mark: markOf(i)})
		}
		a := row.Reestimated
		if row.Recovered != nil {
			a = *row.Recovered
		}
		lines[i].points = append(lines[i].points, point{row.MACs, row.Time, a})
	}
	for _, l := range lines {
		byMACs.Add(l.plotAgainst(func(p point) float64 { return p.macs }))
		byTime.Add(l.plotAgainst(func(p point) float64 { return p.time }))
		f.legend = append(f.legend, entry{name: l.name, mark: l.mark})
	}
	for _, p := range f.panels {
		p.Y.Max = max(p.Y.Max, c.Before.TestAccuracy)
		p.X.Tick.Marker = ticks{percent: true}
		margin := 0.03 * (p.X.Max - p.X.Min)
		p.X.Min, p.X.Max = p.X.Min-margin, p.X.Max+margin
		p.Add(horizontal{c.Before.TestAccuracy, reference(darkGrey), fmt.Sprintf("%.1f%% before pruning", 100*c.Before.TestAccuracy)})
	}
	high := max(byMACs.Y.Max, byTime.Y.Max)
	for _, p := range f.panels {
		p.Y.Max = high
		shareAxis(p.Plot, 6)
	}
	return f
}

// policyName returns the name of a policy, followed by its options that are not the defaults.
func policyName(p prune.Policy) string {
	var options []string
	if p.Scope != prune.GlobalScope {
		options = append(options, "by "+string(p.Scope))
	}
	if p.Normalise {
		options = append(options, "normalised")
	}
	if p.PerMAC > 0 {
		options = append(options, fmt.Sprintf("multiply-adds to the power %g", p.PerMAC))
	}
	if len(options) == 0 {
		return string(p.Importance)
	}
	return fmt.Sprintf("%s (%s)", p.Importance, strings.Join(options, ", "))
}

// policyCurve holds the accuracies of a policy at all sizes.
type policyCurve struct {
	name   string
	mark   mark
	points []point
}

// point holds the results of a policy at one size.
type point struct {
	macs, time float64
	accuracy   engine.Evaluation
}

// plotAgainst returns a plotter of the curve against x, ordered by x.
func (l policyCurve) plotAgainst(x func(point) float64) intervals {
	points := slices.Clone(l.points)
	slices.SortStableFunc(points, func(a, b point) int {
		if x(a) < x(b) {
			return -1
		}
		return 1
	})
	s := intervals{series: series{mark: l.mark}}
	for _, p := range points {
		s.x, s.y = append(s.x, x(p)), append(s.y, p.accuracy.TestAccuracy)
		s.low, s.high = append(s.low, p.accuracy.Interval[0]), append(s.high, p.accuracy.Interval[1])
	}
	return s
}

// intervals is a plotter of a line through points with vertical bars from low to high.
type intervals struct {
	series
	low, high []float64
}

// Plot implements plot.Plotter.
func (s intervals) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := s.mark.thin().line()
	style.Dashes = nil
	for i := range s.x {
		if finite(s.x[i]) && finite(s.low[i]) && finite(s.high[i]) {
			c.StrokeLine2(style, x(s.x[i]), y(s.low[i]), x(s.x[i]), y(s.high[i]))
			for _, end := range []float64{s.low[i], s.high[i]} {
				c.StrokeLine2(style, x(s.x[i])-vg.Points(2), y(end), x(s.x[i])+vg.Points(2), y(end))
			}
		}
	}
	s.series.Plot(c, p)
}

// DataRange implements plot.DataRanger.
func (s intervals) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = s.series.DataRange()
	for i := range s.x {
		if finite(s.low[i]) && finite(s.high[i]) {
			ymin, ymax = min(ymin, s.low[i]), max(ymax, s.high[i])
		}
	}
	return xmin, xmax, ymin, ymax
}
