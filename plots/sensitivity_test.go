package plots

import (
	"math"
	"strings"
	"testing"

	"bnkit/analysis"
)

// withSensitivity returns a report with accuracies of 80%, but 20% for the second layer at
// the second share.
func withSensitivity(layers int) *analysis.Report {
	r := report(layers, 0.8)
	s := &analysis.Sensitivity{Shares: []float64{0.25, 0.5}, Over: analysis.Scope{Split: "test", Examples: 100, Statistics: "re-estimated"}}
	s.Unclamped.TestAccuracy = 0.8
	for _, l := range r.Layers {
		row := analysis.LayerClamped{Channels: 4, Accuracy: analysis.Accuracy{TestAccuracy: 0.8}}
		s.Layers = append(s.Layers, analysis.LayerSensitivity{Name: l.Name, Channels: 16, Clamped: []analysis.LayerClamped{row, row}})
	}
	s.Layers[1].Clamped[1].TestAccuracy = 0.2
	r.Sensitivity = s
	return r
}

// TestSensitivity checks the colours, the sizes and the positions of cells.
func TestSensitivity(t *testing.T) {
	if sensitivity(Run{Report: report(4, 0.8)}) != nil || sensitivity(Run{}) != nil {
		t.Error("a run whose sensitivity was not measured is drawn")
	}
	r := withSensitivity(9)
	f := sensitivity(Run{Name: "a", Report: r})
	if f.scale.low != 0.2 || f.scale.high != 0.8 || !strings.Contains(f.note, "80.0% with no channel clamped") || !strings.Contains(f.scope, "100 pictures") {
		t.Errorf("scale %+v, note %q, scope %q", f.scale, f.note, f.scope)
	}
	light, dark := f.scale.color(0.8), f.scale.color(0.2)
	picture := renderFigure(t, f)
	one, others := area(picture, dark), area(picture, light)
	if one < 5000 || math.Abs(float64(others)/float64(one)/17-1) > 0.05 {
		t.Errorf("the sensitive cell has %d pixels, the 17 others %d", one, others)
	}
	// Shares rise upwards, so that of the second share is in the upper row.
	rows, all := pixelsOf(picture, dark), pixelsOf(picture, light)
	first, last := 0, 0
	for y := 140; y < len(rows); y++ {
		if all[y] > 500 {
			last = y
			if first == 0 {
				first = y
			}
		}
	}
	for y := (first+last)/2 + 5; y < len(rows); y++ {
		if rows[y] > 0 {
			t.Fatalf("row %d has %d dark pixels; cells are in rows %d to %d", y, rows[y], first, last)
		}
	}
	r.Sensitivity.Layers[1].Channels = 0
	if n := area(renderFigure(t, sensitivity(Run{Report: r})), dark); n > 0 {
		t.Errorf("a layer without channels to clamp has %d pixels", n)
	}
	r.Sensitivity.Layers[1].Channels, r.Sensitivity.Layers[1].Clamped[1].TestAccuracy = 16, 0.8
	renderFigure(t, sensitivity(Run{Report: r})) // all accuracies are equal
	if pictures := drawAll(t, []Run{{Name: "a", Report: withSensitivity(4)}}); pictures["sensitivity.png"] == nil {
		t.Error("Draw does not draw the sensitivity")
	}
}
