package plots

import (
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
)

// gammaLayers draws the quantiles of γ of each layer, because layers of 16 channels have too few
// γ for histograms. The last layers of blocks have their own panel.
func gammaLayers(run Run) *figure {
	return quantileLayers(run, "γ", func(l *analysis.Layer) []float64 { return l.Gamma.Quantiles })
}

// betaLayers draws the quantiles of β like gammaLayers. It returns nil if a layer has none.
func betaLayers(run Run) *figure {
	if run.Report == nil {
		return nil
	}
	for i := range run.Report.Layers {
		if len(run.Report.Layers[i].Beta.Quantiles) != len(analysis.Levels) {
			return nil
		}
	}
	f := quantileLayers(run, "β", func(l *analysis.Layer) []float64 { return l.Beta.Quantiles })
	if f != nil {
		f.note = sharesText("β", run.Report.NearZero, run.Report.Total.BetaNearZero)
	}
	return f
}

// quantileLayers draws the quantiles of γ or of β, which values returns for a layer.
func quantileLayers(run Run, symbol string, values func(*analysis.Layer) []float64) *figure {
	runs := []Run{run}
	d, ok := depthOf(runs, func(*analysis.Report) bool { return true })
	if !ok {
		return nil
	}
	f := &figure{title: title("Where "+symbol+" ends up, layer by layer", runs), scope: network(runs), note: nearZeroText(run.Report)}
	var all []quantiles
	for kind := range roleNames {
		q := quantiles{run.Report, values, d, role(kind), colors[0].(color.RGBA)}
		if q.role == shortcut {
			q.color = colors[green].(color.RGBA)
		}
		if q.hasData() {
			all = append(all, q)
		}
	}
	inBlocks := len(all) > 1
	first := all[0]
	f.legend = []entry{
		{name: "median", mark: mark{color: color.Black}}, {name: "25% to 75% of the layer's " + symbol, patch: first.shade(halfShade)},
		{name: "5% to 95%", patch: first.shade(mostShade)}, {name: "smallest to largest", mark: mark{color: first.color, width: whisker}},
	}
	for _, q := range all {
		if q.role == shortcut && len(f.panels) > 0 {
			f.panels[len(f.panels)-1].Add(q)
			f.legend = append(f.legend, entry{name: roleNames[shortcut], patch: q.shade(halfShade)})
			continue
		}
		name := symbol
		if inBlocks {
			name += ", " + roleNames[q.role]
		}
		p := newPanel("", name)
		d.axis(p, 1, len(f.panels) == 0)
		p.Add(zeroLine, q)
		f.panels = append(f.panels, panel{p, 1})
	}
	sameY(f.panels)
	f.panels[len(f.panels)-1].X.Label.Text = d.label()
	return f
}

// zeroLine is the line of γ = 0 or β = 0.
var zeroLine = horizontal{y: 0, style: draw.LineStyle{Color: darkGrey, Width: vg.Points(0.8)}}

// nearZeroText returns a sentence with the shares of all γ that are near zero.
func nearZeroText(r *analysis.Report) string {
	return sharesText("γ", r.NearZero, r.Total.NearZero)
}

