package engine

import (
	"math"
	"slices"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/optim"
)

// trainer is a network in training: everything that a step changes.
type trainer struct {
	network   *arch.Network
	set       arch.TrainableSet
	params    *nn.Params[float32]
	optimizer *optim.Optimizer
	running   *nn.Statistics

	bnMomentum float64 // weight of a batch's statistics in running

	plan *nn.Training[float32]

	// what the optimizer moves, and by which gradients (nil where none are
	// computed)
	trained, gradients *nn.Trained[float32]

	tracked *gradientSums // of every tensor, trained or not; nil where gradients are not tracked

	repack bool // convolutions are trained, so their filters change
}

// newTrainer starts from the seed's initial weights, running mean 0 and
// running variance 1. Close stops its threads.
func newTrainer(net *arch.Network, cfg *config.Config, threads int) (*trainer, error) {
	family, set := kernel.Best(), arch.TrainableSet(cfg.Trainable)
	t := &trainer{
		network: net, set: set,
		params:    nn.NewParams[float32](net, nil),
		optimizer: optim.New(net, family, set, cfg.Method(), cfg.Regularisation()),
		running:   nn.NewStatistics(net), bnMomentum: cfg.BNMomentum,
	}
	t.params.InitialiseBy(cfg.Initialisers(), cfg.Seed)
	gradients := nn.GradientsOf(net, set)
	t.repack = gradients&(nn.ConvGradients|nn.ShortcutGradients) != 0
	if cfg.TrackGradients {
		gradients, t.tracked = nn.AllGradients, newGradientSums(net, set)
	}
	var err error
	t.plan, err = nn.NewTraining(net, family, t.params, nn.TrainingOptions{
		Batch: cfg.Batch, Threads: threads, Gradients: gradients, Eps: cfg.BNEps, LabelSmoothing: cfg.LabelSmoothing,
		BF16: cfg.Activations == config.BF16,
	})
	if err != nil {
		return nil, err
	}
	t.trained = nn.NewTrained(net, t.params, set, cfg.Seed)
	if g := t.plan.Gradients(); g != nil {
		t.gradients = nn.NewTrained(net, g, set, cfg.Seed)
	}
	return t, nil
}

func (t *trainer) close() { t.plan.Close() }

// step trains on a batch of x, N×C×H×W, and reports the loss before the step.
// Where that is not finite, nothing has changed. It allocates nothing.
func (t *trainer) step(x []float32, labels []int32, rate float64) nn.Loss {
	loss := t.plan.Forward(x, labels)
	if !isFinite(loss.Sum) {
		return loss
	}
	if t.gradients != nil {
		t.plan.Backward()
		if t.tracked != nil {
			t.tracked.add(t.plan.Gradients()) // before the optimizer changes them
		}
		t.gradients.Gather()
		t.optimizer.Step(t.trained.Params, t.gradients.Params, rate)
		t.trained.Scatter()
	}
	if t.repack {
		t.plan.Repack()
	}
	updateRunning(t.running, t.plan.BatchStatistics(), t.bnMomentum)
	return loss
}

// notFinite names the first trained tensor or running statistic that holds a
// value that is not finite, "" where none does.
func (t *trainer) notFinite() string {
	for i, values := range t.trained.Values {
		for _, v := range values {
			if !isFinite(float64(v)) {
				return t.trained.Tensors[i].Name
			}
		}
	}
	notFinite := func(v float64) bool { return !isFinite(v) }
	for i := range t.network.Units {
		switch bn := t.network.Units[i].BN; {
		case slices.ContainsFunc(t.running.Mean[i], notFinite):
			return bn + meanSuffix
		case slices.ContainsFunc(t.running.Var[i], notFinite):
			return bn + varianceSuffix
		}
	}
	return ""
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

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

// gammaNearZero returns the share of all γ with |γ| < NearZero, NaN where there
// are none.
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
