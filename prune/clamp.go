package prune

import (
	"slices"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// Layer is what happened to one BatchNorm.
type Layer struct {
	Name     string `json:"name"`
	Channels int    `json:"channels"`
	Clamped  int    `json:"clamped"`
	Removed  int    `json:"removed"` // of those clamped
}

// Clamp returns a variant of m in which every γ with |γ| below the threshold is
// 0, and so is β of those channels with zeroBeta, and how many that are of each
// BatchNorm that has γ, in the network's order. m stays as it is.
func Clamp(m *engine.Model, threshold float64, zeroBeta bool) (*engine.Model, []Layer) {
	beta := BetaKept
	if zeroBeta {
		beta = BetaZeroed
	}
	p, _, _ := choose(m, Choice{Threshold: threshold}, beta, make([]bool, len(m.Network.Units)))
	clamped, err := p.Apply(m)
	if err != nil {
		panic(err) // a plan made of a network is for that network
	}
	return clamped, layersOf(clamped, nil)
}

// layersOf tells of each BatchNorm that has γ what is clamped, and what is not
// among the origins that nn.Compacted has; nil counts nothing as removed.
func layersOf(clamped *engine.Model, origins [][]int) []Layer {
	var layers []Layer
	for i := range clamped.Network.Units {
		gamma := clamped.Params.Of(i, arch.Gamma)
		if gamma == nil {
			continue
		}
		l := Layer{Name: clamped.Network.Units[i].BN, Channels: len(gamma)}
		for c := range gamma {
			if !stays(clamped.Kept[i], c) {
				l.Clamped++
				if origins != nil && !slices.Contains(origins[i], c) {
					l.Removed++
				}
			}
		}
		layers = append(layers, l)
	}
	return layers
}
