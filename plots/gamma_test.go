package plots

import (
	"image/color"
	"math"
	"slices"
	"testing"

	"bnkit/analysis"
)

// TestGammaLayers checks the heights of the quantiles in a column.
func TestGammaLayers(t *testing.T) {
	r := report(1, 0.6)
	r.Layers[0].Gamma.Quantiles = []float64{-1, -0.6, -0.2, 0.2, 0.6, 1, 2} // equally spaced except for the largest
	f := gammaLayers(Run{Report: r})
	if len(f.panels) != 1 || f.panels[0].Y.Label.Text != "γ" {
		t.Fatalf("a network without blocks has %d panels, the first labelled %q, want one labelled γ", len(f.panels), f.panels[0].Y.Label.Text)
	}
	picture := renderFigure(t, f)
	q := quantiles{color: colors[0].(color.RGBA)}
	const column = 1100 // crosses neither the legend nor the line from the smallest to the largest
	top, bottom := rows(t, picture, column, q.shade(mostShade))
	upper, lower := rows(t, picture, column, q.shade(halfShade))
	step := float64(bottom-top) / 4
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"upper quartile", float64(upper), float64(top) + step}, {"lower quartile", float64(lower), float64(bottom) - step}} {
		if math.Abs(c.got-c.want) > 3 {
			t.Errorf("the %s is in row %v, want %v", c.name, c.got, c.want)
		}
	}
	median := upper
	for picture.At(column, median) != colors[len(colors)-1] && median < lower {
		median++
	}
	if want := float64(upper+lower) / 2; math.Abs(float64(median)-want) > 5 {
		t.Errorf("the median begins in row %d, want %v", median, want)
	}
}

// TestGammaHistogram checks the titles of the panels for the network and its stages, with their
// numbers of γ, and the heights of bars.
func TestGammaHistogram(t *testing.T) {
	r := report(9, 0.6)
	r.Layers[0].Gamma.Histogram = []int{16, 0, 0}
	f := gammaHistogram(Run{Report: r})
	if len(f.panels) != 4 || f.columns != 2 {
		t.Fatalf("got %d panels in %d columns, want 4 in 2", len(f.panels), f.columns)
	}
	for i, want := range []string{"all layers: 144 γ", "32×32, blocks.0: 48 γ", "16×16, blocks.1: 48 γ", "8×8, blocks.2: 48 γ"} {
		if got := f.panels[i].Title.Text; got != want {
			t.Errorf("panel %d has the title %q, want %q", i+1, got, want)
		}
	}
	renderFigure(t, f)

	twoBars := report(1, 0.6)
	twoBars.Layers[0].Gamma.Histogram = []int{4, 12, 0}
	picture := renderFigure(t, gammaHistogram(Run{Report: twoBars}))
	left, right := 0, 0 // heights of the bars
	for x := range picture.Bounds().Dx() {
		n := 0
		for y := range picture.Bounds().Dy() {
			if picture.At(x, y) == colors[0] {
				n++
			}
		}
		if left == 0 {
			left = n
		}
		right = max(right, n)
	}
	if math.Abs(float64(right)/float64(left)-3) > 0.1 || left < 50 {
		t.Errorf("bars of 4 and 12 channels are %d and %d pixels high, want at least 50 and a ratio of 1 to 3", left, right)
	}
}

// TestCoarser checks that bins are joined without mixing signs.
func TestCoarser(t *testing.T) {
	h := histogram{edges: []float64{-3, -2, -1, 0, 1, 2, 3, 4}, counts: []int{1, 2, 3, 4, 5, 6, 7}}
	c := h.coarser(4)
	if !slices.Equal(c.edges, []float64{-3, -2, 0, 2, 4}) || !slices.Equal(c.counts, []int{1, 5, 9, 13}) {
		t.Errorf("edges %v with counts %v, want [-3 -2 0 2 4] with [1 5 9 13]", c.edges, c.counts)
	}
	if same := h.coarser(7); !slices.Equal(same.edges, h.edges) || !slices.Equal(same.counts, h.counts) {
		t.Errorf("edges %v with counts %v, want no change", same.edges, same.counts)
	}
}

// layersOf returns a report with layers of the given names and heights.
func layersOf(names []string, heights []int) *analysis.Report {
	r := &analysis.Report{}
	for i, name := range names {
		r.Layers = append(r.Layers, analysis.Layer{Name: name, Height: heights[i], Width: heights[i]})
	}
	return r
}
