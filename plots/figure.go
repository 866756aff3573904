package plots

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"bnkit/checkpoint"
)

// Every picture is 1600×1000 pixels.
const (
	width, height = 8 * vg.Inch, 5 * vg.Inch
	dpi           = 200
)

// colors are Okabe and Ito's, which people with any colour vision can
// tell apart; yellow is left out, because it is faint on white.
var colors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermillion
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, // green
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // purple
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
	color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky blue
	color.RGBA{0x00, 0x00, 0x00, 0xff},
}

var (
	darkGrey  = color.Gray{0x50}
	grey      = color.Gray{0x90}
	lightGrey = color.Gray{0xdd}
)

// dashes tell lines apart where colour alone would have to.
var dashes = [][]vg.Length{
	nil,
	{vg.Points(5), vg.Points(2.5)},
	{vg.Points(1.5), vg.Points(2)},
	{vg.Points(7), vg.Points(2), vg.Points(1.5), vg.Points(2)},
}

// figure is a picture: panels below each other, all with the same width of
// axes, and below them a line of small print.
type figure struct {
	panels  []*plot.Plot
	caption string
}

// newPanel is a plot with axes, a grid of value lines and no data.
func newPanel(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(6)
	for style, size := range map[*draw.TextStyle]vg.Length{
		&p.Title.TextStyle: 11, &p.X.Label.TextStyle: 9.5, &p.Y.Label.TextStyle: 9.5,
		&p.X.Tick.Label: 8.5, &p.Y.Tick.Label: 8.5, &p.Legend.TextStyle: 8.5,
	} {
		style.Font = sans(size)
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{}, ticks{}
	p.Legend.Top = true
	p.Legend.ThumbnailWidth = vg.Points(24)
	p.Legend.Padding = vg.Points(2)
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = lightGrey
	p.Add(grid)
	return p
}

// roomForLegend raises the panel's upper end, so that a legend of that many
// entries stands above the data. The picture has that many panels.
func roomForLegend(p *plot.Plot, panels, entries int) {
	const entry, margins = 12.5, 62 // points
	share := min(entry*float64(entries)/(height.Points()/float64(panels)-margins), 0.6)
	if _, logarithmic := p.Y.Scale.(plot.LogScale); logarithmic {
		p.Y.Max = p.Y.Min * math.Pow(p.Y.Max/p.Y.Min, 1/(1-share))
		return
	}
	p.Y.Max = p.Y.Min + (p.Y.Max-p.Y.Min)/(1-share)
}

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// save writes the figure as a PNG file.
func (f *figure) save(path string) error {
	canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
	area := draw.Crop(draw.New(canvas), vg.Points(8), -vg.Points(14), vg.Points(8), -vg.Points(8))
	if f.caption != "" {
		small := plot.New().X.Label.TextStyle
		small.Font, small.Color = sans(8.5), darkGrey
		small.XAlign, small.YAlign = draw.XLeft, draw.YBottom
		area.FillText(small, vg.Point{X: area.Min.X, Y: area.Min.Y}, f.caption)
		area = draw.Crop(area, 0, 0, vg.Points(16), 0)
	}
	rows := make([][]*plot.Plot, len(f.panels))
	for i, p := range f.panels {
		rows[i] = []*plot.Plot{p}
	}
	tiles := draw.Tiles{Rows: len(rows), Cols: 1, PadY: vg.Points(10)}
	for i, row := range plot.Align(rows, tiles, area) {
		f.panels[i].Draw(row[0])
	}
	var b bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&b); err != nil {
		return err
	}
	return checkpoint.WriteFileAtomic(path, b.Bytes())
}

// series is a line through points; a NaN is a gap.
type series struct {
	x, y    []float64
	color   color.Color
	dashes  []vg.Length
	markers bool
	name    string // in the legend; "" for none
}

// add draws the series into p.
func (s series) add(p *plot.Plot) {
	style := draw.LineStyle{Color: s.color, Width: vg.Points(1.6), Dashes: s.dashes}
	glyph := draw.GlyphStyle{Color: s.color, Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}
	var piece plotter.XYs
	var drawn []plot.Thumbnailer
	flush := func() {
		if len(piece) == 0 {
			return
		}
		// The points are finite and not empty, which is all that can fail.
		if line, err := plotter.NewLine(piece); err == nil && len(piece) > 1 {
			line.LineStyle = style
			p.Add(line)
			if len(drawn) == 0 {
				drawn = append(drawn, line)
			}
		}
		if points, err := plotter.NewScatter(piece); err == nil && (s.markers || len(piece) == 1) {
			points.GlyphStyle = glyph
			p.Add(points)
			if len(drawn) == 0 {
				drawn = append(drawn, points)
			}
		}
		piece = nil
	}
	for i := range s.x {
		if !finite(s.x[i]) || !finite(s.y[i]) {
			flush()
			continue
		}
		piece = append(piece, plotter.XY{X: s.x[i], Y: s.y[i]})
	}
	flush()
	if s.name != "" && len(drawn) > 0 {
		p.Legend.Add(s.name, drawn...)
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// horizontal draws a line across the panel at y, behind nothing and with no
// say in the axes' range.
type horizontal struct {
	y     float64
	style draw.LineStyle
}

func (h horizontal) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	if h.y >= p.Y.Min && h.y <= p.Y.Max {
		c.StrokeLine2(h.style, c.Min.X, y(h.y), c.Max.X, y(h.y))
	}
}

// vertical is horizontal's counterpart.
type vertical struct {
	x     float64
	style draw.LineStyle
}

func (v vertical) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	if v.x >= p.X.Min && v.x <= p.X.Max {
		c.StrokeLine2(v.style, x(v.x), c.Min.Y, x(v.x), c.Max.Y)
	}
}

// reference is how lines are drawn that are no data.
var reference = draw.LineStyle{Color: grey, Width: vg.Points(0.9), Dashes: dashes[1]}

// ticks label an axis at about six round numbers.
type ticks struct {
	percent bool // the axis is a share, shown in percent
	whole   bool // only whole numbers make sense
}

// Ticks implements plot.Ticker.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	unit, suffix := 1.0, ""
	if t.percent {
		unit, suffix = 100, "%"
		high = min(high, 1) // above it is room for the legend alone
	}
	const most = 7
	step := roundUp((high - low) * unit / most)
	if t.whole {
		step = math.Max(step, 1)
	}
	var marks []plot.Tick
	for i := math.Ceil(low * unit / step); i*step <= high*unit*(1+1e-12); i++ {
		value := i*step + 0 // adding 0 turns -0 into 0
		// %.6g drops what binary fractions add to 3 × 0.1.
		marks = append(marks, plot.Tick{Value: value / unit, Label: fmt.Sprintf("%.6g%s", value, suffix)})
	}
	return marks
}

// roundUp is the least 1, 2 or 5 times a power of ten that is at least x.
func roundUp(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, step := range []float64{1, 2, 5} {
		if step*power >= x {
			return step * power
		}
	}
	return 10 * power
}
