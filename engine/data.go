package engine

import (
	"errors"

	"bnkit/engine/config"
	"bnkit/engine/dataset"
)

// selected returns the selection from data. The error is a *config.Error if data does not
// have what the selection asks for.
func selected(data *dataset.Data, sel dataset.Selection) (*dataset.Data, error) {
	data, err := data.Select(sel)
	var e *dataset.SelectionError
	if errors.As(err, &e) {
		return nil, &config.Error{Key: e.Setting, Reason: e.Reason}
	}
	return data, err
}
