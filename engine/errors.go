package engine

import (
	"errors"
	"fmt"
)

// ErrInterrupted says that training stopped because its context was cancelled.
// The error that Train returns then is an *InterruptedError.
var ErrInterrupted = errors.New("training was interrupted")

// InterruptedError says where training was interrupted.
type InterruptedError struct {
	Dir           string
	Epoch, Epochs int // from 1
	Step, Steps   int // taken in that epoch

	// Resumable says that Dir holds the state from which a resume continues,
	// bit for bit. It does not where the run was to replace another one and had
	// not completed an epoch: then Dir holds the old run as it was, and nothing
	// of the new one.
	Resumable bool

	cause error
}

func (e *InterruptedError) Error() string {
	left := "it can be resumed"
	if !e.Resumable {
		left = "the run that was there is as before, nothing is left of the new one"
	}
	return fmt.Sprintf("%v in %s in epoch %d of %d after step %d of %d: %s (%v)",
		ErrInterrupted, e.Dir, e.Epoch, e.Epochs, e.Step, e.Steps, left, e.cause)
}

// Unwrap returns ErrInterrupted and the cause that the context gives.
func (e *InterruptedError) Unwrap() []error { return []error{ErrInterrupted, e.cause} }

// ResumeError says why a run cannot be resumed: a setting differs from the one
// it was started with, or its files do not fit together.
type ResumeError struct {
	Dir    string
	Key    string // of the setting that differs, as config.json names it; "" where it is none
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
