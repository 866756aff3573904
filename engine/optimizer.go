package engine

import (
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// sgd is stochastic gradient descent with momentum and weight decay on the
// tensors of a trainable set; every other tensor stays as it is.
type sgd struct {
	family          *kernel.Family[float32]
	momentum, decay float32
	velocity        *nn.Params[float32] // Values nil for what is not trained
}

func newSGD(net *arch.Network, family *kernel.Family[float32], set arch.TrainableSet, momentum, decay float64) *sgd {
	return &sgd{
		family: family, momentum: float32(momentum), decay: float32(decay),
		velocity: nn.NewParams[float32](net, set.Trains),
	}
}

// step moves the trained tensors of params, as PyTorch's SGD does:
//
//	v = momentum·v + (gradient + decay·w)
//	w = w - rate·v
func (s *sgd) step(params, gradients *nn.Params[float32], rate float64) {
	for i, v := range s.velocity.Values {
		if v != nil {
			s.family.SGD(params.Values[i], v, gradients.Values[i], float32(rate), s.momentum, s.decay)
		}
	}
}

// runningMomentum is the weight of a batch's statistics in the running ones,
// PyTorch's default.
const runningMomentum = 0.1

// updateRunning moves running statistics towards those of a batch, as
// PyTorch's BatchNorm2d does in training mode:
//
//	running = 0.9·running + 0.1·batch
//
// with the batch's unbiased variance.
func updateRunning(running, batch *nn.Statistics) {
	for u := range running.Mean {
		moveTowards(running.Mean[u], batch.Mean[u])
		moveTowards(running.Var[u], batch.Var[u])
	}
}

func moveTowards(running, batch []float64) {
	for c, b := range batch {
		// The conversions forbid fusing: the same bits on every platform.
		running[c] = float64((1-runningMomentum)*running[c]) + float64(runningMomentum*b)
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
