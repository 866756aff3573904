package engine

import (
	"errors"
	"fmt"

	"bnkit/engine/kernel"
)

// ErrInterrupted reports that training stopped because its context was cancelled.
// Train then returns an [*InterruptedError], which wraps it.
var ErrInterrupted = errors.New("training was interrupted")

// InterruptedError reports where training was interrupted.
type InterruptedError struct {
	Dir           string
	Epoch, Epochs int // the epoch, from 1, and the number of epochs
	Step, Steps   int // the steps taken in that epoch, and the number of steps in an epoch

	// Resumable reports whether the run can be resumed from Dir. The resumed run gives the
	// same bits as an uninterrupted one. Resumable is false if the run was to replace another
	// one and had not completed an epoch. Dir then holds the old run unchanged, and nothing
	// of the new run.
	Resumable bool

	cause error
}

func (e *InterruptedError) Error() string {
	outcome := "it can be resumed"
	if !e.Resumable {
		outcome = "the old run is unchanged, and nothing of the new run was kept"
	}
	return fmt.Sprintf("%v in %s in epoch %d of %d after step %d of %d: %s (%v)",
		ErrInterrupted, e.Dir, e.Epoch, e.Epochs, e.Step, e.Steps, outcome, e.cause)
}

// Unwrap returns ErrInterrupted and the cause that the context gives.
func (e *InterruptedError) Unwrap() []error { return []error{ErrInterrupted, e.cause} }

// ResumeError reports why a run cannot be resumed: a setting differs from the one
// that the run was started with, or its files do not belong together or cannot be
// read.
type ResumeError struct {
	Dir    string
	Key    string // name in config.json of the setting that differs; "" if none does
	Reason string

	// MustReplace reports whether the run can only be replaced, because its files cannot be
	// resumed with any settings.
	MustReplace bool

	Err error // what is wrong with the state; nil if the resume failed for another reason
}

func (e *ResumeError) Error() string {
	return fmt.Sprintf("resume %s: %s", e.Dir, e.Reason)
}

// Unwrap returns Err.
func (e *ResumeError) Unwrap() error { return e.Err }

// WrongUsage reports whether the settings or the choice of the run are at fault, rather
// than unreadable files.
func (e *ResumeError) WrongUsage() bool { return e.Err == nil }

// ArithmeticError reports that a run was trained with other arithmetic, such as other kernels or
// a program that was built for other processors, so that a resumed run would not have the bits of an uninterrupted one.
type ArithmeticError struct {
	Dir         string
	Before, Now kernel.Arithmetic // of the process that trained the run so far, and of this one
}

func (e *ArithmeticError) Error() string {
	part, before, now := e.Before.Differs(e.Now)
	return fmt.Sprintf("resume %s: the run was trained with %s %s, and this process has %s: the result would differ from that of an uninterrupted run",
		e.Dir, part, before, now)
}

// WrongUsage reports that the choice of the kernels or of the run is at fault, and not the
// file system.
func (e *ArithmeticError) WrongUsage() bool { return true }

// DivergedError reports that training stopped because a loss, a trained value or a
// running statistic was no longer finite. The files of earlier epochs are unchanged.
type DivergedError struct {
	Epoch, Step  int     // from 1
	LearningRate float64 // at that step
	What         string  // "the loss", "the test loss", "the validation loss" or the name of a tensor

	// Tensor is the first tensor or BatchNorm of the network, in forward order, that is not finite:
	// trained values or, if these are finite, running statistics or the statistics of the
	// batch. "" if all are finite.
	Tensor string

	Checkpoint string // path of the checkpoint of the last complete epoch; "" if there is none
	Epochs     int    // complete epochs
}

func (e *DivergedError) Error() string {
	text := fmt.Sprintf("training diverged: %s is not finite at epoch %d, step %d (learning rate %g)", e.What, e.Epoch, e.Step, e.LearningRate)
	if e.Tensor != "" && e.Tensor != e.What {
		text += "; the first tensor that is not finite is " + e.Tensor
	}
	if e.Checkpoint != "" {
		text += fmt.Sprintf("; %s still holds epoch %d", e.Checkpoint, e.Epochs)
	}
	return text
}

// RollbackError reports that a run diverged, went back to an earlier epoch and continues with
// half the learning rate. It does not stop the run.
type RollbackError struct {
	Diverged *DivergedError
	Epochs   int // complete epochs that the run continues from; 0 for the beginning
	Rollback int // from 1
	Most     int // number of rollbacks after which a further divergence stops the run
}

func (e *RollbackError) Error() string {
	action := "starting again"
	if e.Epochs > 0 {
		action = fmt.Sprintf("continuing from epoch %d", e.Epochs)
	}
	d := e.Diverged
	return fmt.Sprintf("%s is not finite at epoch %d, step %d: %s with half the learning rate (rollback %d of %d)",
		d.What, d.Epoch, d.Step, action, e.Rollback, e.Most)
}

// Unwrap returns Diverged.
func (e *RollbackError) Unwrap() error { return e.Diverged }

// ModelError reports why a model cannot be used, or why a checkpoint does not hold
// one: for example, its tensors do not fit its network.
type ModelError struct {
	Path   string // the model's file; "" if it has none
	Reason string
}

func (e *ModelError) Error() string { return modelName(e.Path) + ": " + e.Reason }

// BadInput reports that the model is at fault.
func (e *ModelError) BadInput() bool { return true }

// UnknownNetworkError reports that the network in another program's file is not recognised.
type UnknownNetworkError struct {
	Path   string
	Reason string // for example, which tensor does not fit
}

func (e *UnknownNetworkError) Error() string {
	return e.Path + ": its network is not recognised: " + e.Reason
}

// BadInput reports that the file is at fault.
func (e *UnknownNetworkError) BadInput() bool { return true }

// DataError reports that the data that a model was trained on cannot be found, or that the data
// found is different.
type DataError struct {
	Path   string // the model's file; "" if it has none
	Reason string
}

func (e *DataError) Error() string { return modelName(e.Path) + ": " + e.Reason }

// BadInput reports that the data, or the model's description of it, is at fault.
func (e *DataError) BadInput() bool { return true }

// LossError reports that a model's test loss is not finite, so that its accuracy
// does not mean anything either.
type LossError struct {
	Path       string // the model's file; "" if it has none
	Evaluation Evaluation
}

func (e *LossError) Error() string {
	return fmt.Sprintf("%s: its loss on the %d pictures of the test split is %v (%s statistics): the model has diverged; train it again with a lower learning rate",
		modelName(e.Path), e.Evaluation.Examples, e.Evaluation.TestLoss, e.Evaluation.Statistics)
}

// modelName returns the name of a model in error messages: its path or, if that is "", "the
// model".
func modelName(path string) string {
	if path == "" {
		return "the model"
	}
	return path
}
