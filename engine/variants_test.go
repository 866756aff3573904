package engine

import (
	"bytes"
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/nn"
	"bnkit/engine/rundir"
)

// variants change settings. Some of their networks lack BatchNorms, scales or shifts; others have
// pools, biases, bottlenecks or other widths. They use different trainable sets, optimizers and
// initialisers.
var variants = []func(*config.Config){
	func(c *config.Config) { c.BN, c.Trainable, c.LR = arch.NoBN, "all", 0.01 },
	func(c *config.Config) { c.Arch, c.BN, c.Trainable, c.LR = "convnet", arch.NoBN, "all", 0.01 },
	func(c *config.Config) { c.Arch = "convnet" },
	func(c *config.Config) { c.Arch, c.Trainable = "convnet", "all" },
	func(c *config.Config) {
		c.Arch, c.BN, c.Trainable, c.Optimizer, c.LR = "convnet", arch.NoBN, "random-2", config.AdamW, 0.01
	},
	func(c *config.Config) { c.BNEvery, c.NoScale = 2, "bn" },
	func(c *config.Config) {
		c.BNEvery, c.Trainable, c.Init, c.Nesterov = 3, "bn+output", "he-uniform", true
	},
	func(c *config.Config) { c.NoShift, c.Trainable = "*", "all" },
	func(c *config.Config) { c.NoScale, c.Trainable, c.BetaInit, c.BetaL2 = "*", "beta", "one", 1e-3 },
	func(c *config.Config) { c.Arch, c.NoScale = "vgg-38", "block_0_?.*,input*" },
	func(c *config.Config) {
		c.Arch, c.Trainable, c.Init, c.Optimizer, c.LR = "vgg-38", "bn+shortcut", "binary", config.Adam, 0.01
	},
	func(c *config.Config) { c.Arch, c.Trainable = "resnet-11-bottleneck", "all" },
	func(c *config.Config) {
		c.Arch, c.Trainable, c.Init, c.GammaInit = "resnet-11-bottleneck", "bn+shortcut", "orthogonal", "one"
	},
	func(c *config.Config) { c.Arch, c.Trainable, c.ClipNorm = "resnet-11-bottleneck", "bn+random-2", 1 },
	func(c *config.Config) { c.Arch, c.Stem, c.Width = "resnet18", "cifar", 0.25 },
	func(c *config.Config) { c.Shortcut, c.Width, c.Trainable = "A", 0.3, "all" },
	func(c *config.Config) { c.Arch, c.Width, c.Trainable = "resnet50", 0.125, "bn+shortcut" },
}

// TestLoadVariants checks that loaded variants have the same logits as the trained ones.
func TestLoadVariants(t *testing.T) {
	for _, change := range variants {
		cfg := tinyConfig()
		cfg.Epochs, cfg.LRDrops, cfg.WithStats = 1, nil, true
		change(&cfg)
		checkLoadedModel(t, cfg)
	}
}

// TestResumeVariants checks that an interrupted run of a variant resumes to the same bytes as
// an uninterrupted one.
func TestResumeVariants(t *testing.T) {
	data := synthetic(64, 20)
	for _, change := range variants {
		cfg := tinyConfig()
		cfg.Epochs, cfg.LRDrops = 2, nil
		change(&cfg)
		whole, parts := t.TempDir(), t.TempDir()
		mustTrain(t, cfg, data, TrainOptions{Dir: whole, Threads: 2})
		interruptAfter(t, cfg, data, TrainOptions{Dir: parts, Threads: 1}, 6)
		mustTrain(t, cfg, data, TrainOptions{Dir: parts, Threads: 2, Resume: true})
		if !bytes.Equal(readFile(t, parts, rundir.CheckpointFile), readFile(t, whole, rundir.CheckpointFile)) {
			t.Errorf("%+v: the checkpoint of the resumed run differs from that of the uninterrupted one, want the same bytes", cfg)
		}
	}
}

// TestBiasesAreTrained checks that biases change and the loss falls without BatchNorm.
func TestBiasesAreTrained(t *testing.T) {
	cfg := tinyConfig()
	cfg.BN, cfg.Trainable, cfg.LR, cfg.Epochs = arch.NoBN, "all", 0.02, 3
	r, _ := trainedRun(t, cfg)
	if first, last := r.metrics[0], r.metrics[2]; !(last.TrainLoss < first.TrainLoss) {
		t.Errorf("loss %v after the last epoch, want less than %v, that after the first", last.TrainLoss, first.TrainLoss)
	}
	before := nn.NewParams[float32](r.trainer.network, nil)
	before.Initialise(cfg.Seed)
	for i, values := range r.trainer.params.Values {
		if x := r.trainer.params.Tensors[i]; x.Kind == arch.ConvBias && slices.Equal(values, before.Values[i]) {
			t.Errorf("%s is still %v, want a change", x.Name, values)
		}
	}
}
