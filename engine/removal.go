package engine

import (
	"context"
	"slices"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// Compact returns a smaller model that computes the same as m without the channels that
// m.Kept leaves out. It also returns the relation of the channels to those of m. If m.Kept
// is nil, the model is a copy of m. Package arch cannot draw the weights of a smaller model
// from its seed, so it can be saved only if all its tensors are stored; save m instead.
// The error is a *ModelError if a channel that Kept leaves out has a γ other than 0.
func (m *Model) Compact() (*Model, *nn.Compacted[float32], error) {
	kept := m.Kept
	if kept == nil {
		kept = make([][]int, len(m.Network.Units))
	}
	c, err := nn.Compact(m.Network, m.Params, kept)
	if err != nil {
		return nil, nil, m.fail("%v", err)
	}
	small := *m
	small.Network, small.Params, small.Kept = c.Network, c.Params, nil
	if m.Stored != nil {
		small.Stored = c.Statistics(m.Stored)
	}
	return &small, c, nil
}

// sliced returns the model that Compact returns in a form that a file can hold: its tensors
// are all known by their values, and those of its channels that are still constant are
// listed as pruned, so that it compacts to itself.
func (m *Model) sliced() (*Model, error) {
	small, c, err := m.Compact()
	if err != nil {
		return nil, err
	}
	small.Origin, small.Origins = nil, map[string][]int{}
	small.Kept = make([][]int, len(small.Network.Units))
	for i, origins := range c.Origins {
		before := m.Origins[m.Network.Units[i].Name]
		known := make([]int, len(origins)) // index in the network before any channel was removed
		for at, origin := range origins {
			if known[at] = origin; before != nil && origin != nn.ConstantChannel {
				known[at] = before[origin]
			}
		}
		if len(origins) != m.Network.Units[i].OutShape.C || before != nil || slices.Contains(origins, nn.ConstantChannel) {
			small.Origins[m.Network.Units[i].Name] = known
		}
		if small.Params.Of(i, arch.Gamma) == nil {
			continue
		}
		kept := []int{}
		for at, origin := range origins {
			if origin != nn.ConstantChannel && (m.Kept[i] == nil || slices.Contains(m.Kept[i], origin)) {
				kept = append(kept, at)
			}
		}
		if len(kept) < len(origins) {
			small.Kept[i] = kept
		}
	}
	return small, nil
}

// Predictions returns the class that the model gives to each picture of the test
// split, in its order, in inference mode with the given statistics.
func (e *Evaluator) Predictions(ctx context.Context, stats *nn.Statistics) ([]int, error) {
	if err := e.load(stats); err != nil {
		return nil, err
	}
	classes := e.model.Network.Classes
	batches := e.testing.Start(ctx, 0, 0)
	defer batches.Close()
	var all []int
	for {
		b, ok := batches.Next()
		if !ok {
			return all, batches.Err()
		}
		logits := e.inference.Run(b.Images, b.N)
		for i := range b.N {
			scores := logits[i*classes:][:classes]
			all = append(all, slices.Index(scores, slices.Max(scores)))
		}
	}
}
