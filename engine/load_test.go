package engine

import (
	"context"

	"bnkit/checkpoint"
)

// newModel returns the model that a file holds.
func newModel(file *checkpoint.File) (*Model, error) {
	m, set, err := describedModel(&file.Header)
	if err != nil {
		return nil, err
	}
	return m, m.fill(context.Background(), file, set)
}
