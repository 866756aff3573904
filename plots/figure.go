package plots

import (
	"image/color"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"bnkit/checkpoint/durable"
)

// A picture is 1600×1000 pixels, or taller if its header would leave less than panelsHeight
// for all panels, or less than panelHeight for each row of panels.
const (
	width, height = 8 * vg.Inch, 5 * vg.Inch
	panelsHeight  = 3.2 * vg.Inch
	panelHeight   = 1.05 * vg.Inch
	dpi           = 200
)

// figure is a picture. It has a title, a line about the data behind its numbers, a legend,
// panels in rows, and a note. The legend is above the panels so that it never covers data.
type figure struct {
	title, scope string
	legend       []entry
	scale        *colorScale // nil if colours do not show numbers
	panels       []panel
	columns      int       // number of panels in a row; 0 for one
	panelHeight  vg.Length // least height of a row; 0 for the default
	note         string
}

// panel is a plot and its height, relative to the figure's other rows.
type panel struct {
	*plot.Plot
	share float64
}

// newPanel returns a plot with axes, a grid of horizontal lines and no data.
func newPanel(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, style := range []*draw.TextStyle{&p.X.Label.TextStyle, &p.Y.Label.TextStyle} {
		style.Font = sans(9.5)
	}
	for _, style := range []*draw.TextStyle{&p.X.Tick.Label, &p.Y.Tick.Label} {
		style.Font = sans(8.5)
	}
	p.Y.Label.Padding = vg.Points(3)
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{}, ticks{}
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = lightGrey
	p.Add(grid)
	return p
}

// sans returns the font of all text.
func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// textStyle returns a style for text whose position is its upper left corner.
func textStyle(size vg.Length, c color.Color) draw.TextStyle {
	style := plot.New().X.Label.TextStyle
	style.Font, style.Color = sans(size), c
	style.XAlign, style.YAlign = draw.XLeft, draw.YTop
	return style
}

// save writes the figure to a file of the given format.
func (f *figure) save(path string, format Format) error {
	b, err := f.encode(format)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, b)
}

// saveAs writes the figure to a file whose extension is the format. The error is a
// *FormatError for another extension.
func (f *figure) saveAs(path string) error {
	format, err := ParseFormat(strings.TrimPrefix(filepath.Ext(path), "."))
	if err != nil {
		return err
	}
	return f.save(path, format)
}

// encode returns the content of a file of the given format.
func (f *figure) encode(format Format) ([]byte, error) {
	area := newArea(vgimg.New(width, height))
	rows := (len(f.panels) + max(1, f.columns) - 1) / max(1, f.columns)
	needed := max(panelsHeight, max(panelHeight, f.panelHeight)*vg.Length(rows))
	extra := max(0, f.drawHeader(area)+needed-area.Size().Y)
	return format.render(width, height+extra, func(c vg.CanvasSizer) { f.draw(newArea(c)) })
}

// draw draws the whole figure into area.
func (f *figure) draw(area draw.Canvas) {
	area.Max.Y -= f.drawHeader(area)
	if small := textStyle(8.5, darkGrey); f.note != "" {
		lines := wrap(small, f.note, area.Max.X-area.Min.X)
		noteArea := area
		noteArea.Max.Y = noteArea.Min.Y + vg.Length(len(lines))*lineHeight(small)
		paragraph(noteArea, small, f.note)
		area.Min.Y = noteArea.Max.Y + vg.Points(4)
	}
	f.drawPanels(area)
}

// newArea returns the part of a canvas inside the margins.
func newArea(c vg.CanvasSizer) draw.Canvas {
	return draw.Crop(draw.New(c), vg.Points(10), -vg.Points(14), vg.Points(8), -vg.Points(8))
}

// drawHeader draws title, scope and legend at the top of area and returns their height.
func (f *figure) drawHeader(area draw.Canvas) vg.Length {
	top := area.Max.Y
	area.Max.Y -= paragraph(area, textStyle(12, color.Black), f.title)
	area.Max.Y -= paragraph(area, textStyle(8.5, darkGrey), f.scope)
	area.Max.Y -= drawLegend(area, f.legend) + drawScale(area, f.scale) + vg.Points(6)
	return top - area.Max.Y
}

