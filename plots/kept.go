package plots

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
	"bnkit/prune"
)

// DrawKept draws the channels that each layer of a pruned network keeps, as a file at path,
// whose extension is the format. name is the name of the network, for the title.
func DrawKept(path, name string, r *prune.Result) error {
	return kept(name, r).saveAs(path)
}

// kept draws a bar for each layer, as high as its number of channels before pruning. From bottom
// to top, it shows the channels that are kept, those that are clamped but not removed, and those
// that are removed.
func kept(name string, r *prune.Result) *figure {
	report := &analysis.Report{}
	for _, l := range r.Layers {
		report.Layers = append(report.Layers, analysis.Layer{Name: l.Name, Height: l.Height, Width: l.Width})
	}
	runs := []Run{{Name: name, Report: report}}
	d, _ := depthOf(runs, func(*analysis.Report) bool { return true })
	b := keptBars(r.Layers)
	f := &figure{
		title: title("Channels that each layer keeps after pruning", runs),
		scope: fmt.Sprintf("%d of %d channels are clamped, and %d of these removed; %.1f%% of the multiply-adds and %.1f%% of the parameters stay",
			r.Clamped, r.Channels, r.Removed, 100*float64(r.MACsAfter)/float64(r.MACsBefore), 100*float64(r.ParametersAfter)/float64(r.ParametersBefore)),
		legend: []entry{{name: "kept", patch: keptColor}, {name: "clamped and removed", patch: removedColor}},
	}
	if r.Clamped > r.Removed {
		f.legend = slices.Insert(f.legend, 1, entry{name: "clamped, not removed", patch: clampedColor})
		f.note = "A clamped channel of a residual stream is removed only if all branches that are added to it are clamped there."
	}
	p := newPanel(d.label(), "channels")
	d.axis(p, 1, true)
	p.Add(b)
	p.Y.Min, p.Y.Tick.Marker = 0, ticks{whole: true}
	f.panels = []panel{{p, 1}}
	return f
}

var keptColor, clampedColor, removedColor = colors[0], colors[orange], lightGrey

// keptBars is a plotter of a bar for each layer.
type keptBars []prune.Layer

// Plot implements plot.Plotter.
func (b keptBars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, l := range b {
		left, right := x(float64(i)+0.5), x(float64(i)+1.5)
		gap := min(vg.Points(2), (right-left)/6)
		unclamped, remaining := float64(l.Channels-l.Clamped), float64(l.Channels-l.Removed)
		fill(&c, keptColor, left+gap, y(0), right-gap, y(unclamped))
		if l.Clamped > l.Removed {
			fill(&c, clampedColor, left+gap, y(unclamped), right-gap, y(remaining))
		}
		if l.Removed > 0 {
			fill(&c, removedColor, left+gap, y(remaining), right-gap, y(float64(l.Channels)))
		}
	}
}

// DataRange implements plot.DataRanger.
func (b keptBars) DataRange() (xmin, xmax, ymin, ymax float64) {
	for _, l := range b {
		ymax = max(ymax, float64(l.Channels))
	}
	return 0.5, float64(len(b)) + 0.5, 0, ymax
}
