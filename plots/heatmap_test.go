package plots

import (
	"math"
	"testing"

	"bnkit/engine/rundir"
)

// TestGradientLayers checks the colours of cells: the smallest gradient has the lightest colour,
// the largest the darkest, and a missing one none.
func TestGradientLayers(t *testing.T) {
	r := layersOf([]string{"bn", "blocks.0.bn1"}, []int{8, 4})
	r.Layers[0].Convolution, r.Layers[1].Convolution = "conv", "blocks.0.conv1"
	run := Run{Name: "a", Report: r, Epochs: epochs(2)}
	if gradientLayers(run) != nil {
		t.Error("gradientLayers draws a run without gradients")
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
		t.Errorf("panels %q and %q", f.panels[0].Title.Text, f.panels[2].Title.Text)
	}
	if math.Abs(f.scale.low+2) > 1e-6 || f.scale.high != 0 {
		t.Errorf("the scale is %+v", f.scale)
	}
	picture := saved(t, f)
	dark, medium, light := area(picture, f.scale.color(f.scale.high)), area(picture, f.scale.color(-1)), area(picture, f.scale.color(f.scale.low))
	if dark < 10000 || math.Abs(float64(dark)/float64(light)-1) > 0.1 || math.Abs(float64(medium)/float64(light)-2) > 0.2 {
		t.Errorf("%d pixels of the largest gradient, %d of the smallest, %d of two in the middle", dark, light, medium)
	}
	if top, _ := extent(picture, f.scale.color(f.scale.high)); top > 500 {
		t.Errorf("the first layer begins in row %d", top)
	}
}
