package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bnkit/checkpoint"
	"bnkit/engine/nn"
)

// StateDict is the whole network as a PyTorch state dict of open_lth's names:
// every weight (conv.weight, blocks.0.conv1.weight, ..., fc.weight, fc.bias;
// convolutions O×I×H×W), every γ and β (bn.weight, bn.bias, ...) and every
// statistic of stats (bn.running_mean, bn.running_var, ...; the variance
// unbiased, as PyTorch keeps it), all float32, in the network's order.
func (m *Model) StateDict(stats *nn.Statistics) []checkpoint.Tensor {
	var ts []checkpoint.Tensor
	add := func(name string, shape []int, values []float32) {
		ts = append(ts, checkpoint.Tensor{Name: name, Shape: shape, Float32: values})
	}
	units := m.Network.Units
	for i := range m.Params.Tensors {
		x := &m.Params.Tensors[i]
		add(x.Name, x.Shape, slices.Clone(m.Params.Values[i]))
		// β is a BatchNorm's last tensor; its statistics follow it.
		if x.Unit < len(units) && strings.HasSuffix(x.Name, ".bias") {
			u := &units[x.Unit]
			add(u.BN+meanSuffix, x.Shape, narrow(stats.Mean[x.Unit]))
			add(u.BN+varianceSuffix, x.Shape, narrow(stats.Var[x.Unit]))
		}
	}
	return ts
}

func narrow(values []float64) []float32 {
	n := make([]float32, len(values))
	for i, v := range values {
		n[i] = float32(v)
	}
	return n
}

// ExportMetadata is what a user of the state dict must know: how to build the
// network, and that a picture is fed to it as (pixel/255 - mean)/std per
// channel, and BatchNorm's eps. Numbers are as short as they can be read back
// exactly; a channel's are separated by commas.
func (m *Model) ExportMetadata() map[string]string {
	h := &m.Header
	list := func(values []float32) string {
		var s []string
		for _, v := range values {
			s = append(s, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
		return strings.Join(s, ",")
	}
	return map[string]string{
		"format":             "pt",
		"arch":               h.Arch,
		"shortcut":           h.Shortcut,
		"input":              fmt.Sprintf("%d,%d,%d", h.Input[0], h.Input[1], h.Input[2]),
		"classes":            strconv.Itoa(h.Classes),
		"trainable":          h.Trainable,
		"seed":               strconv.FormatUint(h.Seed, 10),
		"data":               h.Data.Name,
		"normalisation_mean": list(h.Normalisation.Mean),
		"normalisation_std":  list(h.Normalisation.Std),
		"bn_eps":             strconv.FormatFloat(h.Normalisation.Eps, 'g', -1, 64),
	}
}
