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
	optimizer *sgd
	running   *nn.Statistics
	plan      *nn.Training[float32]

	// what the optimizer moves, and by which gradients (nil where nothing is
	// trained)
	trained, gradients *nn.Trained[float32]

	repack bool // convolutions are trained, so their filters change
}

// trainerOptions are what a trainer is made from beside its network.
type trainerOptions struct {
	set             arch.TrainableSet
	initialisers    nn.Initialisers
	seed            uint64
	batch, threads  int
	momentum, decay float64
}

// newTrainer starts from the seed's initial weights, running mean 0 and
// running variance 1. Close stops its threads.
func newTrainer(net *arch.Network, o trainerOptions) (*trainer, error) {
	family := kernel.Best()
	t := &trainer{
		network: net, set: o.set,
		params:    nn.NewParams[float32](net, nil),
		optimizer: newSGD(net, family, o.set, o.momentum, o.decay),
		running:   nn.NewStatistics(net),
	}
	t.params.InitialiseBy(o.initialisers, o.seed)
	gradients := gradientsOf(net, o.set)
	t.repack = gradients&(nn.ConvGradients|nn.ShortcutGradients) != 0
	var err error
	t.plan, err = nn.NewTraining(net, family, t.params, nn.TrainingOptions{
		Batch: o.batch, Threads: o.threads, Gradients: gradients, Eps: nn.DefaultEps,
	})
	if err != nil {
		return nil, err
	}
	t.trained = nn.NewTrained(net, t.params, o.set, o.seed)
	if g := t.plan.Gradients(); g != nil {
		t.gradients = nn.NewTrained(net, g, o.set, o.seed)
	}
	return t, nil
}

// gradientsOf is the least that computes a gradient for all that set trains.
func gradientsOf(net *arch.Network, set arch.TrainableSet) nn.Gradients {
	gradients := nn.NoGradients
	tensors := net.Tensors()
	for i := range tensors {
		switch x := &tensors[i]; {
		case !set.Trains(x):
		case x.Kind == arch.Gamma || x.Kind == arch.Beta:
			gradients |= nn.BNGradients
		case x.Kind == arch.OutputWeight || x.Kind == arch.OutputBias:
			gradients |= nn.OutputGradients
		case x.Shortcut:
			gradients |= nn.ShortcutGradients
		default:
			gradients |= nn.ConvGradients
		}
	}
	return gradients
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
		t.gradients.Gather()
		t.optimizer.step(t.trained.Params, t.gradients.Params, rate)
		t.trained.Scatter()
	}
	if t.repack {
		t.plan.Repack()
	}
	updateRunning(t.running, t.plan.BatchStatistics())
	return loss
}

// notFinite names the first trained tensor that holds a value that is not
// finite, "" where none does.
func (t *trainer) notFinite() string {
	for i, velocity := range t.optimizer.velocity.Values {
		if velocity == nil {
			continue
		}
		for _, v := range t.params.Values[i] {
			if !isFinite(float64(v)) {
				return t.params.Tensors[i].Name
			}
		}
	}
	return ""
}
