package analysis

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/nn"
	"bnkit/prune"
)

// TestModelWithoutFile analyzes and prunes a model that has a network and parameters, but no
// file, seed, data set or statistics.
func TestModelWithoutFile(t *testing.T) {
	data := tinyData(64, 32)
	net, err := arch.Build("resnet-8", arch.Options{Input: arch.Shape{C: data.Train.Channels, H: data.Train.Height, W: data.Train.Width}, Classes: len(data.Classes)})
	if err != nil {
		t.Fatal(err)
	}
	m := &engine.Model{Network: net, Params: nn.NewParams[float32](net, nil)}
	m.Params.Initialise(5)
	before := snapshot(m)
	r, err := Run(context.Background(), m, data, Options{Threads: 2, GradientBatches: 1, Thresholds: []float64{0.2, 1e9}})
	if err != nil {
		t.Fatal(err)
	}
	// All 64 pictures fit into one batch.
	if *r.Reestimated != (Scope{Split: "train", Statistics: engine.StatisticsBatch, Batches: 1, Examples: 64}) || r.Accuracy.Examples != 32 {
		t.Errorf("statistics were re-estimated over %+v and accuracy measured over %+v, want 64 training pictures in 1 batch and 32 test pictures", *r.Reestimated, *r.Accuracy)
	}
	b, err := json.Marshal(r)
	if err != nil || strings.Contains(string(b), `"trainable"`) || strings.Contains(string(b), `"data"`) || !strings.Contains(string(b), `"arch":"resnet-8"`) {
		t.Errorf("the report is %s (error %v), want resnet-8 without the keys trainable and data", b, err)
	}

	pruned, err := prune.Prune(context.Background(), m, data, prune.Options{Threshold: 0.2, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if pruned.Clamped != r.Sweep[1].Clamped || pruned.Clamped == 0 || pruned.Before.TestLoss != *r.Sweep[0].TestLoss || pruned.After.TestLoss != *r.Sweep[1].TestLoss {
		t.Errorf("pruning clamps %d γ, with the loss %v before and %v after; want the numbers of the sweep, %s, and not 0", pruned.Clamped, pruned.Before.TestLoss, pruned.After.TestLoss, jsonOf(r.Sweep))
	}
	if b, err := json.Marshal(pruned); err != nil || strings.Contains(string(b), `"bytes_`) {
		t.Errorf("the JSON of a model without a file is %s (error %v), want no file size", b, err)
	}
	checkUnchanged(t, m, before)

	path := filepath.Join(t.TempDir(), "pruned.bnz")
	if err := pruned.Model.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := engine.LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	prunedAgain, err := prune.Prune(context.Background(), loaded, data, prune.Options{Threshold: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	// The file holds the smaller network, whose outputs are the same up to rounding.
	same := func(a, b engine.Evaluation) bool {
		return a.TestAccuracy == b.TestAccuracy && math.Abs(a.TestLoss-b.TestLoss) < 1e-5
	}
	if !same(prunedAgain.Before, pruned.After) || !same(prunedAgain.After, pruned.After) || prunedAgain.Removed != 0 {
		t.Errorf("pruning the saved model gives %+v before, %+v after and %d removed channels; want the numbers after the first pruning, %+v, and no removed channels", prunedAgain.Before, prunedAgain.After, prunedAgain.Removed, pruned.After)
	}
	if len(loaded.History) != 1 || strings.Contains(string(loaded.History[0].Parameters), "source") {
		t.Errorf("the history of the saved model is %s, want one event without a source", loaded.History)
	}
}