// drawPanels divides area among the panels and aligns their axes. The data areas of panels in a
// column are equally wide, and those of panels in a row are equally high. A panel whose
// horizontal axis has no label shares the axis of the panel below it, and one whose vertical
// axis has no label shares that of the panel to its left. Shared axes have no numbers.
func (f *figure) drawPanels(area draw.Canvas) {
	const gap = 8 // points
	columns := max(1, f.columns)
	rows := (len(f.panels) + columns - 1) / columns
	free := area.Size().Sub(vg.Point{X: vg.Points(gap) * vg.Length(columns-1), Y: vg.Points(gap) * vg.Length(rows-1)})
	rough := area
	rough.Max.X = area.Min.X + free.X/vg.Length(columns)
	margins := make([]vg.Rectangle, len(f.panels)) // the space that axes take on each side
	left, right := make([]vg.Length, columns), make([]vg.Length, columns)
	bottom, top, share := make([]vg.Length, rows), make([]vg.Length, rows), make([]vg.Length, rows)
	for i, p := range f.panels {
		row, column := i/columns, i%columns
		if p.X.Label.Text == "" && i+columns < len(f.panels) {
			p.X.Tick.Marker = relabelled{p.X.Tick.Marker, ""}
		}
		if p.Y.Label.Text == "" && column > 0 {
			p.Y.Tick.Marker = relabelled{p.Y.Tick.Marker, " "}
		}
		data := p.DataCanvas(rough)
		margins[i].Min, margins[i].Max = data.Min.Sub(rough.Min), rough.Max.Sub(data.Max)
		left[column], right[column] = max(left[column], margins[i].Min.X), max(right[column], margins[i].Max.X)
		bottom[row], top[row] = max(bottom[row], margins[i].Min.Y), max(top[row], margins[i].Max.Y)
		share[row] = max(share[row], vg.Length(p.share))
	}
	free.X -= sum(left) + sum(right)
	free.Y -= sum(bottom) + sum(top)
	cell := area
	for row := range rows {
		cell.Min.X, cell.Min.Y = area.Min.X, cell.Max.Y-free.Y*share[row]/sum(share)-bottom[row]-top[row]
		for column := range columns {
			cell.Max.X = cell.Min.X + free.X/vg.Length(columns) + left[column] + right[column]
			if i := row*columns + column; i < len(f.panels) {
				f.panels[i].Draw(draw.Crop(cell, left[column]-margins[i].Min.X, margins[i].Max.X-right[column], bottom[row]-margins[i].Min.Y, margins[i].Max.Y-top[row]))
			}
			cell.Min.X = cell.Max.X + vg.Points(gap)
		}
		cell.Max.Y = cell.Min.Y - vg.Points(gap)
	}
}

// sum returns the sum of lengths.
func sum(lengths []vg.Length) (total vg.Length) {
	for _, l := range lengths {
		total += l
	}
	return total
}

// lineHeight returns the distance between lines of text.
func lineHeight(style draw.TextStyle) vg.Length { return style.Font.Size * 1.3 }

// wrap breaks text into lines of at most the given width. A word that is longer gets its own
// line.
func wrap(style draw.TextStyle, text string, width vg.Length) []string {
	var lines []string
	for part := range strings.Lines(text) {
		line := ""
		for _, word := range strings.Fields(part) {
			longer := strings.TrimSpace(line + " " + word)
			if line != "" && style.Width(longer) > width {
				lines = append(lines, line)
				longer = word
			}
			line = longer
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// paragraph writes text at the top of c and returns its height.
func paragraph(c draw.Canvas, style draw.TextStyle, text string) vg.Length {
	y := c.Max.Y
	for _, line := range wrap(style, text, c.Max.X-c.Min.X) {
		c.FillText(style, vg.Point{X: c.Min.X, Y: y}, line)
		y -= lineHeight(style)
	}
	return c.Max.Y - y
}

// entry is an entry of the legend: a sample and its meaning.
type entry struct {
	name  string
	mark  mark
	patch color.Color // if not nil, a patch of this colour is drawn instead of a mark
	row   bool        // whether the entry begins a new row
}

// drawLegend draws the entries in rows at the top of c and returns their height.
func drawLegend(c draw.Canvas, entries []entry) vg.Length {
	if len(entries) == 0 {
		return 0
	}
	const sample, gap, entryGap, row = 24, 4, 16, 13 // points
	style := textStyle(8.5, color.Black)
	style.YAlign = draw.YCenter
	x, y := c.Min.X, c.Max.Y-vg.Points(row)/2-vg.Points(2)
	for _, e := range entries {
		w := vg.Points(sample+gap) + style.Width(e.name)
		if x > c.Min.X && (e.row || x+w > c.Max.X) {
			x, y = c.Min.X, y-vg.Points(row)
		}
		end := x + vg.Points(sample)
		if e.patch != nil {
			fill(&c, e.patch, x, y-vg.Points(4), end, y+vg.Points(4))
		} else {
			c.StrokeLine2(e.mark.line(), x, y, end, y)
			if e.mark.shape != nil {
				c.DrawGlyph(e.mark.glyph(markRadius), vg.Point{X: (x + end) / 2, Y: y})
			}
		}
		// YCenter includes descenders, which most names do not have.
		c.FillText(style, vg.Point{X: end + vg.Points(gap), Y: y + vg.Points(1)}, e.name)
		x += w + vg.Points(entryGap)
	}
	return c.Max.Y - y + vg.Points(row)/2
}

// fill fills a rectangle with a colour.
func fill(c *draw.Canvas, fillColor color.Color, left, bottom, right, top vg.Length) {
	c.FillPolygon(fillColor, []vg.Point{{X: left, Y: bottom}, {X: left, Y: top}, {X: right, Y: top}, {X: right, Y: bottom}})
}
