package config

import (
	"errors"
	"fmt"

	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/engine/optim"
)

// Network builds the network for pictures of the given shape. The error is an *Error.
func (c *Config) Network(input arch.Shape, classes int) (*arch.Network, error) {
	for _, s := range Settings {
		if s.Group == Network {
			if err := s.Check(c); err != nil {
				return nil, err
			}
		}
	}
	net, err := arch.Build(c.Arch, arch.Options{Input: input, Classes: classes, Shortcut: arch.Shortcut(c.Shortcut), Variants: c.Variants})
	var e *arch.Error
	if !errors.As(err, &e) {
		return net, err
	}
	if e.Option != "" {
		return nil, &Error{e.Option, fmt.Sprintf("%s: %s", e.Name, e.Reason)}
	}
	return nil, &Error{"arch", fmt.Sprintf("%q: %s", e.Name, e.Reason)}
}

// Initialisers returns the distributions of initial values.
func (c *Config) Initialisers() nn.Initialisers {
	return nn.Initialisers{Weights: c.Init, Gamma: c.GammaInit, Beta: c.BetaInit}
}

// Selection returns the settings that select and label training pictures and determine
// their size.
func (c *Config) Selection() dataset.Selection {
	return dataset.Selection{
		Seed: c.Seed, Validation: c.Validation, Subset: c.Subset, SubsetPerClass: c.SubsetPerClass, RandomLabels: c.RandomLabels,
		ImageSize: c.ImageSize, Crop: dataset.Crop(c.Crop),
	}
}

// Method returns the optimizer and its parameters.
func (c *Config) Method() optim.Method {
	adam := optim.Adam{Beta1: c.AdamBeta1, Beta2: c.AdamBeta2, Eps: c.AdamEps}
	switch c.Optimizer {
	case Adam:
		return adam
	case AdamW:
		return optim.AdamW(adam)
	}
	return optim.SGD{Momentum: c.Momentum, Nesterov: c.Nesterov}
}

// Regularisation returns the weight decay, the penalties on γ and β, and the limit on the
// norm of the gradient.
func (c *Config) Regularisation() optim.Regularisation {
	return optim.Regularisation{
		WeightDecay: c.WeightDecay, ExemptBN: !c.BNWeightDecay,
		Gamma: optim.Penalty{L1: c.GammaL1, L2: c.GammaL2}, Beta: optim.Penalty{L1: c.BetaL1, L2: c.BetaL2},
		ClipNorm: c.ClipNorm,
	}
}

// LearningRate returns the schedule of the learning rate, including the warm-up.
func (c *Config) LearningRate() optim.Schedule {
	s := c.afterWarmup()
	if c.LRWarmup > 0 {
		s = optim.Warmup{Epochs: c.LRWarmup, Main: s, CountsWarmup: c.Schedule == Step}
	}
	return s
}

// afterWarmup returns the schedule that follows the warm-up.
func (c *Config) afterWarmup() optim.Schedule {
	epochs := c.Epochs - c.LRWarmup
	switch c.Schedule {
	case Step:
		return optim.Step{LR: c.LR, Drops: c.LRDrops}
	case Cosine:
		return optim.Cosine{LR: c.LR, Min: c.LRMin, Epochs: epochs}
	case CosineRestarts:
		return optim.CosineRestarts{LR: c.LR, Min: c.LRMin, Period: c.LRPeriod, Growth: c.LRPeriodGrowth}
	case LinearCosine:
		return optim.LinearCosine{LR: c.LR, Alpha: c.LRAlpha, Beta: c.LRBeta, Waves: c.LRWaves, Epochs: epochs}
	case RampExponential:
		return optim.RampExponential{Start: c.LRStart, LR: c.LR, Min: c.LRMin, Ramp: c.LRRamp, Sustain: c.LRSustain, Decay: c.LRDecay}
	}
	return optim.Constant{LR: c.LR}
}

// NeedsEpochs reports whether the schedule depends on the number of epochs, so that a run
// cannot be made longer after it has begun.
func (c *Config) NeedsEpochs() bool { return c.Schedule == Cosine || c.Schedule == LinearCosine }
