package engine

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/arch/archtest"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// TestEveryCombination takes a step of every network with every trainable set and every variant
// of BatchNorm. It checks that the loss is finite, that exactly the tensors of the set change,
// and that the file loads as the same network. Combinations that train nothing must be refused
// before data is read. TestEveryNetwork of package nn compares the gradients of the same
// networks, variants and kinds of sets with float64.
func TestEveryCombination(t *testing.T) {
	variants := []struct {
		name    string
		set     func(*config.Config)
		refused string // sets that train nothing
	}{
		{"BatchNorm", func(c *config.Config) {}, ""},
		{"no BatchNorm", func(c *config.Config) { c.BN = arch.NoBN }, "bn gamma beta"},
		{"every second BatchNorm", func(c *config.Config) { c.BNEvery = 2 }, ""},
		{"no scale", func(c *config.Config) { c.NoScale = "*" }, "gamma"},
		{"no shift", func(c *config.Config) { c.NoShift = "*" }, "beta"},
		{"no scale, no shift", func(c *config.Config) { c.NoScale, c.NoShift = "*", "*" }, "bn gamma beta"},
	}
	for _, n := range archtest.Networks(t, 1.0/16) {
		data := syntheticOf(n.Options.Input.H, 16, 8)
		net, err := arch.Build(n.Name, n.Options)
		if err != nil {
			t.Fatal(err)
		}
		shortcuts := slices.ContainsFunc(net.Units, func(u arch.Unit) bool { return u.Shortcut })
		for _, v := range variants {
			t.Run(n.String()+", "+v.name, func(t *testing.T) {
				t.Parallel()
				for _, set := range everySet() {
					cfg := tinyConfig()
					cfg.Arch, cfg.Stem = n.Name, string(n.Options.Stem)
					cfg.Shortcut = cmp.Or(string(n.Options.Shortcut), cfg.Shortcut)
					cfg.Width = cmp.Or(n.Options.Width, cfg.Width)
					cfg.Trainable, cfg.Epochs, cfg.LR, cfg.WithStats = set, 1, 0.01, true
					cfg.ClipNorm = 1 // without it, a step of the deepest network ends in NaN
					v.set(&cfg)
					refused := slices.Contains(strings.Fields(v.refused), set) ||
						set == string(arch.BNShortcut) && strings.Contains(v.refused, "bn") && !shortcuts
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

// checkRefused checks that Train refuses cfg before it reads data. The data is empty, so that
// reading it would panic.
func checkRefused(t *testing.T, cfg config.Config) {
	t.Helper()
	_, err := Train(t.Context(), cfg, &dataset.Data{}, TrainOptions{Dir: t.TempDir()})
	var e *config.Error
	if !errors.As(err, &e) || e.Key != "trainable" || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: got error %v, want a *config.Error of trainable, in a single line", cfg.Trainable, err)
	}
}

// checkStep takes a step, saves the model and loads it again.
func checkStep(t *testing.T, cfg config.Config, data *dataset.Data) {
	t.Helper()
	r, err := newRun(t.Context(), cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 1}, nil)
	if err != nil {
		t.Errorf("%s: newRun returns error %v, want none", cfg.Trainable, err)
		return
	}
	defer r.trainer.Close()
	params := r.trainer.params
	var before [][]float32
	for _, values := range params.Values {
		before = append(before, slices.Clone(values))
	}
	if r.dir, err = create(&r.options); err != nil {
		t.Fatal(err)
	}
	defer r.dir.Release()
	if err := errors.Join(r.begin(), r.trainSteps(t.Context())); err != nil {
		t.Errorf("%s: the step returns error %v, want none", cfg.Trainable, err)
		return
	}
	if r.steps != 1 || r.done.Sums.Examples != 16 || !isFinite(r.done.Sums.Sum) {
		t.Errorf("%s: %d steps, loss %+v; want 1 step and a finite loss of 16 pictures", cfg.Trainable, r.steps, r.done.Sums)
	}
	for i := range params.Tensors {
		x := &params.Tensors[i]
		// A bias before a BatchNorm has no effect, so its gradient is 0.
		noGradient := x.Kind == arch.ConvBias && r.trainer.network.Units[x.Unit].BN != ""
		changed := !slices.Equal(before[i], params.Values[i])
		if trains := r.trainer.set.Trains(x); changed != trains && !noGradient {
			t.Errorf("%s: %s changed: %v, want %v", cfg.Trainable, x.Name, changed, trains)
		}
	}
	if err := r.saveModel(1); err != nil {
		t.Fatal(err)
	}
	m, err := LoadModel(filepath.Join(r.options.Dir, rundir.CheckpointFile))
	if err != nil {
		t.Errorf("%s: LoadModel returns error %v, want none", cfg.Trainable, err)
		return
	}
	if !slices.Equal(logits(t, r, m.Params, m.Stored), logits(t, r, params, r.trainer.running)) {
		t.Errorf("%s: the loaded network and the trained one compute different logits, want the same", cfg.Trainable)
	}
}
