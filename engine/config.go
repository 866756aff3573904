package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"bnkit/engine/arch"
)

// Config is everything that decides a run's result, as config.json holds it.
// How many threads compute it and where it is written are not part of it.
type Config struct {
	Arch        string  `json:"arch"`         // network name, e.g. "resnet-20"
	Shortcut    string  `json:"shortcut"`     // "A" or "B"
	Data        string  `json:"data"`         // data set name, e.g. "cifar10"
	Trainable   string  `json:"trainable"`    // trainable set: "bn" or "all"
	Epochs      int     `json:"epochs"`       // passes over the training split
	Batch       int     `json:"batch"`        // examples a step; an epoch's incomplete last batch is left out
	LR          float64 `json:"lr"`           // learning rate of the first epoch
	LRDrops     []int   `json:"lr_drops"`     // epochs, counted from 0, at whose start the rate is divided by 10
	Momentum    float64 `json:"momentum"`     // of SGD
	WeightDecay float64 `json:"weight_decay"` // of everything trained, γ and β included
	Seed        uint64  `json:"seed"`         // of weights, shuffling and augmentation
	Subset      int     `json:"subset"`       // examples of the training split that are used; 0 for all
	Augment     bool    `json:"augment"`      // flip and shift training pictures
	WithStats   bool    `json:"with_stats"`   // store running statistics in ckpt.bnz

	// Variants of the network, as arch.Options has them.
	Stem    string `json:"stem,omitempty"`     // of an ImageNet ResNet: "imagenet" where missing, or "cifar"
	BN      string `json:"bn,omitempty"`       // "none" for a network without BatchNorm
	BNEvery int    `json:"bn_every,omitempty"` // BatchNorm after the first of so many convolutions alone
	NoScale string `json:"no_scale,omitempty"` // BatchNorms whose γ is fixed at 1: names or patterns, by commas
	NoShift string `json:"no_shift,omitempty"` // those whose β is fixed at 0
}

// DefaultConfig trains a small ResNet on the embedded sample: under two
// minutes on two cores.
func DefaultConfig() Config {
	return Config{
		Arch: "resnet-14", Shortcut: string(arch.OptionB), Data: "sample", Trainable: string(arch.BN),
		Epochs: 15, Batch: 128, LR: 0.1, LRDrops: []int{10, 13}, Momentum: 0.9, WeightDecay: 1e-4,
		Seed: 1, Augment: true,
	}
}

// ConfigError says which setting cannot be used.
type ConfigError struct {
	Field  string // JSON key, e.g. "lr_drops"
	Reason string // what is wrong and what would be right
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.Reason }

// Validate checks the settings before any data is read; the error is a
// *ConfigError. Whether a batch fits into the training split is known only
// to Train.
func (c *Config) Validate() error {
	fail := func(field, format string, args ...any) error {
		return &ConfigError{field, fmt.Sprintf(format, args...)}
	}
	if s := arch.Shortcut(c.Shortcut); s != arch.OptionA && s != arch.OptionB {
		return fail("shortcut", "%q is neither A nor B", c.Shortcut)
	}
	// Any possible picture will do: only the name and its variants are in question.
	net, err := c.network(arch.Shape{C: 3, H: 32, W: 32}, 10)
	if err != nil {
		return err
	}
	if c.Data == "" {
		return fail("data", "no data set is named")
	}
	set, err := arch.ParseTrainableSet(c.Trainable)
	if err != nil {
		return fail("trainable", "%v", err)
	}
	if net.Parameters(set.Trains) == 0 {
		return fail("trainable", "%q trains nothing: this %s has no γ and no β", c.Trainable, c.Arch)
	}
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	switch {
	case c.Epochs < 1 || c.Epochs > maxEpochs:
		return fail("epochs", "%d; 1 to %d are possible", c.Epochs, maxEpochs)
	case c.Batch < 2 || c.Batch > maxBatch:
		return fail("batch", "%d; 2 to %d are possible (BatchNorm needs more than one example)", c.Batch, maxBatch)
	case !finite(c.LR) || c.LR <= 0 || c.LR > math.MaxFloat32:
		return fail("lr", "%v; use a positive number, e.g. 0.1", c.LR)
	case !(c.Momentum >= 0 && c.Momentum < 1):
		return fail("momentum", "%v; use a number of at least 0 and below 1", c.Momentum)
	case !finite(c.WeightDecay) || c.WeightDecay < 0 || c.WeightDecay > 1:
		return fail("weight_decay", "%v; use a number from 0 to 1, e.g. 1e-4", c.WeightDecay)
	case c.Subset < 0:
		return fail("subset", "%d; use a number of training examples, or 0 for all", c.Subset)
	}
	for i, d := range c.LRDrops {
		if d < 1 || d > maxEpochs {
			return fail("lr_drops", "epoch %d; epochs from 1 on are possible", d)
		}
		if i > 0 && d <= c.LRDrops[i-1] {
			return fail("lr_drops", "epoch %d follows %d; use ascending epochs, e.g. 80,120", d, c.LRDrops[i-1])
		}
	}
	return nil
}

