package plots

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
)

// threshold draws accuracy against the threshold below which γ are clamped. For a single run, an
// axis above the panel shows the share of γ that each threshold clamps. The share differs between
// runs, so several runs have a second panel, which draws accuracy against the share.
func threshold(runs []Run) *figure {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Report == nil || len(r.Report.Sweep) < 2 })
	if len(runs) == 0 {
		return nil
	}
	f := &figure{
		title: title("Accuracy when small γ are clamped to zero", runs),
		scope: describeMeasurement(runs, func(r *analysis.Report) *analysis.Scope { return r.Accuracy }),
		note:  "Every γ with |γ| below the threshold is set to 0; its β is kept.",
	}
	if slices.ContainsFunc(runs, func(r Run) bool { return r.Report.Total.Pruned > 0 }) {
		f.note += " Shares do not count pruned channels."
	}
	byThreshold, byShare := newPanel("threshold for |γ|", "test accuracy"), newPanel("share of all γ clamped", "test accuracy")
	f.panels = []panel{{byThreshold, 1}}
	if len(runs) > 1 {
		f.panels = append(f.panels, panel{byShare, 1})
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, run := range runs {
		sweep, m := run.Report.Sweep, run.style()
		threshold, share := series{mark: m}, series{mark: m}
		for k, row := range sweep {
			share.x, share.y = append(share.x, row.Share), append(share.y, row.TestAccuracy)
			if k > 0 {
				threshold.x, threshold.y = append(threshold.x, math.Log10(row.Threshold)), append(threshold.y, row.TestAccuracy)
				low, high = min(low, row.Threshold), max(high, row.Threshold)
			}
		}
		unclamped := ""
		if a := sweep[0].TestAccuracy; finite(a) {
			unclamped = fmt.Sprintf("%.1f%% unclamped", 100*a)
			byThreshold.Y.Max = max(byThreshold.Y.Max, a)
			if len(runs) == 1 {
				byThreshold.Add(horizontal{a, reference(darkGrey), unclamped})
			}
		}
		byThreshold.Add(threshold)
		byShare.Add(share)
		if len(runs) > 1 {
			f.legend = append(f.legend, entry{name: run.Name + " (" + unclamped + ")", mark: m})
		}
	}
	logAxis(&byThreshold.X, low, high, 12)
	byShare.X.Min, byShare.X.Max, byShare.X.Tick.Marker = 0, 1, ticks{percent: true, maxSteps: 10}
	for _, p := range f.panels {
		shareAxis(p.Plot, 6)
		for _, classes := range classesOf(runs) {
			p.Add(horizontal{1 / float64(classes), reference(grey), fmt.Sprintf("chance: 1 of %d classes", classes)})
		}
	}
	if len(runs) == 1 {
		byThreshold.Add(shares(runs[0].Report.Sweep[1:]))
	}
	return f
}

// classesOf returns the numbers of classes of the runs, each once and in rising order.
func classesOf(runs []Run) []int {
	var all []int
	for _, r := range runs {
		if r.Report.Classes > 0 {
			all = append(all, r.Report.Classes)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// shares is a plotter of an axis above a panel of thresholds. It shows the share of γ that
// each threshold clamps, and leaves out labels that would overlap the previous label.
type shares []analysis.Sweep

// Sizes of the axis.
const (
	sharesTick   = 4  // points
	sharesHeight = 30 // points
)

// Plot implements plot.Plotter.
func (s shares) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	style := p.X.Tick.Label
	style.XAlign, style.YAlign = draw.XCenter, draw.YBottom
	y := c.Max.Y
	c.StrokeLine2(p.X.LineStyle, c.Min.X, y, c.Max.X, y)
	taken := vg.Length(math.Inf(-1))
	for _, row := range s {
		center := x(math.Log10(row.Threshold))
		c.StrokeLine2(p.X.Tick.LineStyle, center, y, center, y+vg.Points(sharesTick))
		format := "%.0f%%"
		if row.Share < 0.0995 {
			format = "%.1f%%"
		}
		label := fmt.Sprintf(format, 100*row.Share)
		half := style.Width(label)/2 + vg.Points(2)
		if center-half < taken {
			continue
		}
		c.FillText(style, vg.Point{X: center, Y: y + vg.Points(sharesTick+1)}, label)
		taken = center + half
	}
	name := p.X.Label.TextStyle
	name.XAlign, name.YAlign = draw.XCenter, draw.YTop
	c.FillText(name, vg.Point{X: c.Center().X, Y: y + vg.Points(sharesHeight)}, "share of all γ clamped")
}

// GlyphBoxes implements plot.GlyphBoxer. It reserves the space of the axis above the panel.
func (s shares) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	return []plot.GlyphBox{{X: 0.5, Y: 1, Rectangle: vg.Rectangle{Max: vg.Point{Y: vg.Points(sharesHeight)}}}}
}
