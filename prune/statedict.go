package prune

import (
	"fmt"
	"math"

	"bnkit/checkpoint/safetensors"
	"bnkit/engine/convert"
)

// ClampedDict is a copy of a state dict in which small γ are zero, and also their β if Beta
// is BetaZeroed. All other values have the same bytes as before.
type ClampedDict struct {
	Threshold float64 `json:"threshold"`
	Beta      string  `json:"beta"` // BetaKept or BetaZeroed
	Channels  int     `json:"channels"`
	Clamped   int     `json:"clamped"`
	Layers    []Layer `json:"layers"` // one for each BatchNorm, in the order of the state dict

	Tensors []safetensors.Tensor `json:"-"` // in the order of the state dict
}

// ClampDict clamps every γ with |γ| below the threshold to 0 in the state dict of any
// network, as Clamp does in a model. With zeroBeta, it also sets β of these channels to 0.
// The error is an *OptionError if the threshold is not a positive finite number, a *convert.Error
// if the state dict has no BatchNorm or has one that cannot be clamped, or an error from
// reading the file.
func ClampDict(file *convert.File, threshold float64, zeroBeta bool) (*ClampedDict, error) {
	if !(threshold > 0) || math.IsInf(threshold, 0) {
		return nil, &OptionError{fmt.Sprintf("threshold %v is not a positive finite number; use, for example, 0.01", threshold)}
	}
	c := &ClampedDict{Threshold: threshold, Beta: BetaKept}
	if zeroBeta {
		c.Beta = BetaZeroed
	}
	norms := convert.BatchNorms(file.Tensors)
	if len(norms) == 0 {
		return nil, &convert.Error{Reason: "it has no BatchNorm, so there is no γ to clamp"}
	}
	changed := map[string][]byte{} // by the name of the tensor
	for i := range norms {
		b := &norms[i]
		gamma, _, err := b.Load()
		if err != nil {
			return nil, err
		}
		var small []int
		for channel, g := range gamma {
			if math.Abs(g) < threshold {
				small = append(small, channel)
			}
		}
		if changed[b.Gamma.Name], err = b.Gamma.Zeroed(small); err != nil {
			return nil, err
		}
		if zeroBeta {
			if changed[b.Beta.Name], err = b.Beta.Zeroed(small); err != nil {
				return nil, err
			}
		}
		c.Layers = append(c.Layers, Layer{Name: b.Name, Channels: len(gamma), Clamped: len(small)})
		c.Channels += len(gamma)
		c.Clamped += len(small)
	}
	for _, x := range file.Tensors {
		raw, found := changed[x.Name]
		if !found {
			var err error
			if raw, err = x.Bytes(); err != nil {
				return nil, err
			}
		}
		c.Tensors = append(c.Tensors, safetensors.Tensor{Name: x.Name, DType: x.DType, Shape: x.Shape}.WithBytes(raw))
	}
	return c, nil
}
