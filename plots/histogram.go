package plots

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
)

// gammaHistogram draws the histogram of γ of each layer as a column of shades, and below it the
// share of the layer's γ that are small.
func gammaHistogram(run Run) *figure {
	r := run.Report
	if r == nil || len(r.Layers) == 0 || len(r.GammaEdges) < 2 {
		return nil
	}
	f := &figure{title: title("Where γ ends up, layer by layer", []Run{run}), scope: network([]Run{run})}
	d := depth{layers: len(r.Layers)}
	p := newPanel("", "value of γ")
	p.Add(histogram{r}, horizontal{y: 0, style: draw.LineStyle{Color: colors[vermillion], Width: vg.Points(0.8)}})
	p.Add(medians{d.series(r, mark{}, func(l *analysis.Layer) float64 { return l.Gamma.Quantiles[len(analysis.Levels)/2] })})
	p.Y.Min, p.Y.Max = r.GammaEdges[0], r.GammaEdges[len(r.GammaEdges)-1]
	d.axis(p)
	f.panels = append(f.panels, panel{p, 3})
	bin := fmt.Sprintf("in a bin of %.2g", r.GammaEdges[1]-r.GammaEdges[0])
	for _, share := range []float64{darkest / 16, darkest / 4, darkest} {
		name := fmt.Sprintf("%.2g%%", 100*share)
		if share == darkest {
			name = fmt.Sprintf("≥ %s of the layer's γ %s", name, bin)
		}
		f.legend = append(f.legend, entry{name: name, patch: shade(share)})
	}
	f.legend = append(f.legend, entry{name: "median", mark: mark{color: color.Black}})
	if len(r.NearZero) == 0 {
		p.X.Label.Text = d.label()
		return f
	}
	small := newPanel(d.label(), "share of γ")
	at := headline(r)
	// The next threshold, ten times as high by default, shows which γ are nearly
	// small.
	next := min(at+1, len(r.NearZero)-1)
	for i := next; i >= at; i-- {
		b := bars{color: colors[orange]}
		if i == at {
			b.color = colors[vermillion]
		}
		for l := range r.Layers {
			b.values = append(b.values, r.Layers[l].NearZero[i])
		}
		small.Add(b)
		name := fmt.Sprintf("|γ| < %g", r.NearZero[i])
		if t := totalNearZero(r, i); finite(t) {
			name += fmt.Sprintf(": %.1f%% of all", 100*t)
		}
		f.legend = append(f.legend, entry{name: name, patch: b.color, row: i == next})
	}
	shareAxis(small, 3)
	d.axis(small)
	f.panels = append(f.panels, panel{small, 1.25})
	f.note = "Above, each column is a layer's histogram; the red line is γ = 0. Below, the share of the layer's γ that are small and could be clamped."
	return f
}

// histogram is a plotter of a report's γ histograms, with a column of shades for each layer.
// Empty bins are not drawn.
type histogram struct{ r *analysis.Report }

func (h histogram) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i := range h.r.Layers {
		bins := h.r.Layers[i].Gamma.Histogram
		all := 0
		for _, n := range bins {
			all += n
		}
		left, right := x(float64(i)+0.5), x(float64(i)+1.5)
		for b, n := range bins {
			if n > 0 {
				fill(&c, shade(float64(n)/float64(all)), left, y(h.r.GammaEdges[b]), right, y(h.r.GammaEdges[b+1]))
			}
		}
	}
}

// darkest is the share of a layer's γ in one bin from which on the shade is the darkest.
const darkest = 0.3

// shade returns the colour of a share of a layer's γ, from nearly white to dark blue.
func shade(share float64) color.Color {
	stops := []color.RGBA{{0xff, 0xff, 0xff, 0xff}, {0x9e, 0xca, 0xe9, 0xff}, {0x00, 0x72, 0xb2, 0xff}, {0x00, 0x1f, 0x3f, 0xff}}
	// The square root makes bins of one channel visible next to full bins.
	at := math.Sqrt(min(share/darkest, 1)) * float64(len(stops)-1)
	k := min(int(at), len(stops)-2)
	f := at - float64(k)
	mix := func(a, b uint8) uint8 { return uint8(float64(a)*(1-f) + float64(b)*f + 0.5) }
	a, b := stops[k], stops[k+1]
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}

// medians is a plotter of a short line at the median in each layer's column.
type medians struct{ series }

func (m medians) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i := range m.x {
		if finite(m.y[i]) {
			c.StrokeLine2(draw.LineStyle{Color: color.Black, Width: vg.Points(1.4)}, x(m.x[i]-0.5), y(m.y[i]), x(m.x[i]+0.5), y(m.y[i]))
		}
	}
}
