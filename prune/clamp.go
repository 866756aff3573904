package prune

import (
	"slices"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// Layer counts the channels of one BatchNorm.
type Layer struct {
	Name     string `json:"name"`
	Height   int    `json:"height"` // of the outputs, in pixels
	Width    int    `json:"width"`
	Channels int    `json:"channels"`
	Clamped  int    `json:"clamped"`
	Removed  int    `json:"removed"` // clamped channels that were removed
}

// Clamp returns a variant of m in which every γ with |γ| below the threshold is 0. With
// zeroBeta, β of the same channels is 0 too. It also returns the numbers of clamped
// channels, as one Layer for each BatchNorm that has γ, in the network's order. Clamp does
// not change m.
func Clamp(m *engine.Model, threshold float64, zeroBeta bool) (*engine.Model, []Layer) {
	beta := BetaKept
	if zeroBeta {
		beta = BetaZeroed
	}
	p, _, _ := choose(m, Choice{Threshold: threshold}, beta, make([]bool, len(m.Network.Units)))
	clamped, err := p.Apply(m)
	if err != nil {
		panic(err) // cannot happen: the plan was made from the same network
	}
	return clamped, layersOf(clamped, nil)
}

// layersOf counts the clamped and the removed channels of each BatchNorm that has γ. A clamped
// channel is removed if it is missing in origins, the Origins of an nn.Compacted. If origins is
// nil, no channel counts as removed.
func layersOf(clamped *engine.Model, origins [][]int) []Layer {
	var layers []Layer
	for i := range clamped.Network.Units {
		gamma := clamped.Params.Of(i, arch.Gamma)
		if gamma == nil {
			continue
		}
		u := &clamped.Network.Units[i]
		l := Layer{Name: u.BN, Height: u.OutShape.H, Width: u.OutShape.W, Channels: len(gamma)}
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
