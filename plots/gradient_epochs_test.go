package plots

import (
	"image"
	"image/color"
	"math"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/rundir"
)

// trackedEpochs returns n epochs. The gradient of γ is gamma, and those of β, convolutions and the
// output bias are a tenth, a hundredth and a thousandth of it. That of convolution biases is 0.
// Convolutions are frozen, and only one of the 8 β is trained.
func trackedEpochs(n int, gamma float32) []rundir.EpochMetrics {
	all := epochs(n)
	for i := range all {
		all[i].Gradients = &rundir.EpochGradients{Batches: 4, Examples: 512, Statistics: "batch", Augmented: true,
			Kinds: map[rundir.GradientKind]rundir.KindGradient{
				"gamma":            {Mean: gamma, Parameters: 8, Trained: 8},
				"beta":             {Mean: gamma / 10, Parameters: 8, Trained: 1},
				"convolution":      {Mean: gamma / 100, Parameters: 100},
				"output_bias":      {Mean: gamma / 1000, Parameters: 10, Trained: 10},
				"convolution_bias": {Mean: 0, Parameters: 8, Trained: 8},
			}}
	}
	return all
}

// TestGradientEpochs checks the legend, the note and the scope of a single run, that equal ratios
// have equal distances on the axis, and that only completely trained kinds have solid lines.
func TestGradientEpochs(t *testing.T) {
	f := gradientEpochs([]Run{{Epochs: trackedEpochs(9, 0.1)}})
	var names []string
	for _, e := range f.legend {
		names = append(names, e.name)
	}
	if want := []string{"γ", "β", "convolution weights (frozen)", "output bias"}; !slices.Equal(names, want) {
		t.Errorf("legend %q, want %q", names, want)
	}
	for _, text := range []string{"Zero in every epoch: convolution biases.", "Dashed: frozen", "Dotted: only some parameters"} {
		if !strings.Contains(f.note, text) {
			t.Errorf("the note is %q, want %q in it", f.note, text)
		}
	}
	if want := "training: all 4 batches of each epoch, 512 pictures, augmented, training mode (batch statistics)"; f.scope != want {
		t.Errorf("scope %q, want %q", f.scope, want)
	}
	picture := renderFigure(t, f)
	var heights []float64 // of the horizontal lines
	for _, k := range []int{0, 1, 2, 4} {
		heights = append(heights, meanRow(picture, colors[k]))
	}
	for i := 1; i < len(heights); i++ {
		if step := heights[i] - heights[i-1]; math.Abs(step-(heights[1]-heights[0])) > 4 || step < 50 {
			t.Errorf("the lines are in rows %v, want equal steps of at least 50", heights)
		}
	}
	solid := count(picture, colors[0])
	if dotted, dashed := count(picture, colors[1]), count(picture, colors[2]); dashed >= solid || dotted >= solid || dotted == dashed || dotted < 100 {
		t.Errorf("a trained kind has %d pixels, a frozen kind %d and a partly trained kind %d; want fewer, different numbers for the last two, and at least 100 for the last", solid, dashed, dotted)
	}

	gap := trackedEpochs(9, 0.1)
	gap[4].Gradients = nil
	if n := count(renderFigure(t, gradientEpochs([]Run{{Epochs: gap}})), colors[0]); n >= solid {
		t.Errorf("the line of γ has %d pixels with a gap, want fewer than the %d without", n, solid)
	}
}

// meanRow returns the mean row of the pixels of a colour below the legend.
func meanRow(p image.Image, c color.Color) float64 {
	sum, n := 0.0, 0.0
	for y := 140; y < p.Bounds().Dy(); y++ {
		for x := range p.Bounds().Dx() {
			if p.At(x, y) == c {
				sum, n = sum+float64(y), n+1
			}
		}
	}
	return sum / n
}

