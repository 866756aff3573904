package plots

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
	"bnkit/engine/rundir"
)

// gradientLayers draws the mean absolute gradient of each layer over the epochs as a heat map,
// with a panel for each kind of parameter and one scale for all. The names and the order of the
// layers are those of the report.
func gradientLayers(run Run) *figure {
	if run.Report == nil || len(run.Report.Layers) == 0 || describeGradients(run.Epochs) == "" {
		return nil
	}
	r := run.Report
	f := &figure{
		title:   title("Mean gradient magnitude of each layer over the epochs", []Run{run}),
		scope:   describeGradients(run.Epochs),
		columns: 3,
		note:    "Layers from input (top) to output (bottom); lines separate stages.",
	}
	scale := &colorScale{low: math.Inf(1), high: math.Inf(-1), label: "mean |∂loss/∂parameter|", ticks: logTicks{8}}
	var maps []*heatMap
	for _, kind := range []struct {
		kind      rundir.GradientKind
		name      string
		layerName func(*analysis.Layer) string // returns the name of a layer in the metrics
	}{
		{"gamma", "γ", func(l *analysis.Layer) string { return l.Name }},
		{"beta", "β", func(l *analysis.Layer) string { return l.Name }},
		{"convolution", "convolution weights", func(l *analysis.Layer) string { return l.Convolution }},
	} {
		h := &heatMap{scale: scale, stages: stagesOf(r)}
		name := kind.name
		for _, e := range run.Epochs {
			column := make([]float64, len(r.Layers))
			for i := range r.Layers {
				column[i] = math.NaN()
				if e.Gradients == nil {
					continue
				}
				g := e.Gradients.Kinds[kind.kind]
				if g.Parameters > 0 && g.Trained == 0 {
					name = kind.name + " (frozen)"
				}
				// A logarithmic scale cannot show a gradient of exactly zero.
				if v := float64(g.Layers[kind.layerName(&r.Layers[i])]); v > 0 && finite(v) {
					column[i] = math.Log10(v)
					scale.low, scale.high = min(scale.low, column[i]), max(scale.high, column[i])
				}
			}
			h.epochs, h.values = append(h.epochs, e.Epoch), append(h.values, column)
		}
		p := newPanel("epoch", "")
		if len(maps) == 0 {
			p.Y.Label.Text = "layer"
		}
		p.Title.Text, p.Title.TextStyle.Font = name, sans(9.5)
		p.Add(h)
		p.X.Tick.Marker = ticks{whole: true, maxSteps: 5}
		p.Y.Min, p.Y.Max = -float64(len(r.Layers))-0.5, -0.5
		p.Y.Tick.Marker = downwards(blockTicks(r.Layers, 3.2*vg.Inch, func(string) vg.Length { return vg.Points(9) }))
		f.panels, maps = append(f.panels, panel{p, 1}), append(maps, h)
	}
	if scale.low > scale.high {
		return nil
	}
	if scale.low == scale.high {
		scale.low, scale.high = scale.low-0.5, scale.high+0.5
	}
	f.scale = scale
	return f
}

// downwards returns ticks with negated values, because a heat map has its first layer at the top.
func downwards(up plot.ConstantTicks) plot.ConstantTicks {
	down := make(plot.ConstantTicks, len(up))
	for i, t := range up {
		down[i] = plot.Tick{Value: -t.Value, Label: t.Label}
	}
	return down
}

// heatMap is a plotter of a value for each epoch and layer.
type heatMap struct {
	scale  *colorScale
	stages []stage
	epochs []int
	values [][]float64 // by epoch and layer; a NaN is not drawn
}

// Plot implements plot.Plotter.
func (h *heatMap) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	const overlap = 0.4 // points; without it cells would have visible edges
	for e, column := range h.values {
		left, right := x(float64(h.epochs[e])-0.5), min(x(float64(h.epochs[e])+0.5)+vg.Points(overlap), c.Max.X)
		for i, v := range column {
			if finite(v) {
				fill(&c, h.scale.color(v), left, max(y(-float64(i)-1.5)-vg.Points(overlap), c.Min.Y), right, y(-float64(i)-0.5))
			}
		}
	}
	for _, s := range h.stages[1:] {
		border := y(-float64(s.first) - 0.5)
		c.StrokeLine2(draw.LineStyle{Color: color.White, Width: vg.Points(1.5)}, c.Min.X, border, c.Max.X, border)
	}
}

// DataRange implements plot.DataRanger.
func (h *heatMap) DataRange() (xmin, xmax, ymin, ymax float64) {
	return float64(h.epochs[0]) - 0.5, float64(h.epochs[len(h.epochs)-1]) + 0.5, -float64(len(h.values[0])) - 0.5, -0.5
}

// colorScale is a scale of colours. A logarithmic one has exponents as values and logTicks.
type colorScale struct {
	low, high float64
	falling   bool // whether low values are dark instead of high ones
	label     string
	ticks     plot.Ticker
}

// color returns the colour of a value. The lightest colour is light blue because cells without
// a value are white.
func (s *colorScale) color(value float64) color.Color {
	level := (value - s.low) / (s.high - s.low)
	if s.falling {
		level = 1 - level
	}
	return shade(0.12 + 0.88*level)
}

// drawScale draws the scale as a bar at the top of c and returns its height.
func drawScale(c draw.Canvas, s *colorScale) vg.Length {
	if s == nil {
		return 0
	}
	const barHeight, barWidth, gap, totalHeight = 9, 260, 6, 26 // points
	style := textStyle(8.5, color.Black)
	style.YAlign = draw.YCenter
	top := c.Max.Y - vg.Points(4)
	middle := top - vg.Points(barHeight)/2
	c.FillText(style, vg.Point{X: c.Min.X, Y: middle + vg.Points(1)}, s.label)
	left := c.Min.X + style.Width(s.label) + vg.Points(gap)
	position := func(value float64) vg.Length {
		return left + vg.Points(barWidth)*vg.Length((value-s.low)/(s.high-s.low))
	}
	const steps = 130
	for i := range steps {
		start, end := s.low+(s.high-s.low)*float64(i)/steps, s.low+(s.high-s.low)*float64(i+1)/steps
		fill(&c, s.color((start+end)/2), position(start), top-vg.Points(barHeight), min(position(end)+vg.Points(0.4), position(s.high)), top)
	}
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	for _, tick := range s.ticks.Ticks(s.low, s.high) {
		x := position(tick.Value)
		c.StrokeLine2(draw.LineStyle{Color: color.Black, Width: vg.Points(0.5)}, x, top-vg.Points(barHeight), x, top-vg.Points(barHeight+3))
		c.FillText(style, vg.Point{X: x, Y: top - vg.Points(barHeight+4)}, tick.Label)
	}
	return vg.Points(totalHeight)
}