// sharesText returns a sentence with the shares of all γ or all β below the thresholds, or "" if
// there are none.
func sharesText(symbol string, thresholds, shares []float64) string {
	var parts []string
	for i := range min(len(thresholds), len(shares)) {
		if finite(shares[i]) {
			parts = append(parts, fmt.Sprintf("%.1f%% below %g", 100*shares[i], thresholds[i]))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "|" + symbol + "| over all layers: " + strings.Join(parts, ", ") + "."
}

// quantiles is a plotter of the quantiles of γ or β, with a column for each layer of a role.
type quantiles struct {
	r      *analysis.Report
	values func(*analysis.Layer) []float64 // returns the quantiles of a layer
	d      depth
	role   role
	color  color.RGBA
}

// Shades of the middle half and the middle 90% of the values of a layer, and the width of the line
// from the smallest to the largest.
const (
	halfShade, mostShade = 0.7, 0.25
	whisker              = 0.8 // points
)

func (q quantiles) shade(share float64) color.Color {
	return mix(color.RGBA{0xff, 0xff, 0xff, 0xff}, q.color, share)
}

// hasData reports whether there is a layer of the role.
func (q quantiles) hasData() bool {
	for i := range q.r.Layers {
		if roleOf(&q.r.Layers[i]) == q.role {
			return true
		}
	}
	return false
}

// Plot implements plot.Plotter.
func (q quantiles) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i := range q.r.Layers {
		l := &q.r.Layers[i]
		if roleOf(l) != q.role || q.values(l) == nil {
			continue
		}
		position, values := q.d.position(q.r, i), q.values(l)
		if slices.ContainsFunc(values, func(v float64) bool { return !finite(v) }) {
			continue
		}
		left, right := x(position-0.4), x(position+0.4)
		end := len(values) - 1
		c.StrokeLine2(draw.LineStyle{Color: q.color, Width: vg.Points(whisker)}, x(position), y(values[0]), x(position), y(values[end]))
		fill(&c, q.shade(mostShade), left, y(values[1]), right, y(values[end-1]))
		fill(&c, q.shade(halfShade), left, y(values[2]), right, y(values[end-2]))
		median := y(values[len(values)/2])
		c.StrokeLine2(draw.LineStyle{Color: color.Black, Width: vg.Points(1.6)}, left, median, right, median)
	}
}

// DataRange implements plot.DataRanger.
func (q quantiles) DataRange() (xmin, xmax, ymin, ymax float64) {
	var s series
	for i := range q.r.Layers {
		if l := &q.r.Layers[i]; roleOf(l) == q.role && q.values(l) != nil {
			position, values := q.d.position(q.r, i), q.values(l)
			s.x, s.y = append(s.x, position, position), append(s.y, values[0], values[len(values)-1])
		}
	}
	return s.DataRange()
}

// maxBins is about the largest number of bars in a histogram of γ.
const maxBins = 32

// gammaHistogram draws the histogram of all γ, and beside it the histogram of each stage.
func gammaHistogram(run Run) *figure {
	r := run.Report
	if r == nil || len(r.Layers) == 0 || len(r.GammaEdges) < 2 {
		return nil
	}
	runs := []Run{run}
	f := &figure{
		title: title("Distribution of γ over the whole network and along its depth", runs),
		scope: network(runs), note: nearZeroText(r) + " Stages are named by the height × width of their layers' outputs.",
	}
	stages := stagesOf(r)
	if len(stages) == 1 {
		stages = nil
		f.note = nearZeroText(r)
	}
	parts := append([]stage{{end: len(r.Layers)}}, stages...)
	f.columns = 1
	if len(parts) > 1 {
		f.columns = 2
	}
	if len(parts) > 4 {
		f.columns = 3
	}
	for i, s := range parts {
		h := histogram{edges: r.GammaEdges, counts: make([]int, len(r.GammaEdges)-1), color: colors[0]}
		name := "all layers"
		if i > 0 {
			h.color = colors[vermillion]
			name = s.size() + ", " + blockOf(&r.Layers[s.first])
			if end := blockOf(&r.Layers[s.end-1]); end != blockOf(&r.Layers[s.first]) {
				name += " to " + end
			}
		}
		for _, l := range r.Layers[s.first:s.end] {
			for bin, n := range l.Gamma.Histogram {
				h.counts[bin] += n
			}
		}
		h = h.coarser(maxBins)
		y := ""
		if i%f.columns == 0 {
			y = "share of the γ"
		}
		p := newPanel("", y)
		p.Title.Text, p.Title.TextStyle.Font = fmt.Sprintf("%s: %d γ", name, h.total()), sans(9.5)
		p.Add(h)
		p.X.Min, p.X.Max = r.GammaEdges[0], r.GammaEdges[len(r.GammaEdges)-1]
		if i >= len(parts)-f.columns {
			p.X.Label.Text = "γ"
		}
		f.panels = append(f.panels, panel{p, 1})
	}
	sameY(f.panels)
	for _, p := range f.panels {
		shareAxis(p.Plot, 5)
	}
	return f
}

// histogram is a plotter of bars that show shares of all counts.
type histogram struct {
	edges  []float64
	counts []int // of the bins between edges
	color  color.Color
}

// coarser joins neighbouring bins so that about limit bins are left. It does not join bins on
// different sides of zero.
func (h histogram) coarser(limit int) histogram {
	join := (len(h.counts) + limit - 1) / limit
	zeroEdge := 0 // index of the edge at 0
	for zeroEdge < len(h.edges)-1 && h.edges[zeroEdge] < 0 {
		zeroEdge++
	}
	c := histogram{edges: h.edges[:1:1], color: h.color}
	for bin, n := range h.counts {
		if bin == 0 || (bin-zeroEdge)%join == 0 {
			c.counts, c.edges = append(c.counts, 0), append(c.edges, 0)
		}
		c.counts[len(c.counts)-1] += n
		c.edges[len(c.edges)-1] = h.edges[bin+1]
	}
	return c
}

func (h histogram) total() int {
	total := 0
	for _, n := range h.counts {
		total += n
	}
	return total
}

// Plot implements plot.Plotter.
func (h histogram) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	total := float64(max(h.total(), 1))
	for bin, n := range h.counts {
		left, right := x(h.edges[bin]), x(h.edges[bin+1])
		gap := min(vg.Points(0.5), (right-left)/8)
		if n > 0 {
			fill(&c, h.color, left+gap, y(0), right-gap, y(float64(n)/total))
		}
	}
	c.StrokeLine2(zeroLine.style, x(0), c.Min.Y, x(0), c.Max.Y)
}

// DataRange implements plot.DataRanger.
func (h histogram) DataRange() (xmin, xmax, ymin, ymax float64) {
	total := float64(max(h.total(), 1))
	for _, n := range h.counts {
		ymax = max(ymax, float64(n)/total)
	}
	return h.edges[0], h.edges[len(h.edges)-1], 0, ymax
}
