package plots

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/palette"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
)

// layerAxis is the label of every axis of depth.
const layerAxis = "BatchNorm layer, input to output"

// byLayer is a series over a report's layers; value may return NaN for a gap.
func byLayer(r *analysis.Report, value func(*analysis.Layer) float64) (x, y []float64) {
	for i := range r.Layers {
		x = append(x, float64(i+1))
		y = append(y, value(&r.Layers[i]))
	}
	return x, y
}

// over is what a number was taken over, for a title.
func over(s *analysis.Scope) string {
	batches := ""
	if s.Split == "train" {
		batches = fmt.Sprintf("%d batches, ", s.Batches)
	}
	return fmt.Sprintf("%s%d pictures of the %s split, %s statistics", batches, s.Examples, s.Split, s.Statistics)
}

// subject is a title's end: the run's name, if there is only one.
func subject(runs []Run) string {
	if len(runs) == 1 {
		return " · " + runs[0].Name
	}
	return ""
}

// style is how run i of several is drawn.
func style(i int) (color.Color, []vg.Length) {
	return colors[i%len(colors)], dashes[i/len(colors)%len(dashes)]
}

// legendName is a run's name in the legend; a single run needs none.
func legendName(runs []Run, i int) string {
	if len(runs) == 1 {
		return ""
	}
	return runs[i].Name
}

// nearZero draws the share of small γ by depth.
func nearZero(runs []Run) *figure {
	var p *plot.Plot
	for i, run := range runs {
		r := run.Report
		if r == nil {
			continue
		}
		at := headline(r)
		if p == nil {
			p = newPanel(fmt.Sprintf("Share of γ near zero, |γ| < %g%s", r.NearZero[at], subject(runs)), layerAxis, "share of the layer's γ")
			p.Y.Min, p.Y.Max = 0, 0.05
			p.Y.Tick.Marker = ticks{percent: true}
			p.X.Tick.Marker = ticks{whole: true}
		}
		c, d := style(i)
		x, y := byLayer(r, func(l *analysis.Layer) float64 { return l.NearZero[at] })
		p.Add(horizontal{r.Total.NearZero[at], draw.LineStyle{Color: c, Width: vg.Points(0.9), Dashes: dashes[1]}})
		name := fmt.Sprintf("%.1f%% of all γ", 100*r.Total.NearZero[at])
		if len(runs) > 1 {
			name = run.Name + ": " + name
		}
		series{x: x, y: y, color: c, dashes: d, markers: len(x) <= 40, name: name}.add(p)
	}
	if p == nil {
		return nil
	}
	roomForLegend(p, 1, len(runs))
	return &figure{[]*plot.Plot{p}, "A dashed line is the share over all layers."}
}

// headline is the index of the threshold 0.01, or else of the middle one.
func headline(r *analysis.Report) int {
	for i, t := range r.NearZero {
		if t == 0.01 {
			return i
		}
	}
	return len(r.NearZero) / 2
}

// sparsity draws the share of zero activations and of dead channels by depth.
func sparsity(runs []Run) *figure {
	var zero, off *plot.Plot
	var caption string
	for i, run := range runs {
		r := run.Report
		if r == nil || r.Sparsity == nil {
			continue
		}
		if zero == nil {
			zero = newPanel(fmt.Sprintf("Activation sparsity%s", subject(runs)), "", "zero ReLU outputs")
			off = newPanel("", layerAxis, "channels > 99% zero")
			caption = "Over " + over(r.Sparsity) + ". Shortcuts have no ReLU: they are gaps."
			for _, p := range []*plot.Plot{zero, off} {
				p.Y.Min, p.Y.Max = 0, 0.05
				p.Y.Tick.Marker = ticks{percent: true}
				p.X.Tick.Marker = ticks{whole: true}
			}
		}
		c, d := style(i)
		part := func(of func(*analysis.Sparsity) float64) (x, y []float64) {
			return byLayer(r, func(l *analysis.Layer) float64 {
				if l.Sparsity == nil {
					return math.NaN()
				}
				return of(l.Sparsity)
			})
		}
		x, y := part(func(s *analysis.Sparsity) float64 { return s.Zero })
		series{x: x, y: y, color: c, dashes: d, markers: len(x) <= 40, name: legendName(runs, i)}.add(zero)
		x, y = part(func(s *analysis.Sparsity) float64 { return float64(s.MostlyOff) / float64(s.Channels) })
		series{x: x, y: y, color: c, dashes: d, markers: len(x) <= 40}.add(off)
	}
	if zero == nil {
		return nil
	}
	if len(runs) > 1 {
		roomForLegend(zero, 2, len(runs))
	}
	sameX(zero, off)
	return &figure{[]*plot.Plot{zero, off}, caption}
}

// sameX gives panels below each other the same horizontal range.
func sameX(panels ...*plot.Plot) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range panels {
		low, high = min(low, p.X.Min), max(high, p.X.Max)
	}
	for _, p := range panels {
		p.X.Min, p.X.Max = low, high
	}
}

