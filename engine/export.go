package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// Exported is a network in a form that other programs can read.
type Exported struct {
	Tensors    []checkpoint.Tensor // the state dict; see Model.StateDict
	Metadata   map[string]string   // see Model.ExportMetadata
	Parameters int                 // elements of the tensors, without running statistics

	model *Model // the model in standard form; Tensors is its state dict
}

// Export returns m for other programs, with the BatchNorm statistics stats. The result uses
// only layers that every framework has. Therefore a residual that is a channel map becomes a
// 1×1 convolution of zeros and ones with the map's stride, unless the map is an option-A
// shortcut of the network. The convolution is named like the shortcut of a CIFAR ResNet, e.g.
// blocks.1.shortcut.0. A BatchNorm channel with γ = 0 always outputs β, whatever its
// statistics; if its statistics are not usable numbers, it gets mean 0 and variance 1.
func (m *Model) Export(stats *nn.Statistics) (*Exported, error) {
	standard, stats, err := m.standardForm(stats)
	if err != nil {
		return nil, err
	}
	e := &Exported{Tensors: standard.StateDict(stats), Metadata: standard.ExportMetadata(), model: standard}
	for i := range e.Tensors {
		if x := &e.Tensors[i]; !strings.HasSuffix(x.Name, meanSuffix) && !strings.HasSuffix(x.Name, varianceSuffix) {
			e.Parameters += len(x.Float32)
		}
	}
	return e, nil
}

// StateDict returns the whole network as a PyTorch state dict with the names of open_lth or
// torchvision: every weight and bias (conv.weight, blocks.0.conv1.weight, ..., fc.weight,
// fc.bias; convolutions O×I×H×W), every γ and β (bn.weight, bn.bias, ...; 1 and 0 if they
// are fixed) and every statistic of stats (bn.running_mean, bn.running_var, ...; the
// variance is unbiased, as in PyTorch). All are float32, in the order of the network.
func (m *Model) StateDict(stats *nn.Statistics) []checkpoint.Tensor {
	var ts []checkpoint.Tensor
	add := func(name string, shape []int, values []float32) {
		ts = append(ts, checkpoint.Tensor{Name: name, Shape: shape, Float32: values})
	}
	tensors, next := m.Params.Tensors, 0
	for i := range m.Network.Units {
		u := &m.Network.Units[i]
		for ; tensors[next].Unit == i; next++ {
			if x := &tensors[next]; x.Kind != arch.Gamma && x.Kind != arch.Beta {
				add(x.Name, x.Shape, slices.Clone(m.Params.Values[next]))
			}
		}
		if u.BN == "" {
			continue
		}
		channels := []int{u.OutShape.C}
		cloneOrConstant := func(values []float32, value float32) []float32 {
			if values == nil {
				return slices.Repeat([]float32{value}, u.OutShape.C)
			}
			return slices.Clone(values)
		}
		add(u.BN+".weight", channels, cloneOrConstant(m.Params.Of(i, arch.Gamma), 1))
		add(u.BN+".bias", channels, cloneOrConstant(m.Params.Of(i, arch.Beta), 0))
		add(u.BN+meanSuffix, channels, narrow(stats.Mean[i]))
		add(u.BN+varianceSuffix, channels, narrow(stats.Var[i]))
	}
	for ; next < len(tensors); next++ {
		add(tensors[next].Name, tensors[next].Shape, slices.Clone(m.Params.Values[next]))
	}
	return ts
}

// narrow converts values to float32.
func narrow(values []float64) []float32 {
	n := make([]float32, len(values))
	for i, v := range values {
		n[i] = float32(v)
	}
	return n
}

// ExportMetadata returns the information that users of the state dict need: how to build the
// network, the mean and standard deviation of the normalisation (pixel/255 - mean)/std, and
// BatchNorm's eps. The widths are the numbers of output channels of all convolutions in the
// order of the network, e.g. conv=16,blocks.0.conv1=15. Numbers have the fewest digits that
// identify them exactly, and elements of lists are separated by commas. Unknown values are
// left out.
func (m *Model) ExportMetadata() map[string]string {
	list := func(values []float32) string {
		var s []string
		for _, v := range values {
			s = append(s, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
		return strings.Join(s, ",")
	}
	net, o := m.Network, &m.Network.Options
	var widths []string
	for i := range net.Units {
		if u := &net.Units[i]; u.Op == arch.Convolution {
			widths = append(widths, fmt.Sprintf("%s=%d", u.Name, u.OutShape.C))
		}
	}
	metadata := map[string]string{
		"format":  "pt",
		"arch":    net.Name,
		"input":   fmt.Sprintf("%d,%d,%d", net.Input.C, net.Input.H, net.Input.W),
		"classes": strconv.Itoa(net.Classes),
		"widths":  strings.Join(widths, ","),
		"bn_eps":  strconv.FormatFloat(cmp.Or(m.Preprocessing.Eps, nn.DefaultEps), 'g', -1, 64),
	}
	known := map[string]string{
		"shortcut":           string(o.Shortcut),
		"data":               m.Data.Name,
		"normalisation_mean": list(m.Preprocessing.Mean),
		"normalisation_std":  list(m.Preprocessing.Std),
	}
	if m.Origin != nil {
		known["trainable"], known["seed"] = string(m.Origin.Trainable), strconv.FormatUint(m.Origin.Seed, 10)
	}
	maps.Insert(known, o.Variants.All())
	for name, value := range known {
		if value != "" {
			metadata[name] = value
		}
	}
	return metadata
}
