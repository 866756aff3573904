package plots

import (
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
)

// role is the role of a layer in a residual block. Roles behave differently, so a line joins
// only layers of one role.
type role int

const (
	inner    role = iota // any other layer, such as the stem
	last                 // the residual of a block is added to its output
	shortcut             // its output is the residual of a block
)

// roleNames holds the names of roles in legends.
var roleNames = []string{"stem and inner layers", "last layers of blocks", "shortcuts"}

// roleOf returns the role of a layer.
func roleOf(l *analysis.Layer) role {
	switch {
	case l.Shortcut:
		return shortcut
	case l.ReLU != "" && l.ReLU != l.Name:
		return last
	}
	return inner
}

// roleMark returns the style of a role.
func roleMark(r role) mark {
	m := markOf(int(r)).thin()
	if r == shortcut {
		m = markOf(2)
		m.shape = diamondGlyph{}
		m.unjoined = true
	}
	return m
}

// stage is a range of consecutive layers whose outputs have the same size.
type stage struct {
	first, end    int // index of the first layer, and the index after the last one
	height, width int // height is 0 if the size is not known
}

// size returns height × width, or "" if the size is not known.
func (s stage) size() string {
	if s.height == 0 {
		return ""
	}
	return fmt.Sprintf("%d×%d", s.height, s.width)
}

// stagesOf returns the stages of a report, from input to output.
func stagesOf(r *analysis.Report) []stage {
	var stages []stage
	for i := range r.Layers {
		l := &r.Layers[i]
		if n := len(stages); n == 0 || stages[n-1].height != l.Height || stages[n-1].width != l.Width {
			stages = append(stages, stage{first: i, height: l.Height, width: l.Width})
		}
		stages[len(stages)-1].end = i + 1
	}
	return stages
}

// blockOf returns the name of the block of a layer, such as "blocks.0", "layer1.0" or
// "block_0_0". A layer outside of blocks, such as "bn", is its own block.
func blockOf(l *analysis.Layer) string {
	parts := strings.Split(l.Name, ".")
	for i, part := range parts {
		if part != "" && strings.Trim(part, "0123456789") == "" {
			return strings.Join(parts[:i+1], ".")
		}
	}
	return parts[0]
}

// depth is the horizontal axis of figures with a value for each layer. If all runs have the same
// layers, each layer has its own position, and blocks have labels. If the runs only have the same
// number of stages, all stages are equally wide. Otherwise all networks are equally wide.
type depth struct {
	layers []analysis.Layer // of the first run
	stages []stage          // of the first run, without sizes that differ between runs
	same   bool             // whether all runs have the same layers
	staged bool             // whether all runs have the same number of stages, above 1
}

// depthOf returns the axis for the runs whose reports have the values to be drawn. ok reports
// whether there is such a run.
func depthOf(runs []Run, hasValues func(*analysis.Report) bool) (d depth, ok bool) {
	for _, r := range runs {
		if r.Report == nil || len(r.Report.Layers) == 0 || !hasValues(r.Report) {
			continue
		}
		stages := stagesOf(r.Report)
		if !ok {
			d, ok = depth{r.Report.Layers, stages, true, true}, true
			continue
		}
		d.same = d.same && slices.EqualFunc(d.layers, r.Report.Layers, func(a, b analysis.Layer) bool { return a.Name == b.Name })
		d.staged = d.staged && len(stages) == len(d.stages)
		for i := range d.stages {
			if d.staged && d.stages[i].size() != stages[i].size() {
				d.stages[i].height = 0
			}
		}
	}
	d.staged = d.staged && len(d.stages) > 1
	return d, ok
}

// position returns the position of layer i of r on the axis.
func (d depth) position(r *analysis.Report, i int) float64 {
	switch {
	case d.same:
		return float64(i + 1)
	case d.staged:
		for k, s := range stagesOf(r) {
			if i < s.end {
				return float64(k) + (float64(i-s.first)+0.5)/float64(s.end-s.first)
			}
		}
	}
	return float64(i) / float64(max(len(r.Layers)-1, 1))
}

// series returns the line of a value over the layers of a role. A NaN is a gap.
func (d depth) series(r *analysis.Report, kind role, m mark, value func(*analysis.Layer) float64) series {
	s := series{mark: m}
	for i := range r.Layers {
		if l := &r.Layers[i]; roleOf(l) == kind {
			s.x, s.y = append(s.x, d.position(r, i)), append(s.y, value(l))
		}
	}
	return s
}

