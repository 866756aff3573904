package analysis

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
)

// trainVariant trains a ResNet-8 for one epoch, with default settings that change modifies.
func trainVariant(t *testing.T, data *dataset.Data, change func(*config.Config)) *engine.Model {
	t.Helper()
	cfg := config.Default()
	cfg.Arch, cfg.Epochs, cfg.Batch, cfg.LRDrops = "resnet-8", 1, 16, nil
	change(&cfg)
	r, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{Dir: filepath.Join(t.TempDir(), "run"), Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	m, err := engine.LoadModel(r.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFewerBatchNorms analyzes a network in which some convolutions have no BatchNorm. The report
// must have a layer for each BatchNorm, with the gradients of its parameters and, if a ReLU
// follows it, the sparsity of that ReLU.
func TestFewerBatchNorms(t *testing.T) {
	data := tinyData(64, 32)
	m := trainVariant(t, data, func(c *config.Config) { c.BNEvery = 2 })
	// With γ = 0 and β = -1, all ReLU outputs of this unit are zero.
	offUnit := -1
	for i := range m.Network.Units {
		if m.Network.Units[i].BN == "blocks.2.bn1" {
			offUnit = i
		}
	}
	clear(m.Params.Of(offUnit, arch.Gamma))
	for c := range m.Params.Of(offUnit, arch.Beta) {
		m.Params.Of(offUnit, arch.Beta)[c] = -1
	}
	r, err := Run(context.Background(), m, data, Options{Threads: 2, GradientBatches: 1, Thresholds: []float64{0.01}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range r.Layers {
		names = append(names, l.Name)
		if (l.Sparsity != nil) == strings.Contains(l.Name, "shortcut") || l.Gradient == nil {
			t.Fatalf("%s: sparsity %v, gradient %v; want a gradient, and a sparsity unless it is a shortcut", l.Name, l.Sparsity, l.Gradient)
		}
		if s := l.Sparsity; s != nil && (s.Zero == 1) != (l.Name == "blocks.2.bn1") {
			t.Errorf("%s: the share of zeros is %v, want 1 only for blocks.2.bn1", l.Name, s.Zero)
		}
		// A ReLU whose outputs are all zero passes no gradient.
		if (l.Gradient.Gamma == 0) != (l.Name == "blocks.2.bn1") {
			t.Errorf("%s: the gradient of γ is %v, want 0 only for blocks.2.bn1", l.Name, l.Gradient.Gamma)
		}
	}
	const want = "bn blocks.0.bn1 blocks.1.bn1 blocks.1.shortcut.1 blocks.2.bn1 blocks.2.shortcut.1"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the layers are %s, want %s", got, want)
	}
	// The total includes ReLUs that follow no BatchNorm.
	channels := 0
	for _, u := range m.Network.Units {
		if u.ReLU {
			channels += u.OutShape.C
		}
	}
	if r.Total.Sparsity.Channels != channels {
		t.Errorf("the ReLUs have %d channels, want %d", r.Total.Sparsity.Channels, channels)
	}
}

// TestNothingToAnalyze checks the errors for networks without BatchNorm, or with a fixed γ or β.
func TestNothingToAnalyze(t *testing.T) {
	data := tinyData(64, 32)
	for wantErr, change := range map[string]func(*config.Config){
		"no BatchNorm":   func(c *config.Config) { c.BN, c.Trainable, c.LR = arch.NoBN, "all", 0.01 },
		"of bn is fixed": func(c *config.Config) { c.NoScale = "bn" },
		"blocks.0.bn2":   func(c *config.Config) { c.NoShift = "*.0.bn2" },
	} {
		m := trainVariant(t, data, change)
		var e *engine.ModelError
		if _, err := Run(context.Background(), m, data, Options{}); !errors.As(err, &e) || !strings.Contains(e.Reason, wantErr) {
			t.Errorf("the error is %v, want a *ModelError with %q", err, wantErr)
		}
		if r, err := Describe(m); r != nil || !errors.As(err, &e) {
			t.Errorf("Describe returns %v and error %v, want nil and a *ModelError", r, err)
		}
	}
}
