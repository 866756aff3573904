package analysis

import (
	"cmp"
	"context"
	"math"
	"slices"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/prune"
)

// Sensitivity describes how much accuracy depends on each layer. The channels with the smallest
// |γ| of one layer are clamped while all other layers keep theirs. Statistics are re-estimated
// for each measurement.
type Sensitivity struct {
	Shares    []float64          `json:"shares"`    // of a layer's channels, ascending
	Over      Scope              `json:"over"`      // the data of all accuracies below
	Unclamped Accuracy           `json:"unclamped"` // of the network as it is
	Layers    []LayerSensitivity `json:"layers"`    // one for each of Report.Layers, in the same order
}

// LayerSensitivity is the part of Sensitivity that belongs to one BatchNorm.
type LayerSensitivity struct {
	Name     string         `json:"name"`
	Channels int            `json:"channels"` // without pruned channels
	Clamped  []LayerClamped `json:"clamped"`  // one for each of Sensitivity.Shares, in the same order
}

// LayerClamped is the result of a network in which the channels with the smallest |γ| of one
// layer have γ = 0 and keep their β.
type LayerClamped struct {
	Channels int `json:"channels"` // number of clamped channels: the share of the layer's channels, rounded
	Accuracy
}

// measureSensitivity measures every layer at every share. stats are the statistics of m.
func (r *Report) measureSensitivity(ctx context.Context, m *engine.Model, data *dataset.Data, stats *nn.Statistics, o *Options) error {
	limited := *data
	if o.SensitivityPictures > 0 {
		limited.Test = data.Test.First(o.SensitivityPictures)
	}
	evaluator, err := m.Evaluator(&limited, o.Threads)
	if err != nil {
		return err
	}
	defer evaluator.Close()
	test, err := evaluate(ctx, evaluator, stats)
	if err != nil {
		return err
	}
	s := &Sensitivity{
		Shares: o.Sensitivity, Unclamped: accuracyOf(test),
		Over: Scope{Split: "test", Examples: test.Examples, Statistics: test.Statistics},
	}
	for i := range m.Network.Units {
		u := &m.Network.Units[i]
		if u.BN == "" {
			continue
		}
		order := channelsByGamma(m.Params.Of(i, arch.Gamma), r.Layers[len(s.Layers)].Pruned)
		l := LayerSensitivity{Name: u.BN, Channels: len(order)}
		for k, share := range s.Shares {
			o.Progress("accuracy with channels of one layer clamped", len(s.Layers)*len(s.Shares)+k, len(r.Layers)*len(s.Shares))
			n := int(math.Round(share * float64(len(order))))
			plan := prune.Plan{Arch: m.Network.Name, Beta: prune.BetaKept, Layers: []prune.PlannedLayer{
				{Name: u.BN, Channels: u.OutShape.C, Kept: slices.Sorted(slices.Values(order[n:]))},
			}}
			clamped, err := plan.Apply(m)
			if err != nil {
				return err
			}
			row := LayerClamped{Channels: n}
			if row.Accuracy, err = accuracyOfVariant(ctx, evaluator, clamped); err != nil {
				return err
			}
			l.Clamped = append(l.Clamped, row)
		}
		s.Layers = append(s.Layers, l)
	}
	r.Sensitivity = s
	return nil
}

// channelsByGamma returns the channels that are not pruned, smallest |γ| first.
func channelsByGamma(gamma []float32, pruned []int) []int {
	var order []int
	for c := range gamma {
		if _, found := slices.BinarySearch(pruned, c); !found {
			order = append(order, c)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(math.Abs(float64(gamma[a])), math.Abs(float64(gamma[b])))
	})
	return order
}
