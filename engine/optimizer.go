package engine

import (
	"math"
	"slices"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// The optimizers.
const (
	SGD   = "sgd"   // stochastic gradient descent with momentum
	Adam  = "adam"  // Kingma and Ba 2015; weight decay is added to the gradient
	AdamW = "adamw" // Loshchilov and Hutter 2019: weight decay apart from the gradient
)

// Optimizers lists them in the order in which help texts show them.
var Optimizers = []string{SGD, Adam, AdamW}

func (c *Config) validateOptimizer() error {
	d := DefaultConfig()
	switch {
	case !slices.Contains(Optimizers, c.Optimizer):
		return fail("optimizer", "%q is unknown; use one of: %s", c.Optimizer, strings.Join(Optimizers, ", "))
	case c.Nesterov && c.Optimizer != SGD:
		return fail("nesterov", "%s has no such momentum; only %s does", c.Optimizer, SGD)
	case c.Nesterov && c.Momentum == 0:
		return fail("nesterov", "there is no momentum; use a momentum above 0, e.g. 0.9")
	case !(c.AdamBeta1 >= 0 && c.AdamBeta1 < 1):
		return fail("adam_beta1", "%v; use a number of at least 0 and below 1", c.AdamBeta1)
	case !(c.AdamBeta2 >= 0 && c.AdamBeta2 < 1):
		return fail("adam_beta2", "%v; use a number of at least 0 and below 1", c.AdamBeta2)
	case !(c.AdamEps > 0 && c.AdamEps <= 1):
		return fail("adam_eps", "%v; use a number above 0 and up to 1, e.g. 1e-8", c.AdamEps)
	case c.Optimizer == SGD && (c.AdamBeta1 != d.AdamBeta1 || c.AdamBeta2 != d.AdamBeta2 || c.AdamEps != d.AdamEps):
		return fail("optimizer", "%s uses none of adam_beta1, adam_beta2 and adam_eps, which are set", SGD)
	}
	return nil
}

// optimizer moves the tensors of a trainable set; every other tensor stays as
// it is. What it remembers of past steps is its moments and their number.
type optimizer struct {
	cfg     *Config
	family  *kernel.Family[float32]
	moments []moment
	steps   int // taken
}

// moment is a running mean of gradients or of their squares. Values are nil
// for what is not trained.
type moment struct {
	suffix string // to the tensors' names, in a state to resume from
	*nn.Params[float32]
}

func newOptimizer(net *arch.Network, family *kernel.Family[float32], set arch.TrainableSet, cfg *Config) *optimizer {
	o := &optimizer{cfg: cfg, family: family}
	suffixes := []string{""} // SGD's velocity
	if cfg.Optimizer != SGD {
		suffixes = []string{".exp_avg", ".exp_avg_sq"} // as in PyTorch's state
	}
	for _, s := range suffixes {
		o.moments = append(o.moments, moment{s, nn.NewTrainedParams[float32](net, set)})
	}
	return o
}

// trains says whether tensor i is trained.
func (o *optimizer) trains(i int) bool { return o.moments[0].Values[i] != nil }

// step adds the penalties to the gradients, clips them, and moves the trained
// tensors of params as PyTorch's SGD, Adam and AdamW do; see kernel.Family's
// SGD, kernel.Nesterov and kernel.Adam.
func (o *optimizer) step(params, gradients *nn.Params[float32], rate float64) {
	o.penalise(params, gradients)
	o.clip(gradients)
	o.steps++
	momentum := float32(o.cfg.Momentum)
	for i, w := range params.Values {
		if !o.trains(i) {
			continue
		}
		decay := o.cfg.decay(&params.Tensors[i])
		v, g := o.moments[0].Values[i], gradients.Values[i]
		switch {
		case o.cfg.Optimizer != SGD:
			kernel.Adam(w, v, o.moments[1].Values[i], g, o.adamStep(rate, decay))
		case o.cfg.Nesterov:
			kernel.Nesterov(w, v, g, float32(rate), momentum, float32(decay))
		default:
			o.family.SGD(w, v, g, float32(rate), momentum, float32(decay))
		}
	}
}

// adamStep are the factors of the step now taken.
func (o *optimizer) adamStep(rate, decay float64) kernel.AdamStep[float32] {
	c, k := o.cfg, float64(o.steps)
	s := kernel.AdamStep[float32]{
		Rate:  float32(rate / (1 - math.Pow(c.AdamBeta1, k))),
		Beta1: float32(c.AdamBeta1), OneMinusBeta1: float32(1 - c.AdamBeta1),
		Beta2: float32(c.AdamBeta2), OneMinusBeta2: float32(1 - c.AdamBeta2),
		Root: float32(math.Sqrt(1 - math.Pow(c.AdamBeta2, k))),
		Eps:  float32(c.AdamEps),
		Keep: 1,
	}
	if c.Optimizer == AdamW {
		s.Keep = float32(1 - rate*decay)
	} else {
		s.Decay = float32(decay)
	}
	return s
}

// updateRunning moves running statistics towards those of a batch, as
// PyTorch's BatchNorm2d does in training mode:
//
//	running = (1-momentum)·running + momentum·batch
//
// with the batch's unbiased variance.
func updateRunning(running, batch *nn.Statistics, momentum float64) {
	for u := range running.Mean {
		moveTowards(running.Mean[u], batch.Mean[u], momentum)
		moveTowards(running.Var[u], batch.Var[u], momentum)
	}
}

func moveTowards(running, batch []float64, momentum float64) {
	for c, b := range batch {
		// The conversions forbid fusing: the same bits on every platform.
		running[c] = float64((1-momentum)*running[c]) + float64(momentum*b)
	}
}

// gammaNearZero is the share of all γ with |γ| < 0.01, NaN of none.
func gammaNearZero(params *nn.Params[float32]) float64 {
	near, all := 0, 0
	for i := range params.Tensors {
		if params.Tensors[i].Kind != arch.Gamma {
			continue
		}
		for _, g := range params.Values[i] {
			if math.Abs(float64(g)) < NearZero {
				near++
			}
		}
		all += len(params.Values[i])
	}
	return float64(near) / float64(all)
}

// NearZero is the size below which training reports count a γ as near zero
// (Frankle et al. 2021, section 4).
const NearZero = 0.01
