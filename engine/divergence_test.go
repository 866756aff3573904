package engine

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// mustLoad loads a model, or fails the test.
func mustLoad(t *testing.T, path string) *Model {
	t.Helper()
	m, err := LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// unstableConfig returns settings of a network without BatchNorm whose learning rate is too
// large for it.
func unstableConfig() config.Config {
	cfg := tinyConfig()
	cfg.BN, cfg.Trainable, cfg.Schedule, cfg.LRDrops = "none", "all", config.Constant, nil
	cfg.Epochs, cfg.LR = 1, 16
	cfg.OnDivergence, cfg.MaxRollbacks = config.Rollback, 20
	return cfg
}

// TestRollback checks that a run whose first epoch diverges several times ends with the same
// parameters as a run that begins with the last, lowest rate.
func TestRollback(t *testing.T) {
	data, cfg := synthetic(64, 20), unstableConfig()
	var rollbacks []*RollbackError
	rolled := mustTrain(t, cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 1, Warn: func(err error) {
		var e *RollbackError
		if errors.As(err, &e) {
			rollbacks = append(rollbacks, e)
		}
	}})
	if len(rollbacks) < 2 {
		t.Fatalf("%d rollbacks, want at least 2", len(rollbacks))
	}
	for i, e := range rollbacks {
		if e.Rollback != i+1 || e.Most != 20 || e.Epochs != 0 || e.Diverged.LearningRate != math.Ldexp(cfg.LR, -i) {
			t.Errorf("rollback %d: %+v of %+v; want number %d of 20, to epoch 0, from rate %g", i, e, e.Diverged, i+1, math.Ldexp(cfg.LR, -i))
		}
	}
	cfg.OnDivergence, cfg.MaxRollbacks = config.Stop, config.Default().MaxRollbacks
	cfg.LR = math.Ldexp(cfg.LR, -len(rollbacks))
	want := mustTrain(t, cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 1})
	if a, b := rolled.Epochs[0], want.Epochs[0]; a.TrainLoss != b.TrainLoss || a.TestLoss != b.TestLoss || a.LearningRate != b.LearningRate {
		t.Errorf("epoch %+v after rollbacks, want %+v, as with rate %g from the start", a, b, cfg.LR)
	}
	a, b := mustLoad(t, rolled.Checkpoint), mustLoad(t, want.Checkpoint)
	for i := range a.Params.Values {
		if !slices.Equal(a.Params.Values[i], b.Params.Values[i]) {
			t.Errorf("%s differs from that of a run with rate %g, want the same values", a.Params.Tensors[i].Name, cfg.LR)
		}
	}
}

// TestRollbackToEpoch checks a run that diverges after complete epochs: it keeps them, the
// later ones have a lower rate, and a run that is interrupted many times ends with the same
// bytes.
func TestRollbackToEpoch(t *testing.T) {
	data, cfg := synthetic(64, 20), unstableConfig()
	cfg.Epochs, cfg.LR, cfg.LRWarmup = 7, 1, 5
	var rollbacks []*RollbackError
	warn := func(err error) {
		var e *RollbackError
		if errors.As(err, &e) {
			rollbacks = append(rollbacks, e)
		}
	}
	dir := t.TempDir()
	whole := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2, Warn: warn})
	if !slices.ContainsFunc(rollbacks, func(e *RollbackError) bool { return e.Epochs > 0 && e.Diverged.Checkpoint != "" }) {
		t.Fatalf("none of %d rollbacks is to a complete epoch, want at least one", len(rollbacks))
	}
	schedule := cfg.LearningRate()
	for i, m := range whole.Epochs {
		halvings := 0
		for _, e := range rollbacks {
			if e.Diverged.Epoch <= m.Epoch {
				halvings++
			}
		}
		if want := math.Ldexp(schedule.Rate(float64(i)), -halvings); m.Epoch != i+1 || m.LearningRate != want {
			t.Errorf("row %d: epoch %d, rate %g; want epoch %d, rate %g", i, m.Epoch, m.LearningRate, i+1, want)
		}
	}

	interrupted := t.TempDir()
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithCancel(t.Context())
		steps, epochs := 0, 0
		// An epoch has four steps. Each attempt completes an epoch and stops after 5, 6 or 7
		// steps, or later if rollbacks delay the end of that epoch.
		_, err := Train(ctx, cfg, data, TrainOptions{
			Dir: interrupted, Threads: 1, Resume: attempt > 1,
			Epoch: func(rundir.EpochMetrics) { epochs++ },
			Step: func(StepReport) {
				if steps++; epochs > 0 && steps >= 5+attempt%3 {
					cancel()
				}
			},
		})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, ErrInterrupted) || attempt > 50 {
			t.Fatal(err)
		}
	}
	for _, name := range []string{rundir.CheckpointFile, rundir.ConfigFile} {
		if !bytes.Equal(readFile(t, dir, name), readFile(t, interrupted, name)) {
			t.Errorf("%s of the interrupted run differs from that of the uninterrupted one, want the same bytes", name)
		}
	}
}

// TestRollbackLimit checks that a run that diverges at every rate stops after the last
// rollback, with an error that names a tensor.
func TestRollbackLimit(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Trainable, cfg.LR, cfg.OnDivergence, cfg.MaxRollbacks = "all", 1e38, config.Rollback, 2
	warnings := 0
	_, err := Train(t.Context(), cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 1, Warn: func(error) { warnings++ }})
	var e *DivergedError
	if !errors.As(err, &e) || e.LearningRate != 1e38/4 || e.Tensor == "" || e.Checkpoint != "" {
		t.Errorf("got error %v, want a *DivergedError at a quarter of the rate that names a tensor and no checkpoint", err)
	}
	if warnings != 2 {
		t.Errorf("%d warnings, want one for each of 2 rollbacks", warnings)
	}
}

// TestDegenerateData checks that losses are finite on data from which nothing can be learned:
// equal pictures, black pictures, and a single class.
func TestDegenerateData(t *testing.T) {
	fill := func(d *dataset.Data, value uint8) {
		for _, s := range []*dataset.Split{d.Train, d.Test} {
			for i := range s.Images {
				s.Images[i] = value
			}
		}
	}
	for name, change := range map[string]func(*dataset.Data){
		"equal pictures": func(d *dataset.Data) { fill(d, 100) },
		"black pictures": func(d *dataset.Data) { fill(d, 0) },
		"one class": func(d *dataset.Data) {
			clear(d.Train.Labels)
			clear(d.Test.Labels)
		},
	} {
		for _, gamma := range []string{"uniform", "constant:0"} {
			data, cfg := synthetic(64, 20), tinyConfig()
			change(data)
			cfg.Epochs, cfg.GammaInit = 2, gamma
			r := mustTrain(t, cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 1})
			for _, e := range r.Epochs {
				if !isFinite(e.TrainLoss) || !isFinite(e.TestLoss) {
					t.Errorf("%s, γ %s: losses %v and %v in epoch %d, want finite ones", name, gamma, e.TrainLoss, e.TestLoss, e.Epoch)
				}
			}
			m := mustLoad(t, r.Checkpoint)
			evaluator, err := m.Evaluator(data, 1)
			if err != nil {
				t.Fatal(err)
			}
			stats, err := evaluator.Reestimate(t.Context())
			if err == nil {
				_, err = evaluator.Evaluate(t.Context(), stats)
			}
			if err != nil {
				t.Errorf("%s, γ %s: measuring returns error %v, want none", name, gamma, err)
			}
			evaluator.Close()
		}
	}
}
