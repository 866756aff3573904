package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/prune"
)

// The functions in this file describe how a model was made.

// trainedParameters returns the number of the model's parameters that were trained, without those
// of pruned channels. It returns nil if the origin of the model is not known.
func trainedParameters(m *engine.Model) (*int, error) {
	if m.Origin == nil {
		return nil, nil
	}
	n, err := parametersOf(m, m.Origin.Trainable, m.Origin.Seed)
	return &n, err
}

// parametersOf returns the number of parameters in a trainable set, without those of pruned
// channels. seed chooses the parameters of a random set.
func parametersOf(m *engine.Model, set arch.TrainableSet, seed uint64) (int, error) {
	if m.Kept == nil {
		return set.Parameters(m.Network), nil
	}
	_, compacted, err := m.Compact()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, values := range compacted.Trained(m.Params, set, seed).Values {
		n += len(values)
	}
	return n, nil
}

// prunedChannels returns the number of channels that a model holds constant.
func prunedChannels(m *engine.Model) int {
	n := 0
	for i, kept := range m.Kept {
		if kept != nil {
			n += m.Network.Units[i].OutShape.C - len(kept)
		}
	}
	return n
}

// historyStep is a step of a model's history: a training or a pruning.
type historyStep struct {
	pruned bool
	epochs int // of the training or of the recovery after pruning
}

// historyOf returns the trainings and prunings by bnkit that made a model, oldest first.
func historyOf(m *engine.Model) []historyStep {
	var steps []historyStep
	for _, e := range m.History {
		if e.Tool != "bnkit" {
			continue
		}
		switch e.Action {
		case "train":
			var t struct{ Epochs int }
			if json.Unmarshal(e.Parameters, &t) == nil {
				steps = append(steps, historyStep{epochs: t.Epochs})
			}
		case "prune":
			var p prune.Event
			if json.Unmarshal(e.Parameters, &p) == nil {
				steps = append(steps, historyStep{true, p.Epochs * max(p.Iterations, 1)})
			}
		}
	}
	return steps
}

// historyText describes the result of historyOf. It returns "" for a model
// that was neither trained nor pruned by bnkit.
func historyText(m *engine.Model) string {
	var parts []string
	for _, s := range historyOf(m) {
		switch {
		case s.pruned && s.epochs > 0:
			parts = append(parts, "pruned", plural(s.epochs, "epoch")+" of recovery")
		case s.pruned:
			parts = append(parts, "pruned")
		default:
			parts = append(parts, plural(s.epochs, "epoch"))
		}
	}
	return strings.Join(parts, ", ")
}

// plural returns a number with a noun, in the plural unless the number is 1.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