// axis sets the panel's horizontal axis and, if all runs have the same number of stages, shades
// every other one. The panel is about as wide as the given share of the picture. Names of stages
// are above it if named is true.
func (d depth) axis(p *plot.Plot, share float64, named bool) {
	b := bands{named: named}
	for k, s := range d.stages {
		low, high, name := float64(s.first)+0.5, float64(s.end)+0.5, s.size()
		if !d.same {
			low, high = float64(k), float64(k+1)
			if name == "" {
				name = fmt.Sprintf("stage %d", k+1)
			}
		}
		b.low, b.high, b.names = append(b.low, low), append(b.high, high), append(b.names, name)
	}
	switch {
	case d.same:
		p.X.Min, p.X.Max = 0.5, float64(len(d.layers))+0.5
		p.X.Tick.Marker = blockTicks(d.layers, vg.Length(share)*0.86*width, textStyle(8.5, color.Black).Width)
	case d.staged:
		p.X.Min, p.X.Max = 0, float64(len(d.stages))
		p.X.Tick.Marker = plot.ConstantTicks(nil)
	default:
		p.X.Min, p.X.Max = -0.01, 1.01
		p.X.Tick.Marker = ticks{percent: true}
	}
	if (d.same || d.staged) && len(d.stages) > 1 {
		p.Add(b)
	}
}

// label returns the label of the horizontal axis.
func (d depth) label() string {
	switch {
	case d.same && len(d.stages) > 1:
		return "layer, from input to output; bands of layers with outputs of the same height × width"
	case d.same:
		return "layer, input to output"
	case d.staged:
		return "layer within its stage, input to output"
	}
	return "layer, from each network's first (0%) to its last (100%)"
}

// blockTicks labels the stem and all numbered blocks at their middles. length is the length of the
// axis, and size returns the length of a label. If there is not enough space for all labels,
// blockTicks labels only every second, fifth or tenth numbered block, and so on.
func blockTicks(layers []analysis.Layer, length vg.Length, size func(string) vg.Length) plot.ConstantTicks {
	type block struct {
		name   string
		middle float64
	}
	var blocks []block
	for i := 0; i < len(layers); {
		name, first := blockOf(&layers[i]), i
		for i < len(layers) && blockOf(&layers[i]) == name {
			i++
		}
		blocks = append(blocks, block{name, float64(first+i+1) / 2})
	}
	labelEvery := func(every int) (all plot.ConstantTicks, fits bool) {
		fits = true
		taken := vg.Length(-1e9)
		numbered := 0
		for i, b := range blocks {
			tick := plot.Tick{Value: b.middle}
			center, half := length*vg.Length(b.middle)/vg.Length(len(layers)), size(b.name)/2+vg.Points(2)
			isNumbered := strings.ContainsAny(b.name, "0123456789")
			wanted := isNumbered && numbered%every == 0
			if isNumbered {
				numbered++
			} else if i == 0 && every == 1 {
				wanted = true // the stem
			}
			if wanted {
				fits = fits && center-half >= taken
				tick.Label, taken = b.name, center+half
			}
			all = append(all, tick)
		}
		return all, fits
	}
	for power := 1; ; power *= 10 {
		for _, digit := range []int{1, 2, 5} {
			all, fits := labelEvery(digit * power)
			if fits || digit*power > len(blocks) {
				return all
			}
		}
	}
}

// bands is a plotter that shades every other range of the horizontal axis, with names above the
// panel.
type bands struct {
	low, high []float64
	names     []string
	named     bool // whether names are drawn
}

var bandColor = color.Gray{0xf2}

// Plot implements plot.Plotter.
func (b bands) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	style := textStyle(8.5, darkGrey)
	style.XAlign, style.YAlign = draw.XCenter, draw.YBottom
	for i := range b.low {
		left, right := x(b.low[i]), x(b.high[i])
		if i%2 == 1 {
			fill(&c, bandColor, left, c.Min.Y, right, c.Max.Y)
		}
		if b.named && style.Width(b.names[i]) < right-left {
			c.FillText(style, vg.Point{X: (left + right) / 2, Y: c.Max.Y + vg.Points(2)}, b.names[i])
		}
	}
	// The shades cover the panel's grid.
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = nil, lightGrey
	grid.Plot(c, p)
}

// GlyphBoxes implements plot.GlyphBoxer. It reserves the space of the names.
func (b bands) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	if !b.named {
		return nil
	}
	return []plot.GlyphBox{{X: 0.5, Y: 1, Rectangle: vg.Rectangle{Max: vg.Point{Y: vg.Points(12)}}}}
}

// diamondGlyph is a hollow diamond.
type diamondGlyph struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (diamondGlyph) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, center vg.Point) {
	x, y, r := center.X, center.Y, 1.4*style.Radius
	corners := []vg.Point{{X: x, Y: y + r}, {X: x + r, Y: y}, {X: x, Y: y - r}, {X: x - r, Y: y}}
	c.FillPolygon(color.White, corners)
	c.StrokeLines(draw.LineStyle{Color: style.Color, Width: vg.Points(1)}, append(corners, corners[0]))
}