// gradients draws the mean absolute gradient of each kind by depth.
func gradients(runs []Run) *figure {
	kinds := []struct {
		name string
		of   func(*analysis.Magnitude) float64
	}{
		{"γ", func(m *analysis.Magnitude) float64 { return m.Gamma }},
		{"β", func(m *analysis.Magnitude) float64 { return m.Beta }},
		{"convolution weights", func(m *analysis.Magnitude) float64 { return m.Convolution }},
	}
	var p *plot.Plot
	var caption string
	for i, run := range runs {
		r := run.Report
		if r == nil || r.Gradients == nil {
			continue
		}
		if p == nil {
			p = newPanel("Mean |gradient| by kind of parameter"+subject(runs), layerAxis, "mean |∂loss/∂parameter|")
			caption = "Over " + over(r.Gradients) + ". Gradients of frozen convolutions are computed too."
			p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
			p.X.Tick.Marker = ticks{whole: true}
		}
		for k, kind := range kinds {
			x, y := byLayer(r, func(l *analysis.Layer) float64 {
				// A logarithmic axis has no place for a gradient of exactly zero.
				if l.Gradient == nil || kind.of(l.Gradient) <= 0 {
					return math.NaN()
				}
				return kind.of(l.Gradient)
			})
			name := kind.name
			if len(runs) > 1 {
				name = run.Name + ": " + name
			}
			series{x: x, y: y, color: colors[k], dashes: dashes[i%len(dashes)], markers: len(x) <= 40, name: name}.add(p)
		}
	}
	if p == nil || p.Y.Min > p.Y.Max {
		return nil
	}
	// Whole decades.
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
	roomForLegend(p, 1, len(kinds)*len(runs))
	return &figure{[]*plot.Plot{p}, caption}
}

// histogramGrid is a report's γ histograms as a field over layer and γ: the
// share of the layer's γ in the bin.
type histogramGrid struct{ r *analysis.Report }

func (g histogramGrid) Dims() (columns, rows int) { return len(g.r.Layers), len(g.r.GammaEdges) - 1 }
func (g histogramGrid) X(c int) float64           { return float64(c + 1) }
func (g histogramGrid) Y(r int) float64           { return (g.r.GammaEdges[r] + g.r.GammaEdges[r+1]) / 2 }
func (g histogramGrid) Z(c, r int) float64 {
	return float64(g.r.Layers[c].Gamma.Histogram[r]) / float64(g.r.Layers[c].Channels)
}

// darkest is the share of a layer's γ in one bin from which on the histogram
// is at its darkest.
const darkest = 0.3

// shades go from white to dark blue.
type shades []color.Color

func (s shades) Colors() []color.Color { return s }

func blues() palette.Palette {
	var s shades
	stops := []color.RGBA{{0xff, 0xff, 0xff, 0xff}, {0x9e, 0xca, 0xe9, 0xff}, {0x00, 0x72, 0xb2, 0xff}, {0x00, 0x1f, 0x3f, 0xff}}
	const steps = 64
	for i := range steps {
		// The root makes single channels visible beside crowded bins.
		at := math.Sqrt(float64(i)/(steps-1)) * float64(len(stops)-1)
		k := min(int(at), len(stops)-2)
		f := at - float64(k)
		mix := func(a, b uint8) uint8 { return uint8(float64(a)*(1-f) + float64(b)*f + 0.5) }
		a, b := stops[k], stops[k+1]
		s = append(s, color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff})
	}
	return s
}

// gammaHistogram draws every layer's histogram of γ as a column of shades.
func gammaHistogram(run Run) *figure {
	r := run.Report
	p := newPanel(fmt.Sprintf("Where γ ends up, layer by layer: %.1f%% of all γ within ±%g · %s",
		100*r.Total.NearZero[headline(r)], r.NearZero[headline(r)], run.Name), layerAxis, "γ")
	heat := plotter.NewHeatMap(histogramGrid{r}, blues())
	heat.Min, heat.Max = 0, darkest
	heat.Overflow = heat.Palette.Colors()[len(heat.Palette.Colors())-1]
	p.Add(heat)
	p.Add(horizontal{0, draw.LineStyle{Color: colors[1], Width: vg.Points(0.7)}})
	x, y := byLayer(r, func(l *analysis.Layer) float64 { return l.Gamma.Quantiles[len(analysis.Levels)/2] })
	median := series{x: x, y: y, color: colors[4], name: "median of the layer", markers: len(x) <= 40}
	median.add(p)
	for _, level := range []float64{darkest, darkest / 4, darkest / 16} {
		name := fmt.Sprintf("%.2g%% of the layer's γ in a bin of %.2g", 100*level, r.GammaEdges[1]-r.GammaEdges[0])
		if level == darkest {
			name = "at least " + name
		}
		all := heat.Palette.Colors()
		p.Legend.Add(name, swatch{all[min(int(level/darkest*float64(len(all))), len(all)-1)]})
	}
	p.X.Min, p.X.Max = 0.5, float64(len(r.Layers))+0.5
	p.X.Tick.Marker = ticks{whole: true}
	roomForLegend(p, 1, 4)
	return &figure{[]*plot.Plot{p}, "Each column is a layer's histogram. The vermillion line is γ = 0: what is dark beside it could be clamped."}
}

// swatch is a patch of colour in a legend.
type swatch struct{ c color.Color }

func (s swatch) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(s.c, c.ClipPolygonXY([]vg.Point{
		{X: c.Min.X, Y: c.Min.Y}, {X: c.Min.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Min.Y}}))
}