// TestGradientEpochsOfRuns checks that there is a panel for each kind that has a gradient above 0
// in any of several runs, and that equal ratios have equal heights in all panels.
func TestGradientEpochsOfRuns(t *testing.T) {
	f := gradientEpochs([]Run{{Name: "a", Epochs: trackedEpochs(5, 0.1)}, {Name: "b", Epochs: epochs(7)}, {Name: "c", Epochs: trackedEpochs(3, 1)}})
	var labels []string
	for i, p := range f.panels {
		labels = append(labels, p.Y.Label.Text)
		// Means are 0.1 and 1 times a power of ten in each panel.
		if middle := -0.5 - float64(i); math.Abs((p.Y.Min+p.Y.Max)/2-middle) > 1e-6 || math.Abs(p.Y.Max-p.Y.Min-1.15) > 1e-6 || p.X.Min != 1 || p.X.Max != 5 {
			t.Errorf("%s: epochs %v to %v, exponents %v to %v; want epochs 1 to 5, and 1.15 exponents around %v", p.Y.Label.Text, p.X.Min, p.X.Max, p.Y.Min, p.Y.Max, middle)
		}
	}
	if want := []string{"|∂loss/∂γ|", "|∂loss/∂β|", "|∂loss/∂conv W|", "|∂loss/∂output b|"}; !slices.Equal(labels, want) {
		t.Errorf("panels %q, want %q", labels, want)
	}
	if !strings.Contains(f.note, "convolution biases of a, convolution biases of c") {
		t.Errorf("the note is %q, want the convolution biases of a and c in it", f.note)
	}
	renderFigure(t, f)
	if f := gradientEpochs([]Run{{Epochs: epochs(5)}, {}}); f != nil {
		t.Errorf("gradientEpochs draws runs without gradients with the legend %+v, want no picture", f.legend)
	}
}

// TestGradientLayers checks the colours of cells: the smallest gradient has the lightest colour,
// the largest the darkest, and a missing one none.
func TestGradientLayers(t *testing.T) {
	r := layersOf([]string{"bn", "blocks.0.bn1"}, []int{8, 4})
	r.Layers[0].Convolution, r.Layers[1].Convolution = "conv", "blocks.0.conv1"
	run := Run{Name: "a", Report: r, Epochs: epochs(2)}
	if gradientLayers(run) != nil {
		t.Error("gradientLayers draws a run without gradients, want no picture")
	}
	for i := range run.Epochs {
		run.Epochs[i].Gradients = &rundir.EpochGradients{Kinds: map[rundir.GradientKind]rundir.KindGradient{
			"gamma":       {Parameters: 2, Trained: 2, Layers: map[string]float32{"bn": 1, "blocks.0.bn1": 0.01}},
			"beta":        {Parameters: 2, Trained: 2, Layers: map[string]float32{"bn": 0, "blocks.0.bn1": 0.1}},
			"convolution": {Parameters: 2, Layers: map[string]float32{"blocks.0.conv1": 0.1}},
		}}
	}
	f := gradientLayers(run)
	if f.panels[0].Title.Text != "γ" || f.panels[2].Title.Text != "convolution weights (frozen)" {
		t.Errorf("the first and third panels are %q and %q, want γ and convolution weights (frozen)", f.panels[0].Title.Text, f.panels[2].Title.Text)
	}
	if math.Abs(f.scale.low+2) > 1e-6 || f.scale.high != 0 {
		t.Errorf("the scale is %+v, want exponents from -2 to 0", f.scale)
	}
	picture := renderFigure(t, f)
	dark, medium, light := area(picture, f.scale.color(f.scale.high)), area(picture, f.scale.color(-1)), area(picture, f.scale.color(f.scale.low))
	if dark < 10000 || math.Abs(float64(dark)/float64(light)-1) > 0.1 || math.Abs(float64(medium)/float64(light)-2) > 0.2 {
		t.Errorf("%d pixels of the largest gradient, %d of the smallest and %d of two in the middle; want a ratio of 1 to 1 to 2, and at least 10000 of the largest", dark, light, medium)
	}
	if top, _ := extent(picture, f.scale.color(f.scale.high)); top > 500 {
		t.Errorf("the first layer begins in row %d, want at most row 500, in the upper half", top)
	}
}
