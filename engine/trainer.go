package engine

import (
	"math"
	"slices"
	"time"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/optim"
)

// Trainer takes training steps. It holds everything that a step changes: the
// parameters, the optimizer's moments and the running statistics. [Train] uses a
// Trainer for the epochs of a run; a program with its own training loop may use one
// directly.
type Trainer struct {
	network   *arch.Network // the model's network without its pruned channels; steps run it
	set       arch.TrainableSet
	params    *nn.Params[float32]
	optimizer *optim.Optimizer
	running   *nn.Statistics
	training  *nn.Training[float32]

	model     *Model                 // the model that is trained
	compacted *nn.Compacted[float32] // relates network to the model's network; nil if no channel is pruned
	seed      uint64                 // random-K sets use it to choose weights

	bnMomentum float64 // weight of a batch's statistics in running

	// The tensors that the optimizer changes, and their gradients (nil if no
	// gradients are computed).
	trained, gradients *nn.Trained[float32]

	tracked *gradientSums // of every tensor, trained or not; nil if gradients are not tracked

	repack bool // whether convolutions are trained, so that their filters change
}

// NewTrainer returns a trainer of net with the settings of cfg that a step depends
// on: trainable set, initial values, batch size, loss, penalties, optimizer, BatchNorm and
// activations. Parameters are drawn from the seed. Running means start at 0 and running variances at 1.
// The trainer uses the given number of threads, which does not change any result; Close
// stops them.
func NewTrainer(net *arch.Network, cfg *config.Config, threads int) (*Trainer, error) {
	m := &Model{Network: net, Params: nn.NewParams[float32](net, nil)}
	m.Params.InitialiseBy(cfg.Initialisers(), cfg.Seed)
	return newTrainerOf(m, cfg, threads)
}

// Trainer is like NewTrainer, but returns a trainer that continues from m's parameters and
// from its Stored statistics if there are any. If no channel of m is pruned, steps change
// both. Otherwise pruned channels are left out, and Update copies the parameters, but no
// statistics, to m; call it before m is used. To keep m's γ, β and statistics, train a Variant.
func (m *Model) Trainer(cfg *config.Config, threads int) (*Trainer, error) {
	return newTrainerOf(m, cfg, threads)
}

// newTrainerOf returns a trainer that starts from the parameters of m, and from the Stored
// statistics of m if there are any. Its steps change them unless channels of m are pruned.
func newTrainerOf(m *Model, cfg *config.Config, threads int) (*Trainer, error) {
	t := &Trainer{
		network: m.Network, params: m.Params, running: m.Stored, model: m,
		set: arch.TrainableSet(cfg.Trainable), seed: cfg.Seed, bnMomentum: cfg.BNMomentum,
	}
	if m.Kept != nil {
		small, compacted, err := m.Compact()
		if err != nil {
			return nil, err
		}
		t.network, t.params, t.running, t.compacted = small.Network, small.Params, small.Stored, compacted
	}
	if t.running == nil {
		t.running = nn.NewStatistics(t.network)
	}
	gradients := nn.GradientsOf(t.network, t.set)
	t.repack = gradients&(nn.ConvGradients|nn.ShortcutGradients) != 0
	if cfg.TrackGradients {
		gradients = nn.AllGradients
	}
	family := kernel.Best()
	var err error
	t.training, err = nn.NewTraining(t.network, family, t.params, nn.TrainingOptions{
		Batch: cfg.Batch, Threads: threads, Gradients: gradients, Eps: cfg.BNEps, LabelSmoothing: cfg.LabelSmoothing,
		BF16: cfg.Activations == config.BF16,
	})
	if err != nil {
		return nil, err
	}
	t.trained = t.trainedPart(t.params)
	if g := t.training.Gradients(); g != nil {
		t.gradients = t.trainedPart(g)
	}
	if cfg.TrackGradients {
		t.tracked = newGradientSums(t.network, t.trained.Params)
	}
	t.optimizer = optim.New(t.trained.Params, family, cfg.Method(), cfg.Regularisation())
	return t, nil
}

