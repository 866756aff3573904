package engine

import (
	"errors"
	"fmt"
	"io/fs"

	"bnkit/engine/config"
	"bnkit/engine/rundir"
)

// divergedError returns a *DivergedError for a step of the current epoch, counted from 1. what
// names the value that is not finite, as in DivergedError.What.
func (r *run) divergedError(step int, what string) error {
	e := &DivergedError{
		Epoch: r.done.Epochs + 1, Step: step, LearningRate: r.rate(step - 1), What: what,
		Tensor: r.trainer.firstNotFinite(), Epochs: r.done.Epochs,
	}
	if e.Epochs > 0 {
		e.Checkpoint = r.dir.File(rundir.CheckpointFile)
	}
	return e
}

// mayRollBack reports whether the run may go back to its last complete epoch after a divergence.
func (r *run) mayRollBack() bool {
	return r.cfg.OnDivergence == config.Rollback && r.done.Rollbacks < r.cfg.MaxRollbacks
}

// rollBack sets the run to the end of its last complete epoch, or to its beginning if there is
// none, and halves the learning rate. It writes the new state, so that a run that is resumed
// later uses the same rates.
func (r *run) rollBack(diverged *DivergedError) error {
	rollbacks, metrics := r.done.Rollbacks+1, r.metrics
	r.trainer.Close() // before another trainer takes memory
	r.done = progress{}
	file, err := r.readStateFile()
	if err == nil {
		r.from, err = stateModel(file)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil // the run has not completed an epoch and starts again
	}
	if err != nil {
		return fmt.Errorf("%w; cannot go back to the last epoch: %w", diverged, err)
	}
	trainer, err := r.newTrainer()
	if err != nil {
		return err
	}
	r.trainer = trainer
	if file != nil {
		if err := r.restore(file); err != nil {
			return err
		}
	}
	r.done.Rollbacks, r.metrics = rollbacks, metrics
	if err := r.saveState(); err != nil {
		return err
	}
	r.options.warn(&RollbackError{Diverged: diverged, Epochs: r.done.Epochs, Rollback: rollbacks, Most: r.cfg.MaxRollbacks})
	return nil
}
