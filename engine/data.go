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
