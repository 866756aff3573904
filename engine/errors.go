package engine

import (
	"errors"
	"fmt"
)

var (
	// ErrInterrupted says that training stopped because its context was
	// cancelled; the run directory holds a state to resume from.
	ErrInterrupted = errors.New("training was interrupted")

	// ErrNoRun says that a directory holds no run to resume.
	ErrNoRun = errors.New("no run here to resume")

	// ErrNoCheckpoint says that no checkpoint was named and none was found.
	ErrNoCheckpoint = errors.New("no checkpoint found")
)

// RunExistsError says that a directory already holds a run.
type RunExistsError struct{ Dir string }

func (e *RunExistsError) Error() string {
	return fmt.Sprintf("%s already holds a run: continue it with --resume, replace it with --force, or choose another --out", e.Dir)
}

// ResumeError says why a run cannot be resumed: a setting differs from the one
// it was started with, or its files do not fit together.
type ResumeError struct {
	Dir    string
	Field  string // the setting that differs, as config.json names it; "" where it is none
	Reason string
}

func (e *ResumeError) Error() string {
	return fmt.Sprintf("resume %s: %s", e.Dir, e.Reason)
}

// DivergedError says that training stopped because a loss, a trained value or a
// running statistic was no longer finite. Files of earlier epochs are as they were.
type DivergedError struct {
	Epoch, Step  int     // from 1
	LearningRate float64 // in use
	What         string  // "the loss", "the test loss", "the validation loss" or the name of a tensor
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("training diverged: %s is not finite at epoch %d, step %d (learning rate %g); try --lr %g, a larger --batch or another --seed",
		e.What, e.Epoch, e.Step, e.LearningRate, e.LearningRate/10)
}

// RunFileError says that a file of a run directory holds what no run writes.
type RunFileError struct {
	Path string
	Err  error // what is wrong with it
}

func (e *RunFileError) Error() string {
	return fmt.Sprintf("%s is damaged: %v; restore it from a copy, or leave this run out", e.Path, e.Err)
}
func (e *RunFileError) Unwrap() error { return e.Err }

// ModelError says why a checkpoint cannot be used as a model: its tensors are
// not those of its network, or it belongs to other data.
type ModelError struct {
	Path   string // of its file; "" where it has none
	Reason string
}

func (e *ModelError) Error() string { return modelName(e.Path) + ": " + e.Reason }

// LossError says that a model's test loss is not finite, so that its accuracy
// means nothing either.
type LossError struct {
	Path       string // of the model's file; "" where it has none
	Evaluation Evaluation
}

func (e *LossError) Error() string {
	return fmt.Sprintf("%s: its loss on the %d pictures of the test split is %v (%s statistics): it has diverged; train it again with a lower learning rate",
		modelName(e.Path), e.Evaluation.Examples, e.Evaluation.TestLoss, e.Evaluation.Statistics)
}

// modelName is what errors call a model.
func modelName(path string) string {
	if path == "" {
		return "the model"
	}
	return path
}
