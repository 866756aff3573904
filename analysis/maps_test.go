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

// TestFeatureMapsOf compares the feature maps of every layer with float64 loops.
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
				t.Errorf("%s has no ReLU, but the error is %v", u.BN, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if maps.Channels != u.OutShape.C || maps.Height != u.OutShape.H || maps.Width != u.OutShape.W ||
			maps.Layer != u.Name || maps.Class != data.Classes[image%4] || !slices.Equal(maps.Picture, data.Test.Image(image)) {
			t.Errorf("%s: %+v", u.BN, maps)
		}
		z = z[image*len(maps.Values):][:len(maps.Values)]
		for at, got := range maps.Values {
			if want := max(z[at], 0); math.Abs(float64(got)-want) > 1e-4*(1+want) {
				t.Fatalf("%s: %v at %d, want %v", u.BN, got, at, want)
			}
		}
	}
	for _, wrong := range []struct {
		layer string
		image int
	}{{"nowhere", 0}, {"", 0}, {"conv", -1}, {"conv", 24}} {
		var bad *OptionError
		if _, err := FeatureMapsOf(context.Background(), m, data, wrong.layer, wrong.image, 1); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

// TestFiltersOf finds each layer by the name of its convolution and by the name of its
// BatchNorm.
func TestFiltersOf(t *testing.T) {
	m := trainedModel(t, tinyData(64, 32), false)
	again, err := engine.LoadModel(m.Source.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Network.Units {
		u := &m.Network.Units[i]
		for _, name := range []string{u.Name, u.BN} {
			f, err := FiltersOf(m, name)
			if err != nil || f.Layer != u.Name || f.Out*f.In*f.Size*f.Size != len(f.Values) || !slices.Equal(f.Values, again.Params.Of(i, arch.ConvWeight)) {
				t.Errorf("%s: %+v, %v", name, f, err)
			}
		}
	}
	var bad *OptionError
	if _, err := FiltersOf(m, "conv3"); !errors.As(err, &bad) {
		t.Errorf("the error for an unknown layer is %v", err)
	}
}
