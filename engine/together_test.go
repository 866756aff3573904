package engine

import (
	"bytes"
	"path/filepath"
	"testing"

	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// TestCombinedSettings combines settings of initial values, loss, penalties, optimizer, schedule,
// BatchNorm and data. An interrupted run must resume to the same bytes as an uninterrupted
// one, and its file must be enough to regenerate the weights, find the data and repeat the
// measurement.
func TestCombinedSettings(t *testing.T) {
	data, err := dataset.Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.Seed = 2, nil, 5
	cfg.Init, cfg.GammaInit, cfg.BetaInit = "orthogonal", "uniform-symmetric", "constant:0.1"
	cfg.Schedule, cfg.LRPerStep, cfg.LRWarmup = config.Cosine, true, 1
	cfg.BNEps, cfg.BNMomentum, cfg.LabelSmoothing, cfg.GammaL1 = 1e-3, 0.5, 0.1, 1e-4
	cfg.SubsetPerClass, cfg.Validation, cfg.RandomLabels, cfg.Normalise, cfg.Brightness = 5, 40, true, string(dataset.PerPixel), 0.2
	for optimizer, set := range map[string]string{config.SGD: "bn+random-2", config.Adam: "random-2", config.AdamW: "bn+output"} {
		cfg.Optimizer, cfg.Trainable = optimizer, set
		whole, parts := t.TempDir(), t.TempDir()
		last := mustTrain(t, cfg, data, TrainOptions{Dir: whole, Threads: 2}).Epochs[1]
		interruptAfter(t, cfg, data, TrainOptions{Dir: parts, Threads: 1}, 4)
		mustTrain(t, cfg, data, TrainOptions{Dir: parts, Threads: 2, Resume: true})
		if !bytes.Equal(readFile(t, parts, rundir.CheckpointFile), readFile(t, whole, rundir.CheckpointFile)) {
			t.Errorf("%s, %s: the checkpoint of the resumed run differs from that of the uninterrupted one, want the same bytes", optimizer, set)
		}

		m, err := LoadModel(filepath.Join(whole, rundir.ResumeFile)) // it stores statistics
		if err != nil {
			t.Fatal(err)
		}
		found, err := m.OpenData("")
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			split *dataset.Split
			loss  float64
		}{"test": {found.Test, last.TestLoss}, "validation": {found.Validation, last.ValidationLoss}} {
			measured := *found
			measured.Test = c.split
			e, err := m.Evaluator(&measured, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := e.Evaluate(t.Context(), m.Stored); err != nil || got.TestLoss != c.loss {
				t.Errorf("%s, %s: %s loss %v, %v; want %v, as the run measured", optimizer, set, name, got.TestLoss, err, c.loss)
			}
			e.Close()
		}
	}
}
