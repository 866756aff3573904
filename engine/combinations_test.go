package engine

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// TestEveryCombination takes a step of every kind of network with every
// trainable set and every variant of BatchNorm: its loss is finite, what the set
// trains moves and nothing else, and the file of it loads as the same network.
// Combinations that train nothing are refused before there is data. Package nn's
// TestEveryNetwork compares the gradients of the same combinations with float64.
func TestEveryCombination(t *testing.T) {
	networks := []struct {
		name string
		set  func(*Config)
	}{
		{"resnet-8", func(c *Config) {}},
		{"resnet-8, option A", func(c *Config) { c.Shortcut = "A" }},
		{"wrn-8-2", func(c *Config) { c.Arch = "wrn-8-2" }},
		{"resnet-11-bottleneck", func(c *Config) { c.Arch = "resnet-11-bottleneck" }},
		{"vgg-38", func(c *Config) { c.Arch = "vgg-38" }},
		{"convnet", func(c *Config) { c.Arch = "convnet" }},
		{"resnet18", func(c *Config) { c.Arch, c.Stem = "resnet18", "cifar" }},
	}
	variants := []struct {
		name    string
		set     func(*Config)
		refused string // sets that train nothing
	}{
		{"BatchNorm", func(c *Config) {}, ""},
		{"no BatchNorm", func(c *Config) { c.BN = arch.NoBN }, "bn gamma beta"},
		{"every second", func(c *Config) { c.BNEvery = 2 }, ""},
		{"no scale", func(c *Config) { c.NoScale = "*" }, "gamma"},
		{"no shift", func(c *Config) { c.NoShift = "*" }, "beta"},
		{"neither", func(c *Config) { c.NoScale, c.NoShift = "*", "*" }, "bn gamma beta"},
	}
	data := synthetic(16, 8)
	for _, network := range networks {
		for _, v := range variants {
			large := network.name == "resnet18"
			if large && (testing.Short() || v.name != "BatchNorm") {
				continue
			}
			t.Run(network.name+", "+v.name, func(t *testing.T) {
				for _, set := range append(everySet(), string(arch.Nothing)) {
					cfg := tinyConfig()
					cfg.Trainable, cfg.Epochs, cfg.LR, cfg.WithStats = set, 1, 0.01, true
					network.set(&cfg)
					v.set(&cfg)
					refused := slices.Contains(strings.Fields(v.refused), set) ||
						// Its shortcuts are no convolutions.
						set == string(arch.BNShortcut) && strings.Contains(v.refused, "bn") && (network.name == "resnet-8, option A" || network.name == "convnet")
					if refused {
						checkRefused(t, cfg)
					} else {
						checkStep(t, cfg, data)
					}
				}
			})
		}
	}
}

// checkRefused trains without data, which would panic.
func checkRefused(t *testing.T, cfg Config) {
	t.Helper()
	_, err := Train(t.Context(), cfg, &dataset.Data{}, TrainOptions{Dir: t.TempDir()})
	var e *ConfigError
	if !errors.As(err, &e) || e.Field != "trainable" || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v, want a *ConfigError of a line", cfg.Trainable, err)
	}
}

func checkStep(t *testing.T, cfg Config, data *dataset.Data) {
	t.Helper()
	r, err := newRun(t.Context(), cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 2})
	if err != nil {
		t.Errorf("%s: %v", cfg.Trainable, err)
		return
	}
	defer r.trainer.close()
	if err := errors.Join(r.dir.begin(&cfg), r.trainSteps(t.Context())); err != nil {
		t.Errorf("%s: %v", cfg.Trainable, err)
		return
	}
	if r.steps != 1 || r.done.Sums.Examples != 16 || !isFinite(r.done.Sums.Sum) {
		t.Errorf("%s: %d steps, loss %+v", cfg.Trainable, r.steps, r.done.Sums)
	}
	was := nn.NewParams[float32](r.trainer.network, nil)
	was.InitialiseBy(cfg.initialisers(), cfg.Seed)
	for i := range was.Tensors {
		x := &was.Tensors[i]
		// BatchNorm takes away a bias before it.
		still := x.Kind == arch.ConvBias && r.trainer.network.Units[x.Unit].BN != ""
		moved := !slices.Equal(was.Values[i], r.trainer.params.Values[i])
		if trains := r.trainer.set.Trains(x); moved != trains && !still {
			t.Errorf("%s: %s moved: %v, trained: %v", cfg.Trainable, x.Name, moved, trains)
		}
	}
	if err := r.save(&EpochMetrics{Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	m, err := LoadModel(filepath.Join(r.options.Dir, CheckpointFile))
	if err != nil {
		t.Errorf("%s: %v", cfg.Trainable, err)
		return
	}
	if !slices.Equal(logits(t, r, m.Params, m.Stored), logits(t, r, r.trainer.params, r.trainer.running)) {
		t.Errorf("%s: the loaded network gives other logits", cfg.Trainable)
	}
}
