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

// TestModelWithoutFile analyses and prunes a model that has a network and parameters, but no
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
		t.Errorf("statistics were taken over %+v, and accuracy over %+v", *r.Reestimated, *r.Accuracy)
	}
	b, err := json.Marshal(r)
	if err != nil || strings.Contains(string(b), `"trainable"`) || strings.Contains(string(b), `"data"`) || !strings.Contains(string(b), `"arch":"resnet-8"`) {
		t.Errorf("the report has the key trainable or data, which are unknown, or lacks the network: %.120s, %v", b, err)
	}

	pruned, err := prune.Prune(context.Background(), m, data, prune.Options{Threshold: 0.2, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if pruned.Clamped != r.Sweep[1].Clamped || pruned.Clamped == 0 || pruned.Before.TestLoss != *r.Sweep[0].TestLoss || pruned.After.TestLoss != *r.Sweep[1].TestLoss {
		t.Errorf("pruning gives %+v, but the sweep gives %+v", pruned, r.Sweep)
	}
	if b, err := json.Marshal(pruned); err != nil || strings.Contains(string(b), `"bytes_`) {
		t.Errorf("the JSON gives a file size, but the model has no file: %s, %v", b, err)
	}
	checkUnchanged(t, m, before)

	path := filepath.Join(t.TempDir(), "pruned.bnz")
	if err := pruned.Model.Save(path); err != nil {
		t.Fatal(err)
	}
	read, err := engine.LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := prune.Prune(context.Background(), read, data, prune.Options{Threshold: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	// The file holds the smaller network, whose outputs are the same up to rounding.
	same := func(a, b engine.Evaluation) bool {
		return a.TestAccuracy == b.TestAccuracy && math.Abs(a.TestLoss-b.TestLoss) < 1e-5
	}
	if !same(again.Before, pruned.After) || !same(again.After, pruned.After) || again.Removed != 0 || len(read.History) != 1 || strings.Contains(string(read.History[0].Parameters), "source") {
		t.Errorf("pruning the saved model gives %+v; its history is %s", again, read.History)
	}
}
