package engine

import (
	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// trainer is a network in training: everything that a step changes.
type trainer struct {
	network   *arch.Network
	set       arch.TrainableSet
	params    *nn.Params[float32]
	optimizer *optimizer
	running   *nn.Statistics
	plan      *nn.Training[float32]
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
	t.params.Initialise(cfg.Seed)
	gradients := nn.BNGradients
	if set == arch.All {
		gradients = nn.AllGradients
	}
	var err error
	t.plan, err = nn.NewTraining(net, family, t.params, nn.TrainingOptions{
		Batch: cfg.Batch, Threads: threads, Gradients: gradients, Eps: cfg.BNEps, LabelSmoothing: cfg.LabelSmoothing,
	})
	return t, err
}

func (t *trainer) close() { t.plan.Close() }

// step trains on a batch of x, N×C×H×W, and reports the loss before the step.
// Where that is not finite, nothing has changed. It allocates nothing.
func (t *trainer) step(x []float32, labels []int32, rate float64) nn.Loss {
	loss := t.plan.Forward(x, labels)
	if !isFinite(loss.Sum) {
		return loss
	}
	t.plan.Backward()
	t.optimizer.step(t.params, t.plan.Gradients(), rate)
	if t.set == arch.All {
		t.plan.Repack()
	}
	updateRunning(t.running, t.plan.BatchStatistics(), t.optimizer.cfg.BNMomentum)
	return loss
}

// notFinite names the first trained tensor that holds a value that is not
// finite, "" where none does.
func (t *trainer) notFinite() string {
	for i, values := range t.params.Values {
		if !t.optimizer.trains(i) {
			continue
		}
		for _, v := range values {
			if !isFinite(float64(v)) {
				return t.params.Tensors[i].Name
			}
		}
	}
	return ""
}
