package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// Validate checks the settings without the data, so it does not check whether the training
// split fills a batch. The error is an *Error.
func (c *Config) Validate() error {
	for _, s := range Settings {
		if err := s.Check(c); err != nil {
			return err
		}
	}
	return cmp.Or(c.checkTrainable(), c.checkInitialisers(), c.checkOptimizer(), c.checkSchedule(), c.checkData())
}

// checkTrainable checks that the network exists and that the trainable set has parameters,
// unless it is Nothing. If the run starts from a model, it calls checkStart instead.
func (c *Config) checkTrainable() error {
	if c.Start != "" {
		return c.checkStart()
	}
	// Network checks the name and the variants, which do not depend on the shape of the pictures.
	net, err := c.Network(arch.Shape{C: 3, H: 32, W: 32}, 10)
	if err != nil {
		return err
	}
	set, err := arch.ParseTrainableSet(c.Trainable)
	if err != nil {
		return fail("trainable", "%v", err)
	}
	if set != arch.Nothing && set.Parameters(net) == 0 {
		return fail("trainable", "%q trains nothing: this %s has no such parameters", c.Trainable, c.Arch)
	}
	return nil
}

// checkStart checks the settings of a run that starts from a model, whose network is not
// known here.
func (c *Config) checkStart() error {
	digest, ok := strings.CutPrefix(c.Start, StartFrom)
	if !ok {
		if digest, ok = strings.CutPrefix(c.Start, StartLike); !ok {
			return fail("start", "%q does not begin with %q or %q", c.Start, StartFrom, StartLike)
		}
	}
	if sum, err := hex.DecodeString(digest); err != nil || len(sum) != sha256.Size {
		return fail("start", "%q does not end with a SHA-256", c.Start)
	}
	if _, err := arch.ParseTrainableSet(c.Trainable); err != nil {
		return fail("trainable", "%v", err)
	}
	return nil
}

func (c *Config) checkInitialisers() error {
	var unknown *nn.InitialiserError
	if err := c.Initialisers().Check(); errors.As(err, &unknown) {
		return fail(map[string]string{"weights": "init", "gamma": "gamma_init", "beta": "beta_init"}[unknown.Of], "%v", err)
	}
	return nil
}

func (c *Config) checkOptimizer() error {
	// Range excludes 0, but smaller numbers than the smallest float32 are used as 0.
	for _, key := range []string{"lr", "bn_eps", "adam_eps"} {
		if v := *Find(key).Field(c).(*float64); float32(v) == 0 {
			return fail(key, "%v; it is smaller than the smallest float32, so it would be 0", v)
		}
	}
	switch {
	case c.LR > math.MaxFloat32:
		return fail("lr", "%v; it is larger than the largest float32", c.LR)
	case c.Nesterov && c.Momentum == 0:
		return fail("nesterov", "it needs a momentum above 0, e.g. 0.9")
	}
	return nil
}

func (c *Config) checkSchedule() error {
	for i, d := range c.LRDrops {
		if d < 1 || d > maxEpochs {
			return fail("lr_drops", "epoch %d; use epochs from 1 to %d", d, maxEpochs)
		}
		if i > 0 && d <= c.LRDrops[i-1] {
			return fail("lr_drops", "epoch %d follows %d; list the epochs in ascending order, e.g. 80,120", d, c.LRDrops[i-1])
		}
	}
	switch {
	case c.LRMin > c.LR:
		return fail("lr_min", "%v; use a rate from 0 to lr, which is %v", c.LRMin, c.LR)
	case c.LRStart > c.LR:
		return fail("lr_start", "%v; use a rate from 0 to lr, which is %v", c.LRStart, c.LR)
	case c.LRWarmup >= c.Epochs:
		return fail("lr_warmup", "%d; use less than the %d epochs of the run", c.LRWarmup, c.Epochs)
	case c.Schedule == CosineRestarts && c.LRPeriod == 0:
		return fail("lr_period", "schedule %s needs a number of epochs, e.g. 10", CosineRestarts)
	}
	return nil
}

func (c *Config) checkData() error {
	switch {
	case c.Data == "":
		return fail("data", "it is empty; name a data set")
	case c.Subset > 0 && c.SubsetPerClass > 0:
		return fail("subset_per_class", "%d, and subset is %d; use one of them", c.SubsetPerClass, c.Subset)
	}
	return nil
}
