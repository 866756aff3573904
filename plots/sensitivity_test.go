package plots

import (
	"math"
	"strings"
	"testing"

	"bnkit/analysis"
)

// reportWithSensitivity returns a report with accuracies of 80%, but 20% for the second layer at
// the second share.
func reportWithSensitivity(layers int) *analysis.Report {
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
		t.Error("sensitivity draws a run whose sensitivity was not measured, want no picture")
	}
	r := reportWithSensitivity(9)
	f := sensitivity(Run{Name: "a", Report: r})
	if f.scale.low != 0.2 || f.scale.high != 0.8 || !strings.Contains(f.note, "80.0% with no channel clamped") || !strings.Contains(f.scope, "100 pictures") {
		t.Errorf("scale %+v, note %q, scope %q; want 0.2 to 0.8, 80.0%% and 100 pictures", f.scale, f.note, f.scope)
	}
	light, dark := f.scale.color(0.8), f.scale.color(0.2)
	picture := renderFigure(t, f)
	darkPixels, lightPixels := area(picture, dark), area(picture, light)
	if darkPixels < 5000 || math.Abs(float64(lightPixels)/float64(darkPixels)/17-1) > 0.05 {
		t.Errorf("the dark cell has %d pixels and the 17 light ones %d, want at least 5000 and a ratio of 1 to 17", darkPixels, lightPixels)
	}
	// Shares rise upwards, so the dark cell, which has the second share, is in the upper row.
	darkRows, lightRows := pixelsOf(picture, dark), pixelsOf(picture, light)
	first, last := 0, 0
	for y := 140; y < len(darkRows); y++ {
		if lightRows[y] > 500 {
			last = y
			if first == 0 {
				first = y
			}
		}
	}
	for y := (first+last)/2 + 5; y < len(darkRows); y++ {
		if darkRows[y] > 0 {
			t.Fatalf("row %d has %d dark pixels, want none in the lower half of rows %d to %d", y, darkRows[y], first, last)
		}
	}
	r.Sensitivity.Layers[1].Channels = 0
	if n := area(renderFigure(t, sensitivity(Run{Report: r})), dark); n > 0 {
		t.Errorf("a layer without channels to clamp has %d dark pixels, want 0", n)
	}
	r.Sensitivity.Layers[1].Channels, r.Sensitivity.Layers[1].Clamped[1].TestAccuracy = 16, 0.8
	renderFigure(t, sensitivity(Run{Report: r})) // all accuracies are equal
	if pictures := drawAll(t, []Run{{Name: "a", Report: reportWithSensitivity(4)}}); pictures["sensitivity.png"] == nil {
		t.Error("Draw does not write sensitivity.png, want it")
	}
}
