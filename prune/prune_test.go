package prune

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// tinyData returns a data set of 8×8 grey pictures. Pictures of higher classes are brighter.
func tinyData() *dataset.Data {
	split := func(n int) *dataset.Split {
		s := &dataset.Split{Channels: 1, Height: 8, Width: 8}
		for i := range n {
			s.Labels = append(s.Labels, uint8(i%3))
			for p := range 64 {
				s.Images = append(s.Images, uint8((i*37+p*23)%80+i%3*80))
			}
		}
		return s
	}
	return &dataset.Data{Name: "sample", Classes: []string{"dark", "grey", "bright"}, Digest: "tiny",
		Train: split(64), Test: split(30), Mean: []float32{0.4}, Std: []float32{0.3}}
}

// trainedModel trains ResNet-8 for two epochs and loads it from its file, which stores running
// statistics if withStats is set.
func trainedModel(t *testing.T, data *dataset.Data, withStats bool) *engine.Model {
	t.Helper()
	cfg := config.Default()
	cfg.Arch, cfg.Epochs, cfg.Batch, cfg.LRDrops, cfg.WithStats = "resnet-8", 2, 16, nil, withStats
	r, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{Dir: filepath.Join(t.TempDir(), "run"), Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	return load(t, r.Checkpoint)
}

// reestimated returns an evaluator of m, which the end of the test closes, and m's re-estimated
// statistics.
func reestimated(t *testing.T, m *engine.Model, data *dataset.Data) (*engine.Evaluator, *nn.Statistics) {
	t.Helper()
	e, err := m.Evaluator(data, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	stats, err := e.Reestimate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return e, stats
}

// load reads a model.
func load(t *testing.T, path string) *engine.Model {
	t.Helper()
	m, err := engine.LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPrune prunes a model, saves and loads it, and compares every γ and β with the source.
func TestPrune(t *testing.T) {
	data := tinyData()
	for _, withStats := range []bool{false, true} {
		for _, zeroBeta := range []bool{false, true} {
			m := trainedModel(t, data, withStats)
			stored := m.Stored
			before, err := os.ReadFile(m.Source.Path)
			if err != nil {
				t.Fatal(err)
			}
			source := load(t, m.Source.Path)
			const threshold = 0.25
			r, err := Prune(context.Background(), m, data, Options{Threshold: threshold, ZeroBeta: zeroBeta, Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range m.Params.Values {
				if !slices.Equal(v, source.Params.Values[i]) {
					t.Errorf("Prune changed the source's %s, want no change", m.Params.Tensors[i].Name)
				}
			}
			if m.Stored != stored {
				t.Error("Prune changed the source's statistics, want no change")
			}

			path := filepath.Join(t.TempDir(), "pruned.bnz")
			if err := r.Model.Save(path); err != nil {
				t.Fatal(err)
			}
			pruned := load(t, path)
			clamped, channels := 0, 0
			for i := range m.Network.Units {
				u := &m.Network.Units[i]
				gamma, beta := source.Params.Of(i, arch.Gamma), source.Params.Of(i, arch.Beta)
				layerClamped := 0
				for c := range gamma {
					wantGamma, wantBeta := gamma[c], beta[c]
					if math.Abs(float64(gamma[c])) < threshold {
						layerClamped++
						wantGamma = 0
						if zeroBeta {
							wantBeta = 0
						}
					}
					if g, b := pruned.Params.Of(i, arch.Gamma)[c], pruned.Params.Of(i, arch.Beta)[c]; g != wantGamma || b != wantBeta {
						t.Errorf("%s[%d]: γ %v and β %v, want %v and %v", m.Network.Units[i].BN, c, g, b, wantGamma, wantBeta)
					}
				}
				if want := (Layer{u.BN, u.OutShape.H, u.OutShape.W, len(gamma), layerClamped, r.Layers[i].Removed}); r.Layers[i] != want {
					t.Errorf("layer %+v, want %+v", r.Layers[i], want)
				}
				clamped, channels = clamped+layerClamped, channels+len(gamma)
			}
			if r.Clamped != clamped || r.Channels != channels || clamped == 0 || clamped == channels {
				t.Errorf("%d of %d channels are clamped, want %d of %d, neither none nor all", r.Clamped, r.Channels, clamped, channels)
			}
			if r.Beta != map[bool]string{false: "kept", true: "zeroed"}[zeroBeta] {
				t.Errorf("ZeroBeta %v: Beta is %q, want zeroed with ZeroBeta and kept without", zeroBeta, r.Beta)
			}
			if (pruned.Stored != nil) != withStats {
				t.Errorf("the file stores statistics: %v, want %v", pruned.Stored != nil, withStats)
			}

			evaluator, err := pruned.Evaluator(data, 1)
			if err != nil {
				t.Fatal(err)
			}
			stats, err := evaluator.Reestimate(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			after, err := evaluator.Evaluate(context.Background(), stats)
			if err != nil {
				t.Fatal(err)
			}
			if after != r.After || r.After.Examples != 30 {
				t.Errorf("the file evaluates to %+v, want the result's evaluation %+v of 30 pictures", after, r.After)
			}
			if withStats && !slices.EqualFunc(pruned.Stored.Mean, stats.Mean, slices.Equal[[]float64]) {
				t.Errorf("the file stores the means %v, want those re-estimated after pruning, %v", pruned.Stored.Mean, stats.Mean)
			}
			evaluator.Close()

			checkProvenance(t, pruned, before, r)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if r.BytesBefore != int64(len(before)) || r.Model.Source.Bytes != info.Size() {
				t.Errorf("the source has %d bytes and the pruned file %d, want %d and %d", r.BytesBefore, r.Model.Source.Bytes, len(before), info.Size())
			}
		}
	}
}

// checkProvenance checks the history of a pruned model.
func checkProvenance(t *testing.T, pruned *engine.Model, source []byte, r *Result) {
	t.Helper()
	p := pruned.History
	if len(p) != 2 || p[0].Action != "train" || p[1].Action != "prune" {
		t.Fatalf("provenance %+v, want the events train and prune", p)
	}
	var e Event
	if err := json.Unmarshal(p[1].Parameters, &e); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(source)
	if want := (Event{Threshold: r.Threshold, Remove: r.Remove, Beta: r.Beta, Clamped: r.Clamped, Source: hex.EncodeToString(sum[:])}); !reflect.DeepEqual(e, want) {
		t.Errorf("the event's parameters are %+v, want %+v", e, want)
	}
}

// TestPruneErrors checks invalid thresholds and a cancelled context.
func TestPruneErrors(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	for _, threshold := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		var bad *OptionError
		if _, err := Prune(context.Background(), m, data, Options{Threshold: threshold}); !errors.As(err, &bad) {
			t.Errorf("threshold %v: got error %v, want an *OptionError", threshold, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Prune(ctx, m, data, Options{Threshold: 0.1}); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: got error %v, want %v", err, context.Canceled)
	}
}

// TestStoresPruned checks for several trainable sets that a pruned model can be saved, that the
// file stores γ and β as well, and that Prune does not change its source.
func TestStoresPruned(t *testing.T) {
	data := tinyData()
	for set, want := range map[string]arch.TrainableSet{
		"output": arch.BNOutput, "beta": arch.BN, "random-2": "bn+random-2", "gamma": arch.BN, "bn+random-2": "bn+random-2",
	} {
		cfg := config.Default()
		cfg.Arch, cfg.Epochs, cfg.Batch, cfg.LRDrops, cfg.Trainable, cfg.GammaInit = "resnet-8", 1, 16, nil, set, "uniform"
		r, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{Dir: filepath.Join(t.TempDir(), "run"), Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		m, source := load(t, r.Checkpoint), load(t, r.Checkpoint)
		result, pruned := pruneAndSave(t, m, data, Options{Threshold: 0.3, ZeroBeta: true})
		if pruned.Origin.Trainable != want || m.Origin.Trainable != arch.TrainableSet(set) {
			t.Errorf("%s: the trainable set of the file is %s, want %s; that of the source is %s, want it unchanged", set, pruned.Origin.Trainable, want, m.Origin.Trainable)
		}
		if result.Clamped == 0 {
			t.Errorf("%s: no channel is clamped, want at least one", set)
		}
		for i := range m.Network.Units {
			for c, g := range source.Params.Of(i, arch.Gamma) {
				b := source.Params.Of(i, arch.Beta)[c]
				if math.Abs(float64(g)) < 0.3 {
					g, b = 0, 0
				}
				if gotGamma, gotBeta := pruned.Params.Of(i, arch.Gamma)[c], pruned.Params.Of(i, arch.Beta)[c]; gotGamma != g || gotBeta != b {
					t.Errorf("%s: channel %d of unit %d has γ %v and β %v, want %v and %v", set, c, i, gotGamma, gotBeta, g, b)
				}
			}
		}
		for i, v := range m.Params.Values {
			if !slices.Equal(v, source.Params.Values[i]) {
				t.Errorf("%s: Prune changed the source's %s, want no change", set, m.Params.Tensors[i].Name)
			}
		}
	}
}
