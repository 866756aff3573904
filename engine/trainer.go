package engine

import (
	"slices"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// How a training step keeps the outputs of convolutions and pools, before
// BatchNorm. Everything is computed in float32.
const (
	Float32 = "float32"
	BF16    = "bf16" // rounded to bfloat16 (8 significant bits), in half the memory
)

// Activations lists them.
var Activations = []string{Float32, BF16}

func validateActivations(name string) error {
	if !slices.Contains(Activations, name) {
		return fail("activations", "%q is unknown; use one of: %s", name, strings.Join(Activations, ", "))
	}
	return nil
}

// trainer is a network in training: everything that a step changes.
type trainer struct {
	network   *arch.Network
	set       arch.TrainableSet
	params    *nn.Params[float32]
	optimizer *optimizer
	running   *nn.Statistics
	training  *nn.Training[float32]

	// what the optimizer moves, and by which gradients (nil where none are
	// computed)
	trained, gradients *nn.Trained[float32]

	tracked *gradientSums // of every tensor, trained or not; nil where gradients are not tracked

	repack bool // convolutions are trained, so their filters change
}

// newTrainer starts from the seed's initial weights, running mean 0 and
// running variance 1. Close stops its threads.
func newTrainer(net *arch.Network, cfg *Config, threads int) (*trainer, error) {
	family, set := kernel.Best(), arch.TrainableSet(cfg.Trainable)
	t := &trainer{
		network: net, set: set,
		params:    nn.NewParams[float32](net, nil),
		optimizer: newOptimizer(net, family, set, cfg),
		running:   nn.NewStatistics(net),
	}
	t.params.InitialiseBy(cfg.initialisers(), cfg.Seed)
	gradients := nn.GradientsOf(net, set)
	t.repack = gradients&(nn.ConvGradients|nn.ShortcutGradients) != 0
	if cfg.TrackGradients {
		gradients, t.tracked = nn.AllGradients, newGradientSums(net, set)
	}
	var err error
	t.training, err = nn.NewTraining(net, family, t.params, nn.TrainingOptions{
		Batch: cfg.Batch, Threads: threads, Gradients: gradients, Eps: cfg.BNEps, LabelSmoothing: cfg.LabelSmoothing,
		BF16: cfg.Activations == BF16,
	})
	if err != nil {
		return nil, err
	}
	t.trained = nn.NewTrained(net, t.params, set, cfg.Seed)
	if g := t.training.Gradients(); g != nil {
		t.gradients = nn.NewTrained(net, g, set, cfg.Seed)
	}
	return t, nil
}

func (t *trainer) close() { t.training.Close() }

// step trains on a batch of x, N×C×H×W, and reports the loss before the step.
// Where that is not finite, nothing has changed. It allocates nothing.
func (t *trainer) step(x []float32, labels []int32, rate float64) nn.Loss {
	loss := t.training.Forward(x, labels)
	if !isFinite(loss.Sum) {
		return loss
	}
	if t.gradients != nil {
		t.training.Backward()
		if t.tracked != nil {
			t.tracked.add(t.training.Gradients()) // before the optimizer changes them
		}
		t.gradients.Gather()
		t.optimizer.step(t.trained.Params, t.gradients.Params, rate)
		t.trained.Scatter()
	}
	if t.repack {
		t.training.Repack()
	}
	updateRunning(t.running, t.training.BatchStatistics(), t.optimizer.cfg.BNMomentum)
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
