package prune

import (
	"math"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// Layer says how many channels of a BatchNorm were clamped.
type Layer struct {
	Name     string `json:"name"`
	Channels int    `json:"channels"`
	Clamped  int    `json:"clamped"`
}

// Clamp returns a variant of m in which every γ with |γ| below the threshold is 0, and with
// zeroBeta also β of those channels. It also returns the result for each BatchNorm that has
// γ, in the order of the network. It does not change m.
func Clamp(m *engine.Model, threshold float64, zeroBeta bool) (*engine.Model, []Layer) {
	clamped := m.Variant()
	var layers []Layer
	for i := range m.Network.Units {
		gamma, beta := clamped.Params.Of(i, arch.Gamma), clamped.Params.Of(i, arch.Beta)
		if gamma == nil {
			continue
		}
		layer := Layer{Name: m.Network.Units[i].BN, Channels: len(gamma)}
		for c, g := range gamma {
			if math.Abs(float64(g)) >= threshold {
				continue
			}
			layer.Clamped++
			gamma[c] = 0
			if zeroBeta && beta != nil {
				beta[c] = 0
			}
		}
		layers = append(layers, layer)
	}
	return clamped, layers
}
