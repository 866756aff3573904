// Package engine trains networks, loads them from checkpoints and evaluates them.
//
// # Training
//
// [Train] runs a [config.Config] on a data set, which [dataset.Open] loads, and writes a run
// directory: the settings, a row of measurements for each epoch, the model (ckpt.bnz)
// and the state from which an interrupted run is resumed. Start from [config.Default]
// and change what differs. [TrainOptions] holds the run directory and the functions to call
// as training progresses. Cancel the context to stop. A later call with
// TrainOptions.Resume set continues the run and writes the same bytes as a run that was
// not stopped.
//
// A program with its own training loop uses a [Trainer], which takes one step at a time.
//
// # Models
//
// A [Model] is a network with its parameters and whatever is known about its data.
// [LoadModel] reads one from a checkpoint and regenerates the weights that the file
// does not store from their seed. A model does not need a file: a network of package
// arch and parameters of package nn are enough. [Model.Save] writes a checkpoint.
//
// # Evaluation
//
// An [Evaluator] measures a model, and variants of it with other γ and β, on a test
// split in BatchNorm's inference mode. It uses the running statistics that the model
// stores or re-estimates them from the training split. [Model.OpenData] finds the data
// that a model was trained on; [Model.Normalised] prepares other data for it.
//
// # Determinism
//
// With the same kernels, results depend on the settings and the data alone, never on the
// number of threads, the time, the path, or how often a run was interrupted.
package engine
