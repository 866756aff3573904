package analysis

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// TestFeatureMapsOf compares the feature maps of every layer with the outputs of forward after
// the ReLU, checks the description of the layer and the picture, and checks that wrong layers
// and pictures are refused.
func TestFeatureMapsOf(t *testing.T) {
	data := tinyData(64, 24)
	m := trainedModel(t, data, false)
	evaluator, err := m.Evaluator(data, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer evaluator.Close()
	stats, err := evaluator.Reestimate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	const image = 5
	for i, z := range forward(m, stats, data) {
		u := &m.Network.Units[i]
		maps, err := FeatureMapsOf(context.Background(), m, data, u.BN, image, 1)
		if !u.ReLU {
			var bad *OptionError
			if !errors.As(err, &bad) {
				t.Errorf("%s has no ReLU: got error %v, want an *OptionError", u.BN, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if maps.Channels != u.OutShape.C || maps.Height != u.OutShape.H || maps.Width != u.OutShape.W ||
			maps.Layer != u.Name || maps.Class != data.Classes[image%4] || !slices.Equal(maps.Picture, data.Test.Image(image)) {
			t.Errorf("the feature maps of %s are %+v, want %v of layer %s, and picture %d with its class", u.BN, maps, u.OutShape, u.Name, image)
		}
		z = z[image*len(maps.Values):][:len(maps.Values)]
		for j, got := range maps.Values {
			if want := max(z[j], 0); math.Abs(float64(got)-want) > 1e-4*(1+want) {
				t.Fatalf("%s: output %d is %v, want %v", u.BN, j, got, want)
			}
		}
	}
	for _, c := range []struct {
		layer string
		image int
	}{{"nowhere", 0}, {"", 0}, {"conv", -1}, {"conv", 24}} {
		var bad *OptionError
		if _, err := FeatureMapsOf(context.Background(), m, data, c.layer, c.image, 1); !errors.As(err, &bad) {
			t.Errorf("layer %q, picture %d: got error %v, want an *OptionError", c.layer, c.image, err)
		}
	}
}

// TestFiltersOf checks that FiltersOf finds each layer by the name of its convolution and by the
// name of its BatchNorm, and returns its weights.
func TestFiltersOf(t *testing.T) {
	m := trainedModel(t, tinyData(64, 32), false)
	reloaded, err := engine.LoadModel(m.Source.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Network.Units {
		u := &m.Network.Units[i]
		for _, name := range []string{u.Name, u.BN} {
			f, err := FiltersOf(m, name)
			if err != nil || f.Layer != u.Name || f.Out*f.In*f.Size*f.Size != len(f.Values) || !slices.Equal(f.Values, reloaded.Params.Of(i, arch.ConvWeight)) {
				t.Errorf("the filters of %s are %+v (error %v), want the weights of %s", name, f, err, u.Name)
			}
		}
	}
	var bad *OptionError
	if _, err := FiltersOf(m, "conv3"); !errors.As(err, &bad) {
		t.Errorf("an unknown layer: got error %v, want an *OptionError", err)
	}
}
