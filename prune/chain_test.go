package prune

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
)

// pruneAndSave prunes a model, saves it, and returns the result and the loaded model.
func pruneAndSave(t *testing.T, m *engine.Model, data *dataset.Data, o Options) (*Result, *engine.Model) {
	t.Helper()
	r, err := Prune(context.Background(), m, data, o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pruned.bnz")
	if err := r.Model.Save(path); err != nil {
		t.Fatal(err)
	}
	return r, load(t, path)
}

// changedElements returns the indices of the elements that differ between two models, by tensor.
func changedElements(a, b *engine.Model) map[string][]int {
	d := map[string][]int{}
	for i, values := range a.Params.Values {
		for j, v := range values {
			if math.Float32bits(v) != math.Float32bits(b.Params.Values[i][j]) {
				name := a.Params.Tensors[i].Name
				d[name] = append(d[name], j)
			}
		}
	}
	return d
}

// TestOnlySmallGammas checks that Prune changes only γ with |γ| below the threshold and, with
// ZeroBeta, their β. It compares every element of every tensor with the source.
func TestOnlySmallGammas(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	// These γ are equal to the threshold in size, just below it, and well above it. Only
	// those below it must be clamped.
	const threshold = 0.25
	copy(m.Params.Of(2, arch.Gamma), []float32{threshold, -threshold, math.Nextafter32(threshold, 0), -math.Nextafter32(threshold, 0), 0.6, -0.6})
	copy(m.Params.Of(2, arch.Beta), []float32{1, 2, 3, 4, 5, 6})
	source := filepath.Join(t.TempDir(), "source.bnz")
	if err := m.Save(source); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, zeroBeta := range []bool{false, true} {
		m := load(t, source)
		_, pruned := pruneAndSave(t, m, data, Options{Threshold: threshold, ZeroBeta: zeroBeta})
		want := map[string][]int{}
		for i := range m.Network.Units {
			for c, g := range m.Params.Of(i, arch.Gamma) {
				if -threshold < g && g < threshold {
					want[m.Network.Units[i].BN+".weight"] = append(want[m.Network.Units[i].BN+".weight"], c)
					if zeroBeta {
						want[m.Network.Units[i].BN+".bias"] = append(want[m.Network.Units[i].BN+".bias"], c)
					}
				}
			}
		}
		got := changedElements(m, pruned)
		for name, elements := range want {
			if !slices.Equal(got[name], elements) {
				t.Errorf("%s: elements %v changed, want %v", name, got[name], elements)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("the elements %v changed too, want no others", got)
		}
		if g := pruned.Params.Of(2, arch.Gamma)[:4]; !slices.Equal(g, []float32{threshold, -threshold, 0, 0}) {
			t.Errorf("the γ around the threshold became %v, want %v", g, []float32{threshold, -threshold, 0, 0})
		}
		after, err := os.ReadFile(source)
		if err != nil || !bytes.Equal(after, before) {
			t.Errorf("the source file has %d bytes after pruning, error %v; want the same %d bytes as before", len(after), err, len(before))
		}
	}
}

// TestBefore checks that Result.Before is an evaluation of the source, and that After differs.
func TestBefore(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, true)
	r, _ := pruneAndSave(t, m, data, Options{Threshold: 0.4})
	evaluator, stats := reestimated(t, m, data)
	want, err := evaluator.Evaluate(context.Background(), stats)
	if err != nil {
		t.Fatal(err)
	}
	if r.Before != want || r.Before.Statistics != engine.StatisticsReestimated {
		t.Errorf("Before is %+v, want %+v with statistics %s", r.Before, want, engine.StatisticsReestimated)
	}
	if r.After == r.Before {
		t.Errorf("After equals Before, %+v, although %d of %d γ are clamped; want a change", r.After, r.Clamped, r.Channels)
	}
}

// TestPruneTwice prunes a network that is already pruned, with the same threshold and with a
// larger one.
func TestPruneTwice(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, true)
	first, prunedOnce := pruneAndSave(t, m, data, Options{Threshold: 0.2})
	repeated, reapplied := pruneAndSave(t, prunedOnce, data, Options{Threshold: 0.2})
	if repeated.Clamped != first.Clamped || repeated.Before != first.After || repeated.After != first.After {
		t.Errorf("pruning with the same threshold again clamps %d channels and gives Before %+v and After %+v; want %d, and twice the first After, %+v",
			repeated.Clamped, repeated.Before, repeated.After, first.Clamped, first.After)
	}
	if d := changedElements(prunedOnce, reapplied); len(d) > 0 {
		t.Errorf("pruning with the same threshold again changed %v, want no change", d)
	}
	second, prunedTwice := pruneAndSave(t, prunedOnce, data, Options{Threshold: 0.5, ZeroBeta: true})
	if second.Clamped <= first.Clamped {
		t.Errorf("%d channels are clamped with threshold 0.5, want more than the %d with threshold 0.2", second.Clamped, first.Clamped)
	}
	direct, _ := pruneAndSave(t, m, data, Options{Threshold: 0.5, ZeroBeta: true})
	if second.After != direct.After || second.Clamped != direct.Clamped {
		t.Errorf("pruning in two steps clamps %d channels and gives %+v, want the %d and %+v of one step", second.Clamped, second.After, direct.Clamped, direct.After)
	}

	events := prunedTwice.History
	if len(events) != 3 || len(m.History) != 1 || len(prunedOnce.History) != 2 {
		t.Fatalf("histories of %d, %d and %d events, want 1, 2 and 3", len(m.History), len(prunedOnce.History), len(events))
	}
	for i, before := range prunedOnce.History {
		if events[i].Action != before.Action || !bytes.Equal(events[i].Parameters, before.Parameters) {
			t.Errorf("event %d is %+v after the second pruning, want the earlier %+v", i, events[i], before)
		}
	}
	var e map[string]any
	if err := json.Unmarshal(events[2].Parameters, &e); err != nil {
		t.Fatal(err)
	}
	if events[2].Action != "prune" || e["threshold"] != 0.5 || e["beta"] != "zeroed" || e["source_sha256"] != prunedOnce.Source.SHA256 {
		t.Errorf("the last event is %s with parameters %v, want prune with threshold 0.5, beta zeroed and the source %s", events[2].Action, e, prunedOnce.Source.SHA256)
	}
}

