package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// Compact returns a smaller model that computes the same function as m. It lacks the channels
// that m.Kept leaves out, except those that its shapes need; see nn.Compact. The Compacted relates its channels to those of m. If
// m.Kept is nil, the model is a copy of m. The weights of a smaller network cannot be drawn
// from a seed, so the model can be saved only if all its tensors are stored; save m instead.
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

// compactForFile returns the model that Compact returns, in a form that a file can hold: all
// tensors are stored, and the channels that are still constant are listed as pruned.
// Compacting the result gives the same network again.
func (m *Model) compactForFile() (*Model, error) {
	small, c, err := m.Compact()
	if err != nil {
		return nil, err
	}
	small.Origin, small.Origins = nil, map[string][]int{}
	small.Kept = make([][]int, len(small.Network.Units))
	for i, origins := range c.Origins {
		earlier := m.Origins[m.Network.Units[i].Name] // nil if m has all channels of this unit
		original := make([]int, len(origins))         // indices in the network before any channel was removed
		for j, origin := range origins {
			if original[j] = origin; earlier != nil && origin != nn.ConstantChannel {
				original[j] = earlier[origin]
			}
		}
		if len(origins) != m.Network.Units[i].OutShape.C || earlier != nil || slices.Contains(origins, nn.ConstantChannel) {
			small.Origins[m.Network.Units[i].Name] = original
		}
		if small.Params.Of(i, arch.Gamma) == nil {
			continue
		}
		kept := []int{}
		for j, origin := range origins {
			if origin != nn.ConstantChannel && (m.Kept[i] == nil || slices.Contains(m.Kept[i], origin)) {
				kept = append(kept, j)
			}
		}
		if len(kept) < len(origins) {
			small.Kept[i] = kept
		}
	}
	return small, nil
}

// Predictions returns the class that the model predicts for each picture of the test split,
// in the order of the split, in inference mode with the given statistics.
func (e *Evaluator) Predictions(ctx context.Context, stats *nn.Statistics) ([]int, error) {
	if err := e.loadInference(stats); err != nil {
		return nil, err
	}
	classes := e.model.Network.Classes
	batches := e.testLoader.Start(ctx, 0, 0)
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

// checkOrigins returns an error if origins, in the form of Model.Origins, does not fit the units of
// net.
func checkOrigins(net *arch.Network, origins map[string][]int) error {
	channels := map[string]int{}
	for i := range net.Units {
		channels[net.Units[i].Name] = net.Units[i].OutShape.C
	}
	for _, name := range slices.Sorted(maps.Keys(origins)) {
		n, ok := channels[name]
		if !ok {
			return fmt.Errorf("it lists origins of the channels of %q, a unit that it does not have", name)
		}
		if len(origins[name]) != n {
			return fmt.Errorf("it lists the origins of %d channels of %s, which has %d", len(origins[name]), name, n)
		}
		seen := map[int]bool{}
		for _, channel := range origins[name] {
			if channel < nn.ConstantChannel || seen[channel] {
				return fmt.Errorf("the origins of the channels of %s, %d, are not different indices, or -1", name, origins[name])
			}
			seen[channel] = channel != nn.ConstantChannel // a network from which channels were removed twice may have several
		}
	}
	return nil
}