// network builds the network for pictures of that shape; the error is a
// *ConfigError.
func (c *Config) network(input arch.Shape, classes int) (*arch.Network, error) {
	net, err := arch.Build(c.Arch, arch.Options{Input: input, Classes: classes, Shortcut: arch.Shortcut(c.Shortcut),
		Stem: arch.Stem(c.Stem), BN: c.BN, BNEvery: c.BNEvery, NoScale: c.NoScale, NoShift: c.NoShift})
	var e *arch.Error
	if !errors.As(err, &e) {
		return net, err
	}
	if e.Option != "" {
		return nil, &ConfigError{e.Option, fmt.Sprintf("%s: %s", e.Name, e.Reason)}
	}
	return nil, &ConfigError{"arch", fmt.Sprintf("%q: %s", e.Name, e.Reason)}
}

// Limits that no real run reaches and that keep every product of two settings
// within an int.
const (
	maxEpochs = 1_000_000
	maxBatch  = 65_536
)

// difference names the first setting in which c and d differ, Epochs aside,
// and both values; field is "" where none does.
func (c *Config) difference(d *Config) (field string, was, now any) {
	for _, f := range []struct {
		name     string
		was, now any
		same     bool
	}{
		{"arch", c.Arch, d.Arch, c.Arch == d.Arch},
		{"shortcut", c.Shortcut, d.Shortcut, c.Shortcut == d.Shortcut},
		{"data", c.Data, d.Data, c.Data == d.Data},
		{"trainable", c.Trainable, d.Trainable, c.Trainable == d.Trainable},
		{"batch", c.Batch, d.Batch, c.Batch == d.Batch},
		{"lr", c.LR, d.LR, c.LR == d.LR},
		{"lr_drops", c.LRDrops, d.LRDrops, slices.Equal(c.LRDrops, d.LRDrops)},
		{"momentum", c.Momentum, d.Momentum, c.Momentum == d.Momentum},
		{"weight_decay", c.WeightDecay, d.WeightDecay, c.WeightDecay == d.WeightDecay},
		{"seed", c.Seed, d.Seed, c.Seed == d.Seed},
		{"subset", c.Subset, d.Subset, c.Subset == d.Subset},
		{"augment", c.Augment, d.Augment, c.Augment == d.Augment},
		{"with_stats", c.WithStats, d.WithStats, c.WithStats == d.WithStats},
		{"stem", c.Stem, d.Stem, c.Stem == d.Stem},
		{"bn", c.BN, d.BN, c.BN == d.BN},
		{"bn_every", c.BNEvery, d.BNEvery, c.BNEvery == d.BNEvery},
		{"no_scale", c.NoScale, d.NoScale, c.NoScale == d.NoScale},
		{"no_shift", c.NoShift, d.NoShift, c.NoShift == d.NoShift},
	} {
		if !f.same {
			return f.name, f.was, f.now
		}
	}
	return "", nil, nil
}

// ReadConfig reads a run's config.json.
func ReadConfig(path string) (Config, error) {
	var c Config
	b, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("%w: there is no %s", ErrNoRun, path)
		}
		return c, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("read %s: %w", path, err)
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("read %s: %w", path, err)
	}
	return c, nil
}

// encode is config.json's content.
func (c *Config) encode() ([]byte, error) {
	b, err := json.MarshalIndent(c, "", "  ")
	return append(b, '\n'), err
}