// trainedPart returns the trained part of p, which holds the network's parameters or gradients.
func (t *Trainer) trainedPart(p *nn.Params[float32]) *nn.Trained[float32] {
	switch {
	case t.compacted == nil:
		return nn.NewTrained(t.network, p, t.set, t.seed)
	case p == t.params:
		return t.compacted.Trained(t.model.Params, t.set, t.seed)
	}
	return t.compacted.TrainedGradients(p, t.set, t.seed)
}

// parameters returns the number of trained parameters.
func (t *Trainer) parameters() int {
	n := 0
	for _, values := range t.trained.Values {
		n += len(values)
	}
	return n
}

// Update copies the trained values to the parameters of the model. If no channel is pruned, it
// does nothing, because steps change these parameters directly.
func (t *Trainer) Update() {
	if t.compacted != nil {
		t.compacted.Expand(t.model.Params, t.trained, t.set, t.seed)
	}
}

// statistics returns the running statistics of the model's network. Removed channels have
// mean 0 and variance 1.
func (t *Trainer) statistics() *nn.Statistics {
	if t.compacted == nil {
		return t.running
	}
	whole := nn.NewStatistics(t.model.Network)
	t.compacted.ExpandStatistics(whole, t.running)
	return whole
}

// Close stops the trainer's threads.
func (t *Trainer) Close() { t.training.Close() }

// Step trains on a batch of pictures x, N×C×H×W, and their N labels, at the given
// learning rate, and returns the loss before the step. If the loss is not finite,
// Step changes nothing. It does not allocate.
func (t *Trainer) Step(x []float32, labels []int32, rate float64) nn.Loss {
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
		t.optimizer.Step(t.trained.Params, t.gradients.Params, rate)
		t.trained.Scatter()
	}
	if t.repack {
		t.training.Repack()
	}
	updateRunning(t.running, t.training.BatchStatistics(), t.bnMomentum)
	return loss
}

// SetTimer makes each later step call f at the end of every phase of every unit, with
// the time that the phase took. If f is nil, steps are no longer timed. See
// [nn.Training.SetTimer].
func (t *Trainer) SetTimer(f func(unit int, phase nn.Phase, elapsed time.Duration)) {
	t.training.SetTimer(f)
}

// firstNotFinite returns the name of the first trained tensor that holds a value that is not
// finite. If there is none, it looks for a running statistic, and then for a layer with such
// statistics in the last batch, whose BatchNorm it names. It returns "" if all are finite.
func (t *Trainer) firstNotFinite() string {
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
	batch := t.training.BatchStatistics()
	for i := range t.network.Units {
		if slices.ContainsFunc(batch.Mean[i], notFinite) || slices.ContainsFunc(batch.Var[i], notFinite) {
			return t.network.Units[i].BN
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

// moveTowards sets running to (1-momentum)·running + momentum·batch.
func moveTowards(running, batch []float64, momentum float64) {
	for c, b := range batch {
		// The conversions prevent fused operations, so that the bits are the same on
		// every platform.
		running[c] = float64((1-momentum)*running[c]) + float64(momentum*b)
	}
}

// gammaNearZero returns the share of all γ with |γ| < NearZero. Pruned channels do not
// count. The share is NaN if there are no γ.
func (m *Model) gammaNearZero() float64 {
	near, all := 0, 0
	for i := range m.Network.Units {
		for c, g := range m.Params.Of(i, arch.Gamma) {
			if m.Kept != nil && m.Kept[i] != nil && !slices.Contains(m.Kept[i], c) {
				continue
			}
			if math.Abs(float64(g)) < NearZero {
				near++
			}
			all++
		}
	}
	return float64(near) / float64(all)
}

// NearZero is the magnitude below which training reports count a γ as near zero
// (Frankle et al. 2021, section 4).
const NearZero = 0.01
