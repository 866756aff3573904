// Package engine trains, loads and evaluates networks.
//
// [Train] trains by the settings of a [config.Config] on a data set and writes a
// run directory. [LoadModel] reads a checkpoint and regenerates the frozen weights
// from its seed; a [Model] may also be made of any network and parameters. An
// [Evaluator] measures a model and its variants in inference mode, with the
// statistics that it stores or with re-estimated ones.
//
// A result depends on the settings and the data alone, never on the number of
// threads, the time, the path, or how often a run was interrupted.
package engine
