package prune

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
)

// TestRecover checks that training after pruning lowers the loss of a network, that it
// changes only γ and β of channels that stay, and that the file holds the result.
func TestRecover(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	o := Options{Target: Target{MACs: 0.6}}
	plain, before := pruneAndSave(t, m, data, o)
	o.Recovery = Recovery{Epochs: 5, LR: 0.05}
	r, after := pruneAndSave(t, m, data, o)
	if r.After != plain.After || r.Recovered == nil || r.Recovered.TestLoss >= plain.After.TestLoss {
		t.Fatalf("after pruning, got %+v, want %+v; after training, got %+v, want a smaller loss", r.After, plain.After, r.Recovered)
	}
	trained := 0
	for i := range m.Network.Units {
		for c := range m.Params.Of(i, arch.Gamma) {
			for _, kind := range []arch.Kind{arch.Gamma, arch.Beta} {
				if before.Params.Of(i, kind)[c] == after.Params.Of(i, kind)[c] {
					continue
				}
				trained++
				if !stays(before.Kept[i], c) {
					t.Errorf("unit %d: training changed %v of the pruned channel %d from %v to %v, want no change", i, kind, c, before.Params.Of(i, kind)[c], after.Params.Of(i, kind)[c])
				}
			}
		}
	}
	total := 0
	for _, elements := range changedElements(before, after) {
		total += len(elements)
	}
	if trained == 0 || total != trained {
		t.Errorf("training changed %d parameters, of which %d are γ and β; want only γ and β, at least one", total, trained)
	}
	e, stats := reestimated(t, after, data)
	if got, err := e.Evaluate(context.Background(), stats); err != nil || got != *r.Recovered {
		t.Errorf("the file evaluates to %+v, error %v; want %+v", got, err, *r.Recovered)
	}
}

// TestRecoverAugments checks that training after pruning augments pictures as the settings of the
// model's training say: another brightness must lead to other parameters.
func TestRecoverAugments(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	var recovered []*engine.Model
	for _, brightness := range []float64{0, 0.5} {
		cfg, err := m.Settings()
		if err != nil {
			t.Fatal(err)
		}
		cfg.Brightness = brightness
		variant := m.Variant()
		if variant.Config, err = json.Marshal(cfg); err != nil {
			t.Fatal(err)
		}
		r, err := Recover(t.Context(), variant, data, Options{Recovery: Recovery{Epochs: 1}})
		if err != nil {
			t.Fatal(err)
		}
		recovered = append(recovered, r)
	}
	if len(changedElements(recovered[0], recovered[1])) == 0 {
		t.Error("brightness 0 and 0.5 lead to the same parameters, want different ones")
	}
}

// TestPredictionsChanged counts the pictures to which the networks before and after pruning give
// different classes. Training after pruning, which changes classes again, must not change the count.
func TestPredictionsChanged(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	classes := func(m *engine.Model) []int {
		t.Helper()
		e, stats := reestimated(t, m, data)
		predicted, err := e.Predictions(context.Background(), stats)
		if err != nil {
			t.Fatal(err)
		}
		return predicted
	}
	different := func(a, b []int) (n int) {
		for i := range a {
			if a[i] != b[i] {
				n++
			}
		}
		return n
	}
	o := Options{Remove: 0.7}
	r, pruned := pruneAndSave(t, m, data, o)
	want := different(classes(m), classes(pruned))
	if r.PredictionsChanged != want || want == 0 {
		t.Errorf("got %d changed predictions, want %d, and more than 0", r.PredictionsChanged, want)
	}
	o.Recovery = Recovery{Epochs: 2, LR: 0.3}
	r, recovered := pruneAndSave(t, m, data, o)
	if again := different(classes(m), classes(recovered)); r.PredictionsChanged != want || again == want {
		t.Errorf("with training after pruning: got %d changed predictions, want %d; after training there are %d, want another number", r.PredictionsChanged, want, again)
	}
}

// TestTrainedParameters checks that a run that trained the output layer alone is counted as such,
// although pruning adds γ and β to the parameters that the file stores.
func TestTrainedParameters(t *testing.T) {
	data := tinyData()
	m := trainVariant(t, data, func(c *config.Config) { c.Trainable = "output" })
	r, _ := pruneAndSave(t, m, data, Options{Remove: 0.3})
	if r.TrainedBefore == nil {
		t.Fatal("got no number of trained parameters, want one")
	}
	if want := 64*3 + 3; *r.TrainedBefore != want {
		t.Errorf("got %d trained parameters, want the %d of an output layer of 64 channels and 3 classes", *r.TrainedBefore, want)
	}
}

// TestIterations checks that pruning in several steps reaches the target and does not clamp the
// γ of the source.
func TestIterations(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	r, _ := pruneAndSave(t, m, data, Options{Target: Target{MACs: 0.5}, Recovery: Recovery{Epochs: 1, Iterations: 3}})
	if got := float64(r.MACsAfter) / float64(r.MACsBefore); got < 0.49 || got > 0.51 || r.MACsBefore != m.Network.MACs() || r.Iterations != 3 {
		t.Errorf("%v of %d MACs stay after %d steps, want half of %d after 3", got, r.MACsBefore, r.Iterations, m.Network.MACs())
	}
	for i := range m.Network.Units {
		for c, g := range m.Params.Of(i, arch.Gamma) {
			if g == 0 {
				t.Fatalf("γ[%d] of unit %d of the source is 0, want its old value", c, i)
			}
		}
	}
}

// TestRecoverIsCancelled checks that Recover stops if its context is cancelled.
func TestRecoverIsCancelled(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Recover(ctx, m, data, Options{Recovery: Recovery{Epochs: 1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

// TestRecoveryOptions checks the errors for invalid options and combinations of them.
func TestRecoveryOptions(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	for _, o := range []Options{
		{Threshold: 0.1, Recovery: Recovery{Epochs: -1}},
		{Threshold: 0.1, Recovery: Recovery{LR: 0.1}},
		{Threshold: 0.1, Recovery: Recovery{Epochs: 1, LR: -1}},
		{Threshold: 0.1, Recovery: Recovery{Epochs: 1, Iterations: 2}},
		{Target: Target{MACs: 0.5}, Recovery: Recovery{Iterations: 2}},
		{Target: Target{MACs: 0.5, Latency: 0.5}},
		{Target: Target{MACs: 1.5}},
		{Target: Target{MaxDrop: -1}},
		{Target: Target{MACs: 0.5}, Remove: 0.5},
		{Policy: Policy{Importance: "best"}, Remove: 0.5},
		{Policy: Policy{Importance: Gamma}, Threshold: 0.5},
		{Policy: Policy{Importance: Gamma}},
		{Policy: Policy{Importance: Gamma, Scope: "block"}, Remove: 0.5},
	} {
		var e *OptionError
		if _, err := Prune(context.Background(), m, data, o); !errors.As(err, &e) {
			t.Errorf("%+v: got error %v, want an *OptionError", o, err)
		}
	}
}
