package analysis

import (
	"context"
	"errors"
	"math"
	"slices"
	"sort"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
)

// TestSensitivity compares three layers at every share with a copy of the model in which the
// test clamps the layer, and checks that a share of 0 changes nothing.
func TestSensitivity(t *testing.T) {
	data := tinyData(64, 48)
	m := trainedModel(t, data, false)
	before := snapshot(m)
	var progress []int
	r, err := Run(context.Background(), m, data, Options{Threads: 1, GradientBatches: 1, Thresholds: []float64{0.01},
		Sensitivity: []float64{0.75, 0, 1, 0.3}, SensitivityPictures: 20,
		Progress: func(what string, done, total int) {
			if what == "accuracy with channels of one layer clamped" {
				progress = append(progress, done, total)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	checkUnchanged(t, m, before)
	s := r.Sensitivity
	if s == nil || !slices.Equal(s.Shares, []float64{0, 0.3, 0.75, 1}) || len(s.Layers) != len(r.Layers) {
		t.Fatalf("sensitivity is %s, want %d layers and the shares [0 0.3 0.75 1]", jsonOf(s), len(r.Layers))
	}
	if s.Over != (Scope{Split: "test", Examples: 20, Statistics: engine.StatisticsReestimated}) {
		t.Errorf("sensitivity was measured over %+v, want 20 test pictures with re-estimated statistics", s.Over)
	}
	if r.Accuracy.Examples != 48 {
		t.Errorf("the sweep was measured over %d pictures, want all 48", r.Accuracy.Examples)
	}
	if n := len(progress); n != 2*4*len(r.Layers) || progress[n-2] != n/2-1 || progress[n-1] != n/2 {
		t.Errorf("progress is %v, want a report for each of 4 shares of %d layers", progress, len(r.Layers))
	}
	few := *data
	few.Test = &dataset.Split{Channels: 1, Height: 8, Width: 8, Labels: data.Test.Labels[:20], Images: data.Test.Images[:20*64]}
	for _, unit := range []int{0, 2, 3} {
		l := s.Layers[unit]
		if l.Name != m.Network.Units[unit].BN || l.Channels != m.Network.Units[unit].OutShape.C {
			t.Errorf("layer %d is %s with %d channels, want %s with %d", unit, l.Name, l.Channels, m.Network.Units[unit].BN, m.Network.Units[unit].OutShape.C)
		}
		for k, share := range s.Shares {
			n, loss, accuracy := clampedLayer(t, m.Source.Path, &few, unit, share)
			if got := l.Clamped[k]; got.Channels != n || *got.TestLoss != loss || got.TestAccuracy != accuracy {
				t.Errorf("%s at %v: %d channels, loss %v, accuracy %v; want %d, %v, %v, as when this test clamps the layer",
					l.Name, share, got.Channels, *got.TestLoss, got.TestAccuracy, n, loss, accuracy)
			}
		}
	}
	for _, l := range s.Layers {
		if *l.Clamped[0].TestLoss != *s.Unclamped.TestLoss || l.Clamped[0].Accuracy.TestAccuracy != s.Unclamped.TestAccuracy {
			t.Errorf("%s without clamped channels: %s, want the loss and accuracy of %s", l.Name, jsonOf(l.Clamped[0]), jsonOf(s.Unclamped))
		}
	}
}

// clampedLayer loads a model from its file, sets a share of the γ of one unit to 0, the smallest
// |γ| first, and returns their number, the loss and the accuracy. All |γ| of the unit must differ.
func clampedLayer(t *testing.T, path string, data *dataset.Data, unit int, share float64) (n int, loss, accuracy float64) {
	t.Helper()
	m, err := engine.LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	gamma := m.Params.Of(unit, arch.Gamma)
	sizes := make([]float64, len(gamma))
	for c, g := range gamma {
		sizes[c] = math.Abs(float64(g))
	}
	sort.Float64s(sizes)
	n = int(share*float64(len(gamma)) + 0.5)
	for c, g := range gamma {
		if sort.SearchFloat64s(sizes, math.Abs(float64(g))) < n {
			gamma[c] = 0
		}
	}
	e, err := m.Evaluator(data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	stats, err := e.Reestimate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Evaluate(context.Background(), stats)
	if err != nil {
		t.Fatal(err)
	}
	return n, r.TestLoss, r.TestAccuracy
}

// TestSensitivityOptions checks the errors for options that cannot be used, and for a cancelled
// measurement.
func TestSensitivityOptions(t *testing.T) {
	data := tinyData(64, 16)
	m := trainedModel(t, data, false)
	for _, o := range []Options{{Sensitivity: []float64{0.5, 1.1}}, {Sensitivity: []float64{-0.1}}, {Sensitivity: []float64{math.NaN()}}, {Sensitivity: []float64{0.5}, SensitivityPictures: -1}} {
		var option *OptionError
		if _, err := Run(context.Background(), m, data, o); !errors.As(err, &option) {
			t.Errorf("shares %v, %d pictures: got error %v, want an *OptionError", o.Sensitivity, o.SensitivityPictures, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := Run(ctx, m, data, Options{GradientBatches: 1, Thresholds: []float64{0.01}, Sensitivity: []float64{0.5}, Progress: func(what string, done, _ int) {
		if what == "accuracy with channels of one layer clamped" && done == 2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled measurement: got error %v, want context.Canceled", err)
	}
}
