package engine

import (
	"errors"
	"path/filepath"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
	"bnkit/engine/rundir"
)

// prunedModel is a trained model with stored statistics, of whose every layer the
// first third is held constant.
func prunedModel(t *testing.T) (*Model, *run) {
	t.Helper()
	cfg := tinyConfig()
	cfg.WithStats = true
	r, dir := trained(t, cfg)
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Network.Units {
		kept := []int{}
		gamma := m.Params.Of(i, arch.Gamma)
		for c := range gamma {
			if c < len(gamma)/3 {
				gamma[c] = 0
			} else {
				kept = append(kept, c)
			}
		}
		m.Kept = append(m.Kept, kept)
	}
	return m, r
}

func evaluatorOf(t *testing.T, m *Model, r *run) *Evaluator {
	t.Helper()
	e, err := m.Evaluator(r.data, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// TestCompactModel: what is left evaluates to the same as what is clamped, with
// the statistics that the model stores.
func TestCompactModel(t *testing.T) {
	m, r := prunedModel(t)
	small, _, err := m.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if small.Network.MACs() >= m.Network.MACs() || small.Kept != nil {
		t.Errorf("%d multiply-adds of %d are left, kept %v", small.Network.MACs(), m.Network.MACs(), small.Kept)
	}
	whole, left := evaluatorOf(t, m, r), evaluatorOf(t, small, r)
	want, err := whole.Evaluate(t.Context(), m.Stored)
	if err != nil {
		t.Fatal(err)
	}
	got, err := left.Evaluate(t.Context(), small.Stored)
	if err != nil {
		t.Fatal(err)
	}
	if got.TestAccuracy != want.TestAccuracy || !closeTo(got.TestLoss, want.TestLoss, 1e-5) || got.Statistics != StatisticsStored {
		t.Errorf("left %+v, clamped %+v", got, want)
	}

	m.Params.Of(1, arch.Gamma)[0] = 1
	var bad *ModelError
	if _, _, err := m.Compact(); !errors.As(err, &bad) {
		t.Errorf("a pruned channel whose γ is 1: %v, want a *ModelError", err)
	}
}

// TestPredictions counts the right ones, as Evaluate does.
func TestPredictions(t *testing.T) {
	m, r := prunedModel(t)
	e := evaluatorOf(t, m, r)
	predicted, err := e.Predictions(t.Context(), m.Stored)
	if err != nil {
		t.Fatal(err)
	}
	right, classes := 0, map[int]bool{}
	for i, label := range r.data.Test.Labels {
		classes[predicted[i]] = true
		if predicted[i] == int(label) {
			right++
		}
	}
	want, err := e.Evaluate(t.Context(), m.Stored)
	if err != nil {
		t.Fatal(err)
	}
	if accuracy := float64(right) / float64(len(predicted)); accuracy != want.TestAccuracy || len(predicted) != want.Examples || len(classes) < 2 {
		t.Errorf("%d of %d predictions are right, classes %v; want %+v", right, len(predicted), classes, want)
	}
}

// TestSpeeds: a network of a tenth of the work is faster.
func TestSpeeds(t *testing.T) {
	m, r := prunedModel(t)
	wide := *m
	net, err := arch.Build("wrn-14-8", arch.Options{Input: m.Network.Input, Classes: m.Network.Classes})
	if err != nil {
		t.Fatal(err)
	}
	wide.Network, wide.Params = net, nn.NewParams[float32](net, nil)
	wide.Params.Initialise(1)
	wide.Kept, wide.Stored = nil, nil
	speeds, err := Speeds(t.Context(), evaluatorOf(t, &wide, r), evaluatorOf(t, m, r))
	if err != nil {
		t.Fatal(err)
	}
	if len(speeds) != 2 || !(speeds[0] > 0) || !(speeds[1] > speeds[0]) {
		t.Errorf("%v pictures a second", speeds)
	}
}
