package plots

import (
	"cmp"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// ending is the label of a line and the line's last point.
type ending struct {
	name  string
	x, y  float64
	color color.Color
}

// endingOf returns the label of s, or false if s has no finite points.
func endingOf(name string, s series) (e ending, ok bool) {
	for i := range s.x {
		if finite(s.x[i]) && finite(s.y[i]) {
			e, ok = ending{name, s.x[i], s.y[i], s.mark.color}, true
		}
	}
	return e, ok
}

// endings is a plotter of labels right of the panel, each joined to its line. Labels are moved
// apart where lines end close together.
type endings []ending

// Sizes of labels, in points.
const (
	endingText     = 8
	endingHeight   = 9.5 // smallest distance between the middles of labels
	endingJoin     = 10  // distance from the panel to the labels
	maxEndingWidth = 150 // if a label is wider, the legend has the names instead
)

// widest returns the width of the widest label.
func (e endings) widest() vg.Length {
	var w vg.Length
	for _, end := range e {
		w = max(w, textStyle(endingText, end.color).Width(end.name))
	}
	return w
}

// dots is the dash pattern of lines that join labels to curves.
var dots = []vg.Length{vg.Points(0.5), vg.Points(2.5)}

// labelHeights returns the heights at which the labels of points are drawn. points are ordered
// from top to bottom. Labels are at least distance apart, and lie between bottom and top if
// there is enough space.
func labelHeights(points []vg.Length, distance, bottom, top vg.Length) []vg.Length {
	heights := slices.Clone(points)
	for i := range heights {
		if i > 0 {
			heights[i] = min(heights[i], heights[i-1]-distance)
		} else {
			heights[i] = min(heights[i], top)
		}
	}
	for i := len(heights) - 1; i >= 0; i-- {
		if i == len(heights)-1 {
			heights[i] = max(heights[i], bottom)
		} else {
			heights[i] = max(heights[i], heights[i+1]+distance)
		}
	}
	return heights
}

// Plot implements plot.Plotter.
func (e endings) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	sorted := slices.SortedStableFunc(slices.Values(e), func(a, b ending) int { return cmp.Compare(b.y, a.y) })
	points := make([]vg.Length, len(sorted))
	for i, end := range sorted {
		points[i] = y(end.y)
	}
	for i, height := range labelHeights(points, vg.Points(endingHeight), c.Min.Y, c.Max.Y) {
		style := textStyle(endingText, sorted[i].color)
		style.YAlign = draw.YCenter
		line := draw.LineStyle{Color: sorted[i].color, Width: vg.Points(0.5), Dashes: dots}
		c.StrokeLines(line, []vg.Point{{X: x(sorted[i].x), Y: points[i]}, {X: c.Max.X, Y: points[i]}, {X: c.Max.X + vg.Points(endingJoin-2), Y: height}})
		c.FillText(style, vg.Point{X: c.Max.X + vg.Points(endingJoin), Y: height + vg.Points(0.5)}, sorted[i].name)
	}
}

// GlyphBoxes implements plot.GlyphBoxer. It reserves the space of the labels.
func (e endings) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	return []plot.GlyphBox{{X: 1, Y: 0.5, Rectangle: vg.Rectangle{Max: vg.Point{X: e.widest() + vg.Points(endingJoin)}}}}
}

// namedLine is the line of a run.
type namedLine struct {
	name, result string // the result follows the name at the line's end
	series
}

// label names the lines of a panel at their ends. If there are too many lines or too long names,
// it adds the names to the legend instead, once for all panels.
func (f *figure) label(p *plot.Plot, lines []namedLine) {
	var all endings
	for _, l := range lines {
		if e, ok := endingOf(l.name+l.result, l.series); ok {
			all = append(all, e)
		}
	}
	const maxEndings = 24
	if len(all) > maxEndings || all.widest() > vg.Points(maxEndingWidth) {
		for _, l := range lines {
			if !slices.ContainsFunc(f.legend, func(e entry) bool { return e.name == l.name }) {
				f.legend = append(f.legend, entry{name: l.name, mark: l.mark})
			}
		}
		return
	}
	p.Add(all)
	f.panelHeight = max(f.panelHeight, vg.Points(endingHeight*float64(len(all))+28))
}
