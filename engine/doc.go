// Package engine trains, loads and evaluates networks.
//
// [Train] runs a [Config] on a data set and writes a run directory. [LoadModel]
// brings a checkpoint back to life, its frozen weights regenerated from the
// seed; a [Model] may as well be put together of any network and parameters. An
// [Evaluator] measures it and its variants in inference mode, with the statistics
// that it stores or with re-estimated ones.
//
// One rule runs through it: a result depends on the Config and the data
// alone, never on the number of threads, the time, the path, or how often a
// run was interrupted.
package engine
