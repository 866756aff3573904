package engine

import (
	"errors"

	"bnkit/engine/config"
	"bnkit/engine/dataset"
)

// selectData returns data.Select(sel). The error is a *config.Error if data does not have the
// pictures that sel asks for.
func selectData(data *dataset.Data, sel dataset.Selection) (*dataset.Data, error) {
	data, err := data.Select(sel)
	var e *dataset.SelectionError
	if errors.As(err, &e) {
		return nil, &config.Error{Key: e.Setting, Reason: e.Reason}
	}
	return data, err
}

// TrainingLoader returns a loader of shuffled batches of the training split of data, augmented as
// the settings say. The split must have at least cfg.Batch pictures, and threads must be at least 1.
func TrainingLoader(cfg *config.Config, data *dataset.Data, threads int) (*dataset.Loader, error) {
	return dataset.NewLoader(data.Train, dataset.LoaderConfig{
		Batch: cfg.Batch, Seed: cfg.Seed, Shuffle: true, Augment: cfg.Augment, DropLast: true,
		Mean: data.Mean, Std: data.Std, Flip: data.Flip && !cfg.NoFlip, Brightness: cfg.Brightness, Threads: threads,
	})
}
