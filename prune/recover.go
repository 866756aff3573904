package prune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// Recovery describes how γ and β of the channels that stay are trained after pruning.
type Recovery struct {
	Epochs     int     `json:"recover_epochs,omitempty"` // after each step of pruning; 0 for no training
	LR         float64 `json:"recover_lr,omitempty"`     // initial learning rate, which falls to 0 as a cosine; 0 for DefaultLR
	Iterations int     `json:"iterations,omitempty"`     // number of steps in which a target of MACs is reached; 0 for one
}

// DefaultLR is the learning rate at which a recovery begins.
const DefaultLR = 0.03

// recoverBatch is the number of pictures in a step of a recovery, unless the training split has
// fewer.
const recoverBatch = 128

// resolved returns the recovery with DefaultLR if it has epochs but no LR.
func (r Recovery) resolved() Recovery {
	if r.Epochs > 0 {
		r.LR = cmp.Or(r.LR, DefaultLR)
	}
	return r
}

// check returns an *OptionError if a number is out of range, or if the numbers cannot be combined
// with each other or with the target.
func (r *Recovery) check(t *Target) error {
	switch {
	case r.Epochs < 0:
		return &OptionError{fmt.Sprintf("%d epochs of training after pruning are out of range; use 0 or more", r.Epochs)}
	case r.LR != 0 && !(r.LR > 0 && r.LR <= 100):
		return &OptionError{fmt.Sprintf("a learning rate of %v is out of range; use a number above 0 and up to 100, e.g. 0.01", r.LR)}
	case r.LR != 0 && r.Epochs == 0:
		return &OptionError{"a learning rate needs epochs of training after pruning"}
	case r.Iterations < 0:
		return &OptionError{fmt.Sprintf("%d steps of pruning are out of range; use 0 or more", r.Iterations)}
	case r.Iterations > 1 && (t.MACs == 0 || r.Epochs == 0):
		return &OptionError{"pruning in several steps needs a target of multiply-adds and epochs of training between the steps"}
	}
	return nil
}

// Recover returns a variant of m whose γ and β were trained on data, which m.OpenData or
// m.Normalised returns for m's kind of pictures. It trains for the epochs and with the learning
// rate of o.Recovery, by SGD with the default momentum and weight decay, and with the augmentation
// of m's training. Pruned channels do not change. Recover does not change m or write files. The
// error is an *engine.ModelError if m's settings cannot be read or m cannot be trained, ctx's
// error, or an error that reports divergence.
func Recover(ctx context.Context, m *engine.Model, data *dataset.Data, o Options) (*engine.Model, error) {
	r, threads := o.Recovery.resolved(), o.Threads
	cfg, err := m.Settings()
	if err != nil {
		return nil, err
	}
	cfg.Trainable, cfg.Batch = string(arch.BN), min(recoverBatch, data.Train.Len())
	cfg.Epochs, cfg.LR, cfg.Schedule, cfg.LRDrops, cfg.Optimizer = r.Epochs, r.LR, config.Cosine, nil, config.SGD
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	loader, err := engine.TrainingLoader(&cfg, data, threads)
	if err != nil {
		return nil, err
	}
	trained := m.Variant()
	trainer, err := trained.Trainer(&cfg, threads)
	if err != nil {
		return nil, err
	}
	defer trainer.Close()
	for epoch := range r.Epochs {
		if err := recoverEpoch(ctx, trainer, loader, epoch, r, o.Progress); err != nil {
			return nil, err
		}
	}
	trainer.Update()
	return trained, nil
}

// recoverEpoch trains for one epoch.
func recoverEpoch(ctx context.Context, trainer *engine.Trainer, loader *dataset.Loader, epoch int, r Recovery, progress func(string, int, int)) error {
	batches := loader.Start(ctx, epoch, 0)
	defer batches.Close()
	steps := loader.Batches()
	for step := range steps {
		b, ok := batches.Next()
		if err := ctx.Err(); err != nil {
			return err
		}
		if !ok {
			return batches.Err()
		}
		done := (float64(epoch) + float64(step)/float64(steps)) / float64(r.Epochs)
		rate := r.LR * (1 + math.Cos(math.Pi*done)) / 2
		if loss := trainer.Step(b.Images, b.Labels, rate).Sum; math.IsNaN(loss) || math.IsInf(loss, 0) {
			return fmt.Errorf("training after pruning diverged in epoch %d at learning rate %.3g; use a smaller rate", epoch+1, rate)
		}
		if progress != nil {
			progress("training after pruning, step", epoch*steps+step+1, r.Epochs*steps)
		}
	}
	return nil
}

// recover trains r.Model, measures it, and returns its evaluator and statistics. evaluator is
// the evaluator of the model before training.
func (r *Result) recover(ctx context.Context, evaluator *engine.Evaluator, data *dataset.Data, o Options) (*engine.Evaluator, *nn.Statistics, error) {
	var err error
	if r.Model, err = Recover(ctx, r.Model, data, o); err != nil {
		return nil, nil, err
	}
	if evaluator, err = evaluator.ForVariant(r.Model); err != nil {
		return nil, nil, err
	}
	stats, err := evaluator.Reestimate(ctx)
	if err != nil {
		return nil, nil, err
	}
	after, err := evaluator.Evaluate(ctx, stats)
	r.Recovered = &after
	return evaluator, stats, err
}

// chooseSteps returns the plan of the last step of pruning, and the model that it applies to. That
// is m or, with several steps, the model after all earlier steps and the training that follows
// each. Each step removes about the same number of multiply-adds.
func chooseSteps(ctx context.Context, m *engine.Model, data *dataset.Data, o Options) (*Plan, *engine.Model, error) {
	if err := o.Recovery.check(&o.Target); err != nil {
		return nil, nil, err
	}
	steps := max(o.Recovery.Iterations, 1)
	initial := 1.0 // share of the multiply-adds of m's network that remain without its pruned channels
	if steps > 1 {
		small, _, err := m.Compact()
		if err != nil {
			return nil, nil, err
		}
		initial = float64(small.Network.MACs()) / float64(m.Network.MACs())
	}
	for step := 1; ; step++ {
		stepOptions := o
		if step < steps {
			stepOptions.Target.MACs = initial - (initial-o.Target.MACs)*float64(step)/float64(steps)
		}
		p, err := Choose(ctx, m, data, stepOptions)
		if err != nil || step == steps {
			return p, m, err
		}
		pruned, err := p.Apply(m)
		if err != nil {
			return nil, nil, err
		}
		if m, err = Recover(ctx, pruned, data, o); err != nil {
			return nil, nil, err
		}
	}
}
