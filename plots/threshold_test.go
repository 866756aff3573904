package plots

import (
	"image"
	"image/color"
	"math"
	"strings"
	"testing"
)

// TestThreshold checks that a single run has one panel, with a chance line if the number of
// classes is known. Several runs must have a second panel, whose x axis goes from 0 to 1, and
// the same colours as in other figures.
func TestThreshold(t *testing.T) {
	r := report(4, 0.8)
	r.Classes = 4
	single := threshold([]Run{{Name: "a", Report: r}})
	if len(single.panels) != 1 || len(single.legend) != 0 {
		t.Errorf("a single run has %d panels and %d entries in the legend, want 1 and 0", len(single.panels), len(single.legend))
	}
	picture := renderFigure(t, single)
	// The curve falls from 0.8 to 0.4; its marks are at both ends.
	high, low := extent(picture, colors[0])
	radius := float64(markRadius) * dpi / 72
	rowOf := func(accuracy float64) float64 {
		top, bottom := float64(high)+radius, float64(low)-radius
		return bottom + (0.4-accuracy)/0.4*(bottom-top)
	}
	if row, n := longestRow(picture, grey); n < 500 || math.Abs(float64(row)-rowOf(0.25)) > 4 {
		t.Errorf("the chance line is in row %d with %d pixels, want row %v with at least 500", row, n, rowOf(0.25))
	}
	pruned := report(4, 0.8)
	pruned.Total.Pruned = 1
	if f := threshold([]Run{{Name: "a", Report: pruned}}); !strings.Contains(f.note, "do not count pruned channels") || strings.Contains(single.note, "pruned") {
		t.Errorf("the notes are %q with pruned channels and %q without, want the first alone to say that they do not count", f.note, single.note)
	}
	unknownClasses := report(4, 0.8)
	if _, n := longestRow(renderFigure(t, threshold([]Run{{Name: "a", Report: unknownClasses}})), grey); n > 50 {
		t.Errorf("without a number of classes, %d pixels of a row are grey, want no chance line", n)
	}

	several := threshold([]Run{{Name: "a", Report: r}, {Name: "b", Report: r}, {Name: "c"}})
	runs := forDrawing([]Run{{Name: "not analyzed"}, {Name: "a", Report: r}, {Name: "b", Report: r}})
	if f := threshold(runs); f.legend[1].mark.color != colors[2] || nearZero(runs).legend[1].mark.color != colors[2] {
		t.Errorf("third run: colour %v in threshold, %v in nearZero; want %v in both", f.legend[1].mark.color, nearZero(runs).legend[1].mark.color, colors[2])
	}
	if len(several.panels) != 2 || len(several.legend) != 2 || several.panels[1].X.Min != 0 || several.panels[1].X.Max != 1 {
		t.Errorf("two runs with reports have panels %+v and the legend %+v, want 2 panels, the second from 0 to 1, and 2 entries", several.panels, several.legend)
	}
	renderFigure(t, several)
}

// pixelsOf returns the number of pixels of a colour in each row.
func pixelsOf(p image.Image, c color.Color) []int {
	r, g, b, _ := c.RGBA()
	n := make([]int, p.Bounds().Dy())
	for y := range n {
		for x := range p.Bounds().Dx() {
			if pr, pg, pb, _ := p.At(x, y).RGBA(); pr == r && pg == g && pb == b {
				n[y]++
			}
		}
	}
	return n
}

// extent returns the first and the last row with a colour.
func extent(p image.Image, c color.Color) (first, last int) {
	first = -1
	for y, n := range pixelsOf(p, c) {
		if n > 0 && first < 0 {
			first = y
		}
		if n > 0 {
			last = y
		}
	}
	return first, last
}

// longestRow returns the row with the most pixels of a colour, and their number.
func longestRow(p image.Image, c color.Color) (row, n int) {
	for y, k := range pixelsOf(p, c) {
		if k > n {
			row, n = y, k
		}
	}
	return row, n
}
