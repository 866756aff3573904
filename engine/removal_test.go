package engine

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/rundir"
)

// prunedModel returns a trained model with stored statistics. The first third of every
// layer's channels is held constant.
func prunedModel(t *testing.T) (*Model, *run) {
	t.Helper()
	cfg := tinyConfig()
	cfg.WithStats = true
	r, dir := trainedRun(t, cfg)
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

// evaluatorOf returns an evaluator of m on the data of r.
func evaluatorOf(t *testing.T, m *Model, r *run) *Evaluator {
	t.Helper()
	e, err := m.Evaluator(r.data, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// TestCompactModel checks that the compacted model has the same accuracy and loss as the
// clamped one, with the statistics that the model stores.
func TestCompactModel(t *testing.T) {
	m, r := prunedModel(t)
	small, _, err := m.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if small.Network.MACs() >= m.Network.MACs() || small.Kept != nil {
		t.Errorf("%d of %d multiply-accumulates are left, want fewer; Kept is %v, want nil", small.Network.MACs(), m.Network.MACs(), small.Kept)
	}
	whole, compacted := evaluatorOf(t, m, r), evaluatorOf(t, small, r)
	want, err := whole.Evaluate(t.Context(), m.Stored)
	if err != nil {
		t.Fatal(err)
	}
	got, err := compacted.Evaluate(t.Context(), small.Stored)
	if err != nil {
		t.Fatal(err)
	}
	if got.TestAccuracy != want.TestAccuracy || !closeTo(got.TestLoss, want.TestLoss, 1e-5) || got.Statistics != StatisticsStored {
		t.Errorf("compacted: %+v, want %+v, as measured before", got, want)
	}

	m.Params.Of(1, arch.Gamma)[0] = 1
	var bad *ModelError
	if _, _, err := m.Compact(); !errors.As(err, &bad) {
		t.Errorf("a pruned channel whose γ is 1: got error %v, want a *ModelError", err)
	}
}

// TestPredictions checks that the number of right predictions is the one that Evaluate
// counts.
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
		t.Errorf("%d of %d predictions are right, in classes %v; want at least 2 classes and the accuracy and number of pictures of %+v", right, len(predicted), classes, want)
	}
}

// TestPrunedFile checks that a file lists the pruned channels, that readers which ignore the
// list read the same parameters, and that invalid lists are refused.
func TestPrunedFile(t *testing.T) {
	m, _ := prunedModel(t)
	m.Kept[3] = nil // no channel of this unit is pruned
	path := filepath.Join(t.TempDir(), "pruned.bnz")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	read, err := LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read.Kept, m.Kept) {
		t.Errorf("kept %v, want %v", read.Kept, m.Kept)
	}
	f, err := checkpoint.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, listed := f.Header.Pruned[m.Network.Units[3].BN]; listed || len(f.Header.Pruned) != len(m.Network.Units)-1 {
		t.Errorf("the header lists pruned channels %v, want some of every BatchNorm but %s", f.Header.Pruned, m.Network.Units[3].BN)
	}
	f.Header.Pruned = nil
	unpruned, err := newModel(f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := weightsHash(unpruned.Params), weightsHash(read.Params); unpruned.Kept != nil || got != want {
		t.Errorf("without the list, Kept is %v and the parameters have hash %s, want nil and %s", unpruned.Kept, got, want)
	}

	name := m.Network.Units[1].BN
	for what, wrong := range map[string][]int{"out of range": {0, 99}, "descending": {5, 4}, "the same channel twice": {4, 4}, "negative": {-1}, "a γ that is not 0": {14}} {
		f.Header.Pruned = map[string][]int{name: wrong}
		if _, err := newModel(f); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got error %v, want one that names %s", what, err, name)
		}
	}
	f.Header.Pruned = map[string][]int{"elsewhere": {0}}
	if _, err := newModel(f); err == nil {
		t.Error("a BatchNorm that the network does not have: newModel returned no error, want one")
	}
	f.Header.Pruned = map[string][]int{"": {0}}
	if _, err := newModel(f); err == nil {
		t.Error("an empty name of a BatchNorm: newModel returned no error, want one")
	}

	m.Params.Of(1, arch.Gamma)[0] = 1
	var bad *ModelError
	if _, err := m.File(); !errors.As(err, &bad) {
		t.Errorf("writing a pruned channel whose γ is 1: got error %v, want a *ModelError", err)
	}
}

// evaluateReestimated evaluates a model of the embedded sample with re-estimated statistics.
func evaluateReestimated(t *testing.T, m *Model) (Evaluation, error) {
	t.Helper()
	data, err := m.OpenData("")
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Evaluator(data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	stats, err := e.Reestimate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e.Evaluate(t.Context(), stats)
}

// TestGoldenPrunedFile reads a file that every later version must be able to read. It holds a
// resnet-8 of a quarter of the width, trained for one epoch on 500 pictures of the sample.
// prune --remove 0.4 pruned 34 of its 84 channels.
func TestGoldenPrunedFile(t *testing.T) {
	m, err := LoadModel("testdata/pruned.bnz")
	if err != nil {
		t.Fatal(err)
	}
	pruned, total := m.Pruned(), 0
	for _, channels := range pruned {
		total += len(channels)
	}
	if total != 34 || !slices.Equal(pruned["blocks.1.bn1"], []int{0, 1, 5, 6}) {
		t.Errorf("the %d channels %v are pruned, want 34, of which 0, 1, 5 and 6 are those of blocks.1.bn1", total, pruned)
	}
	small, _, err := m.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := arch.All.Parameters(small.Network), 3094; got != want {
		t.Errorf("%d parameters are left, want %d", got, want)
	}
	got, err := evaluateReestimated(t, small)
	if err != nil || !closeTo(got.TestAccuracy, 0.12, 0.003) || !closeTo(got.TestLoss, 2.4391, 1e-4) {
		t.Errorf("evaluation %+v, %v; want accuracy 0.12 and loss 2.4391", got, err)
	}
}

// TestGoldenPrunedWeights reads a file that every later version must be able to read. It holds
// the smaller network of TestGoldenPrunedFile after all its tensors were trained. Its header
// lists the units of the network. The expected accuracy and loss were measured by PyTorch on the
// exported network.
func TestGoldenPrunedWeights(t *testing.T) {
	m, err := LoadModel("testdata/pruned-weights.bnz")
	if err != nil {
		t.Fatal(err)
	}
	if got := arch.All.Parameters(m.Network); got != 3094 || m.Network.Name != "resnet-8" || m.Origin != nil {
		t.Errorf("got %s of %d parameters with Origin %v, want resnet-8 of 3094 without Origin", m.Network.Name, got, m.Origin)
	}
	if got := m.Origins["blocks.1.conv1"]; !slices.Equal(got, []int{-1, 2, 3, 4, 7}) {
		t.Errorf("the origins of the channels of blocks.1.conv1 are %v, want [-1 2 3 4 7]", got)
	}
	got, err := evaluateReestimated(t, m)
	if err != nil || !closeTo(got.TestAccuracy, 0.124, 0.002) || !closeTo(got.TestLoss, 2.42948, 1e-4) {
		t.Errorf("evaluation %+v, %v; want accuracy 0.124 and loss 2.42948", got, err)
	}
}
