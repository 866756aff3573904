package engine

import (
	"errors"

	"bnkit/engine/config"
	"bnkit/engine/dataset"
)

// selected returns what a selection takes of data; the error is a *config.Error where
// the data cannot give it.
func selected(data *dataset.Data, sel dataset.Selection) (*dataset.Data, error) {
	data, err := data.Select(sel)
	var e *dataset.SelectionError
	if errors.As(err, &e) {
		return nil, &config.Error{Key: e.Setting, Reason: e.Reason}
	}
	return data, err
}
