package prune

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
)

// trainVariant trains a ResNet-8 for one epoch in batches of 16 and loads it from its file. change
// modifies the settings before training.
func trainVariant(t *testing.T, data *dataset.Data, change func(*config.Config)) *engine.Model {
	t.Helper()
	cfg := config.Default()
	cfg.Arch, cfg.Epochs, cfg.Batch, cfg.LRDrops = "resnet-8", 1, 16, nil
	change(&cfg)
	r, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{Dir: filepath.Join(t.TempDir(), "run"), Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	return load(t, r.Checkpoint)
}

// TestPruneVariant checks that Prune clamps the γ of a network in which some γ are fixed.
func TestPruneVariant(t *testing.T) {
	data := tinyData()
	m := trainVariant(t, data, func(c *config.Config) { c.BNEvery, c.NoScale, c.NoShift = 2, "bn", "blocks.0.bn1" })
	small, channels := 0, 0
	for i := range m.Network.Units {
		for _, g := range m.Params.Of(i, arch.Gamma) {
			channels++
			if math.Abs(float64(g)) < 0.3 {
				small++
			}
		}
	}
	r, err := Prune(context.Background(), m, data, Options{Threshold: 0.3, ZeroBeta: true, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if small == 0 || r.Clamped != small || r.Channels != channels {
		t.Errorf("%d of %d channels are clamped, want %d of %d, and at least 1", r.Clamped, r.Channels, small, channels)
	}
	if r.Layers[0].Name != "blocks.0.bn1" || len(r.Layers) != 5 {
		t.Errorf("got layers %+v, want 5, beginning with blocks.0.bn1", r.Layers)
	}
}

// TestNothingToPrune checks the errors for a network whose γ are all fixed.
func TestNothingToPrune(t *testing.T) {
	data := tinyData()
	m := trainVariant(t, data, func(c *config.Config) { c.NoScale = "*" })
	var e *engine.ModelError
	if _, err := Prune(context.Background(), m, data, Options{Threshold: 0.1}); !errors.As(err, &e) {
		t.Errorf("Prune: got error %v, want an *engine.ModelError", err)
	}
	if _, err := Compare(context.Background(), m, data, ComparisonOptions{Policies: []Policy{{Importance: Gamma}}, MACs: []float64{0.5}}); !errors.As(err, &e) {
		t.Errorf("Compare: got error %v, want an *engine.ModelError", err)
	}
}
