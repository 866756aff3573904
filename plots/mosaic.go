package plots

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
)

// maxTiles is the largest number of rows and of columns of tiles for the filters of a checkpoint.
// It does not limit filters of three input channels, which are all drawn.
const maxTiles = 32

// filters draws the filters of each checkpoint, side by side. A filter of one or three input
// channels is one tile, in colour if there are three. Otherwise each row of tiles is the filter
// of one output channel.
func filters(names []string, all []*analysis.Filters) *figure {
	f := &figure{title: "Filters of " + all[0].Layer}
	var kinds []string
	hasRGB, hasOther := false, false
	for _, filter := range all {
		kind := "Each row is an output channel, each column an input channel; white is 0."
		switch filter.In {
		case 1:
			kind = "Each tile is an output channel; white is 0."
		case 3:
			kind = "Each tile is an output channel's weights of red, green and blue; mid-grey is 0."
		}
		hasRGB, hasOther = hasRGB || filter.In == 3, hasOther || filter.In != 3
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	f.scope = strings.Join(kinds, " ") + " Colours are scaled to each checkpoint's largest weight."
	if hasOther {
		f.legend = append(f.legend, entry{name: "most negative weight", patch: diverging(-1)}, entry{name: "most positive weight", patch: diverging(1)})
	}
	if hasRGB {
		for in, name := range []string{"red", "green", "blue"} {
			for _, sign := range []float64{1, -1} {
				weights := [3]float64{}
				weights[in] = sign
				word := map[float64]string{1: "positive", -1: "negative"}[sign]
				f.legend = append(f.legend, entry{name: word + " weight of " + name, patch: rgbColor(weights), row: sign == 1 && in == 0})
			}
		}
		f.legend = append(f.legend, entry{name: "all 0", patch: rgbColor([3]float64{})})
	}
	var m mosaic
	for i, filter := range all {
		peak, area := largestMagnitude(filter.Values), filter.Size*filter.Size
		weight := func(out, in, position int) float64 {
			return relative(filter.Values[(out*filter.In+in)*area+position], peak)
		}
		b := block{height: filter.Size, width: filter.Size,
			caption: fmt.Sprintf("%s: %d filters of %d×%d×%d, largest weight %.2g", names[i], filter.Out, filter.In, filter.Size, filter.Size, peak)}
		if filter.In == 3 {
			for out := range filter.Out {
				b.tiles = append(b.tiles, func(position int) color.Color {
					return rgbColor([3]float64{weight(out, 0, position), weight(out, 1, position), weight(out, 2, position)})
				})
			}
		} else {
			rows := min(filter.Out, maxTiles)
			columns := min(filter.In, maxTiles)
			for out := range rows {
				for in := range columns {
					b.tiles = append(b.tiles, func(position int) color.Color { return diverging(weight(out, in, position)) })
				}
			}
			if columns > 1 {
				b.columns = columns
			}
			if rows < filter.Out || columns < filter.In {
				b.caption += fmt.Sprintf("; the first %d×%d", rows, columns)
			}
		}
		m = append(m, b)
	}
	f.panels = []panel{m.panel()}
	return f
}

// rgbColor returns the colour of weights of red, green and blue from -1 to 1. Mid-grey is 0.
func rgbColor(weights [3]float64) color.Color {
	level := func(w float64) uint8 { return uint8(127.5 + 127.5*w) }
	return color.RGBA{level(weights[0]), level(weights[1]), level(weights[2]), 0xff}
}

// featureMaps draws a picture of the test split and then the feature maps of each checkpoint for
// it, side by side.
func featureMaps(names []string, all []*analysis.FeatureMaps) *figure {
	first := all[0]
	offColor := color.RGBA{0xf5, 0xc9, 0xb3, 0xff}
	f := &figure{
		title: fmt.Sprintf("Feature maps of relu(%s) · test picture %d, %s", first.ReLU, first.Image, first.Class),
		scope: "Inference mode (re-estimated statistics). White is 0. Shades are scaled to each checkpoint's largest output.",
		legend: []entry{
			{name: "a quarter of the largest output", patch: shade(0.5)}, {name: "the largest output", patch: shade(1)},
			{name: "channel that is 0 everywhere (off)", patch: offColor},
		},
	}
	m := mosaic{{caption: "the picture", height: first.PictureHeight, width: first.PictureWidth, tiles: []tile{
		func(position int) color.Color {
			level := func(c int) uint8 {
				return first.Picture[min(c, first.PictureChannels-1)*first.PictureHeight*first.PictureWidth+position]
			}
			return color.RGBA{level(0), level(1), level(2), 0xff}
		},
	}}}
	for i, maps := range all {
		peak, area, off := largestMagnitude(maps.Values), maps.Height*maps.Width, 0
		b := block{height: maps.Height, width: maps.Width}
		for c := range maps.Channels {
			values := maps.Values[c*area:][:area]
			if largestMagnitude(values) == 0 {
				off++
				b.tiles = append(b.tiles, func(int) color.Color { return offColor })
				continue
			}
			b.tiles = append(b.tiles, func(position int) color.Color { return shade(math.Sqrt(relative(values[position], peak))) })
		}
		b.caption = fmt.Sprintf("%s: %d channels, %d of them off, largest output %.3g", names[i], maps.Channels, off, peak)
		m = append(m, b)
	}
	f.panels = []panel{m.panel()}
	return f
}

// tile returns the colour of a value of a tile. position is the index of the value, counted row by
// row.
type tile func(position int) color.Color

// block is a caption and, below it, rows of equally large tiles.
type block struct {
	caption                string
	columns, height, width int // tiles in a row, 0 for as many as fit best; rows and columns of values in a tile
	tiles                  []tile
}

const tileGap = 6 // pixels

// fit returns the number of tiles in a row and the side of a value in pixels, so that the
// block, with its gaps, fits into the given width and height in pixels. The side is below 1
// if the block must be reduced.
func (b block) fit(width, height float64) (columns int, scale float64) {
	scaleFor := func(columns int) float64 {
		rows := (len(b.tiles) + columns - 1) / columns
		return min(((width+tileGap)/float64(columns)-tileGap)/float64(b.width), ((height+tileGap)/float64(rows)-tileGap)/float64(b.height))
	}
	if b.columns > 0 {
		return b.columns, scaleFor(b.columns)
	}
	columns = 1
	for c := range len(b.tiles) {
		if scaleFor(c+1) > scaleFor(columns) {
			columns = c + 1
		}
	}
	return columns, scaleFor(columns)
}

// picture returns the block as an image with scale×scale pixels for each value.
func (b block) picture(columns, scale int) *image.RGBA {
	rows := (len(b.tiles) + columns - 1) / columns
	stepX, stepY := b.width*scale+tileGap, b.height*scale+tileGap
	p := image.NewRGBA(image.Rect(0, 0, columns*stepX-tileGap, rows*stepY-tileGap))
	draw.Draw(p, p.Bounds(), image.NewUniform(lightGrey), image.Point{}, draw.Src)
	for i, t := range b.tiles {
		for position := range b.height * b.width {
			left, top := i%columns*stepX+position%b.width*scale, i/columns*stepY+position/b.width*scale
			draw.Draw(p, image.Rect(left, top, left+scale, top+scale), image.NewUniform(t(position)), image.Point{}, draw.Src)
		}
	}
	return p
}

// mosaic is a plotter of blocks side by side. A block of a single tile is half as wide as the
// others.
type mosaic []block

func (m mosaic) panel() panel {
	p := plot.New()
	p.HideAxes()
	p.Add(m)
	return panel{p, 1}
}

// Plot implements plot.Plotter.
func (m mosaic) Plot(c vgdraw.Canvas, _ *plot.Plot) {
	const gap = 14 // points
	const pixel = vg.Inch / dpi
	share := func(b block) float64 {
		if len(b.tiles) == 1 {
			return 0.5
		}
		return 1
	}
	var shares float64
	for _, b := range m {
		shares += share(b)
	}
	free := c.Max.X - c.Min.X - vg.Points(gap)*vg.Length(len(m)-1)
	style := textStyle(8.5, color.Black)
	// Tiles begin below the longest caption.
	var caption vg.Length
	for _, b := range m {
		lines := wrap(style, b.caption, free*vg.Length(share(b)/shares))
		caption = max(caption, vg.Length(len(lines))*lineHeight(style)+vg.Points(3))
	}
	left := c.Min.X
	for _, b := range m {
		area := c
		area.Min.X, area.Max.X = left, left+free*vg.Length(share(b)/shares)
		left = area.Max.X + vg.Points(gap)
		paragraph(area, style, b.caption)
		area.Max.Y -= caption
		columns, scale := b.fit(float64(area.Size().X/pixel)-1, float64(area.Size().Y/pixel)-1)
		p := b.picture(columns, max(1, int(scale)))
		size := p.Bounds().Size()
		w, h := float64(size.X), float64(size.Y)
		if reduced := min(1, float64(area.Size().X/pixel)/w, float64(area.Size().Y/pixel)/h); reduced < 1 {
			w, h = w*reduced, h*reduced
		}
		// The image is aligned to whole pixels so that it is sharp.
		x, y := math.Ceil(float64(area.Min.X/pixel)), math.Floor(float64(area.Max.Y/pixel))
		c.DrawImage(vg.Rectangle{
			Min: vg.Point{X: vg.Length(x) * pixel, Y: vg.Length(y-h) * pixel},
			Max: vg.Point{X: vg.Length(x+w) * pixel, Y: vg.Length(y) * pixel},
		}, p)
	}
}

// largestMagnitude returns the largest finite magnitude of the values.
func largestMagnitude(values []float32) float64 {
	var peak float64
	for _, v := range values {
		if a := math.Abs(float64(v)); finite(a) {
			peak = max(peak, a)
		}
	}
	return peak
}

// relative returns v as a share of peak, from -1 to 1, or 0 if v is NaN or peak is 0.
func relative(v float32, peak float64) float64 {
	if math.IsNaN(float64(v)) || peak == 0 {
		return 0
	}
	return max(-1, min(1, float64(v)/peak))
}
