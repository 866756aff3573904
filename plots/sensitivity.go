package plots

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
)

// sensitivity draws the accuracy of networks that each have one layer clamped, as a heat map of
// layers and shares of their channels. Dark cells are layers that accuracy depends on.
func sensitivity(run Run) *figure {
	r := run.Report
	if r == nil || r.Sensitivity == nil || len(r.Sensitivity.Layers) == 0 || len(r.Sensitivity.Shares) == 0 {
		return nil
	}
	runs := []Run{run}
	s := r.Sensitivity
	d, _ := depthOf(runs, func(*analysis.Report) bool { return true })
	low, high := s.Unclamped.TestAccuracy, s.Unclamped.TestAccuracy
	for _, l := range s.Layers {
		for _, c := range l.Clamped {
			low, high = min(low, c.TestAccuracy), max(high, c.TestAccuracy)
		}
	}
	if low == high {
		low, high = max(0, low-0.05), low+0.05
	}
	f := &figure{
		title: title("Accuracy when the channels of one layer are clamped", runs),
		scope: describeMeasurement(runs, func(*analysis.Report) *analysis.Scope { return &s.Over }),
		scale: &colorScale{low: low, high: high, falling: true, label: "test accuracy", ticks: ticks{percent: true, maxSteps: 8}},
		note: fmt.Sprintf("Each cell is a network in which only this layer loses channels: those with the smallest |γ| have γ = 0 and keep their β. %.1f%% with no channel clamped.",
			100*s.Unclamped.TestAccuracy),
	}
	p := newPanel(d.label(), "share of channels clamped")
	d.axis(p, 1, true)
	p.Add(cells{s, f.scale, d.stages})
	p.Y.Min, p.Y.Max = -0.5, float64(len(s.Shares))-0.5
	var shareTicks plot.ConstantTicks
	for k, share := range s.Shares {
		shareTicks = append(shareTicks, plot.Tick{Value: float64(k), Label: fmt.Sprintf("%.4g%%", 100*share)})
	}
	p.Y.Tick.Marker = shareTicks
	f.panels = []panel{{p, 1}}
	return f
}

// cells is a plotter of a cell for each layer and share.
type cells struct {
	*analysis.Sensitivity
	scale  *colorScale
	stages []stage
}

// Plot implements plot.Plotter.
func (s cells) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, l := range s.Layers {
		for k, row := range l.Clamped {
			// A layer whose channels are all pruned has none to clamp.
			if l.Channels > 0 {
				left, right := x(float64(i)+0.5), x(float64(i)+1.5)
				gap := min(vg.Points(0.5), (right-left)/8)
				fill(&c, s.scale.color(row.TestAccuracy), left+gap, y(float64(k)-0.5)+gap, right-gap, y(float64(k)+0.5)-gap)
			}
		}
	}
	for _, stage := range s.stages[1:] {
		border := x(float64(stage.first) + 0.5)
		c.StrokeLine2(draw.LineStyle{Color: color.Black, Width: vg.Points(0.8)}, border, c.Min.Y, border, c.Max.Y)
	}
}

// checkSensitivity returns an error if the report's sensitivity does not fit its layers.
func checkSensitivity(r *analysis.Report) error {
	s := r.Sensitivity
	if s == nil {
		return nil
	}
	isAccuracy := func(a float64) bool { return 0 <= a && a <= 1 }
	switch {
	case len(s.Layers) != len(r.Layers):
		return fmt.Errorf("the sensitivity has %d layers, but the report has %d", len(s.Layers), len(r.Layers))
	case !isAccuracy(s.Unclamped.TestAccuracy):
		return fmt.Errorf("the accuracy without clamped channels is %v; accuracies are from 0 to 1", s.Unclamped.TestAccuracy)
	}
	for k, share := range s.Shares {
		if !(0 <= share && share <= 1) || k > 0 && share <= s.Shares[k-1] {
			return fmt.Errorf("share %d of the sensitivity is %v; shares must be ascending, from 0 to 1", k+1, share)
		}
	}
	for i, l := range s.Layers {
		if len(l.Clamped) != len(s.Shares) {
			return fmt.Errorf("the sensitivity of layer %d (%s) has %d accuracies for %d shares", i+1, l.Name, len(l.Clamped), len(s.Shares))
		}
		for _, row := range l.Clamped {
			if !isAccuracy(row.TestAccuracy) {
				return fmt.Errorf("the sensitivity of layer %d (%s) has the accuracy %v; accuracies are from 0 to 1", i+1, l.Name, row.TestAccuracy)
			}
		}
	}
	return nil
}
