package plots

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// mark is the style of a series: a colour and, for readers who cannot distinguish colours, a
// shape and dashes.
type mark struct {
	color  color.Color
	shape  draw.GlyphDrawer // nil if points are not marked
	dashes []vg.Length
	width  vg.Length // of the line; 0 for the default

	unjoined bool // whether there is no line
}

var shapes = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.PlusGlyph{},
}

var dashes = [][]vg.Length{
	nil,
	{vg.Points(5), vg.Points(2.5)},
	{vg.Points(1.5), vg.Points(2)},
	{vg.Points(7), vg.Points(2), vg.Points(1.5), vg.Points(2)},
}

// markOf returns the style of series i. The first 28 styles differ.
func markOf(i int) mark {
	return mark{color: colors[i%len(colors)], shape: shapes[i%len(shapes)], dashes: dashes[i/len(colors)%len(dashes)]}
}

// thin returns m with a thin line, for data whose points matter more than the line.
func (m mark) thin() mark {
	m.width = vg.Points(0.7)
	return m
}

func (m mark) line() draw.LineStyle {
	w := m.width
	if w == 0 {
		w = vg.Points(1.6)
	}
	return draw.LineStyle{Color: m.color, Width: w, Dashes: m.dashes}
}

func (m mark) glyph(radius vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: m.color, Radius: radius, Shape: m.shape}
}

const markRadius vg.Length = 2.4 // points

// series is a plotter of a line through points, in order of x. The line has a gap at a NaN.
type series struct {
	x, y []float64
	mark mark
}

// hasData reports whether s has a point to draw.
func (s series) hasData() bool {
	low, _, _, _ := s.DataRange()
	return finite(low)
}

// Plot implements plot.Plotter.
func (s series) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	// Marks that are close together would hide the line. Where the points matter more than
	// the line, marks become smaller instead.
	radius, distance := markRadius, (c.Max.X-c.Min.X)/vg.Length(len(s.x))
	if s.mark.width > 0 {
		radius = min(markRadius, max(0.45*distance, 0.9))
	}
	crowded := s.mark.width == 0 && !s.mark.unjoined && distance < 3*markRadius
	var piece []vg.Point
	flush := func() {
		if len(piece) > 1 && !s.mark.unjoined {
			c.StrokeLines(s.mark.line(), piece)
		}
		glyph := s.mark.glyph(radius)
		if crowded && len(piece) > 1 {
			glyph.Shape = nil
		}
		if (glyph.Shape == nil || crowded) && len(piece) == 1 {
			glyph.Shape = draw.CircleGlyph{} // a lone point has no line
		}
		if glyph.Shape != nil {
			for _, point := range piece {
				c.DrawGlyphNoClip(glyph, point)
			}
		}
		piece = nil
	}
	for i := range s.x {
		if !finite(s.x[i]) || !finite(s.y[i]) {
			flush()
			continue
		}
		piece = append(piece, vg.Point{X: x(s.x[i]), Y: y(s.y[i])})
	}
	flush()
}

// DataRange implements plot.DataRanger.
func (s series) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for i := range s.x {
		if finite(s.x[i]) && finite(s.y[i]) {
			xmin, xmax = min(xmin, s.x[i]), max(xmax, s.x[i])
			ymin, ymax = min(ymin, s.y[i]), max(ymax, s.y[i])
		}
	}
	return xmin, xmax, ymin, ymax
}

// horizontal is a plotter of a line across the panel at y, with a label above its left end. It
// does not change the range of the axes.
type horizontal struct {
	y     float64
	style draw.LineStyle
	label string
}

// Plot implements plot.Plotter.
func (h horizontal) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	if h.y >= p.Y.Min && h.y <= p.Y.Max {
		c.StrokeLine2(h.style, c.Min.X, y(h.y), c.Max.X, y(h.y))
		style := textStyle(8, darkGrey)
		style.YAlign = draw.YBottom
		c.FillText(style, vg.Point{X: c.Min.X + vg.Points(4), Y: y(h.y) + vg.Points(3.5)}, h.label)
	}
}

// drops is a plotter of vertical lines at rising x, with labels at the bottom. It leaves out a
// label that would overlap the previous one or the edge of the panel.
type drops struct {
	x      []float64
	labels []string
}

// Plot implements plot.Plotter.
func (d drops) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	style := textStyle(8, darkGrey)
	taken := c.Min.X
	for i, label := range d.labels {
		lineX := x(d.x[i])
		if lineX < c.Min.X || lineX > c.Max.X {
			continue
		}
		c.StrokeLine2(reference(grey), lineX, c.Min.Y, lineX, c.Max.Y)
		left := lineX + vg.Points(2.5)
		right := left + style.Width(label)
		if left < taken || right > c.Max.X {
			continue
		}
		c.FillText(style, vg.Point{X: left, Y: c.Min.Y + vg.Points(10)}, label)
		taken = right
	}
}

// reference returns the style of a line that is not data.
func reference(c color.Color) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: vg.Points(0.9), Dashes: dashes[1]}
}