// TestAllTensorsTrained prunes every channel of a network in which all tensors were trained.
func TestAllTensorsTrained(t *testing.T) {
	data := tinyData()
	cfg := config.Default()
	cfg.Arch, cfg.Trainable, cfg.Epochs, cfg.Batch, cfg.LRDrops = "resnet-8", string(arch.All), 1, 16, nil
	run, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{Dir: filepath.Join(t.TempDir(), "run"), Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, run.Checkpoint)
	r, pruned := pruneAndSave(t, m, data, Options{Threshold: 1e9})
	for name := range changedElements(m, r.Model) {
		if !isGamma(m, name) {
			t.Errorf("%s has changed, want changes only in γ", name)
		}
	}
	// Because weights are stored, the file holds the smaller network, in which each layer
	// keeps at least one channel, and here exactly one.
	for i := range pruned.Network.Units {
		if u := &pruned.Network.Units[i]; u.OutShape.C != 1 {
			t.Errorf("%s of the file has %d channels, want 1", u.Name, u.OutShape.C)
		}
	}
	if repeated, _ := pruneAndSave(t, pruned, data, Options{Threshold: 1e9}); repeated.Before.TestAccuracy != r.After.TestAccuracy || math.Abs(repeated.Before.TestLoss-r.After.TestLoss) > 1e-6 {
		t.Errorf("the file evaluates to %+v, want the evaluation of the clamped network, %+v", repeated.Before, r.After)
	}
	// If every γ is zero, the output is the same for all pictures, so the accuracy is the
	// share of one class, a third.
	if r.Clamped != r.Channels || r.After.TestAccuracy != 1.0/3 {
		t.Errorf("%d of %d channels are clamped and the accuracy is %v, want all and 1/3", r.Clamped, r.Channels, r.After.TestAccuracy)
	}
}

// isGamma reports whether the tensor with the given name is a γ.
func isGamma(m *engine.Model, name string) bool {
	for i := range m.Params.Tensors {
		if m.Params.Tensors[i].Name == name {
			return m.Params.Tensors[i].Kind == arch.Gamma
		}
	}
	return false
}
