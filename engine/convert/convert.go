// Package convert turns the state dicts of other people's networks into networks of package
// arch, with parameters and statistics. It recognises the architecture by the names and shapes
// of the tensors, and reports the evidence. These networks are supported:
//
//   - ResNets with the names of torchvision and timm, also with a first convolution of 3×3
//   - CIFAR ResNets with three stages (akamaster/pytorch_resnet_cifar10,
//     chenyaofo/pytorch-cifar-models) or with four (kuangliu/pytorch-cifar)
//   - VGGs (torchvision, chenyaofo, kuangliu); hidden linear layers become convolutions
//   - networks with the tensor names of open_lth, such as those that bnkit exports
//
// Layers may have other widths than usual, as after pruning. A BatchNorm's eps is not in a
// state dict; PyTorch's default is nn.DefaultEps.
package convert

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// Tensor is a tensor of a state dict.
type Tensor struct {
	Name   string
	DType  string                    // of the elements, as safetensors names it, e.g. "F16"; Recognise does not use it
	Shape  []int                     // in PyTorch's order; convolutions O×I×H×W
	Values func() ([]float32, error) // reads the elements, row-major; Recognise does not call it
	Bytes  func() ([]byte, error)    // reads the elements as stored in the file, little-endian; Recognise and Recognised.Load do not call it
}

// Options holds properties of a network that its tensors may not determine. Recognise derives
// the properties whose fields are zero from the tensors, or assumes what is usual.
type Options struct {
	Arch     string        // name of a network of package arch, or "" to recognise it
	Shortcut arch.Shortcut // "" for option B if the state dict has its tensors, or else the option that is usual with the names
	Pictures [2]int        // height and width; zero for the network's usual size
	arch.Variants

	exported bool // whether bnkit wrote the tensors, so that a shortcut may add any number of channels of zeros
}

// Recognised is a network that was recognised, and the names of its tensors in the state
// dict.
type Recognised struct {
	// Network has canonical names. Its Options describe it only if Named is true.
	Network *arch.Network
	Named   bool // whether arch.Build makes the network from its Name and Options

	Evidence []string          // the reasons for choosing this network
	Names    map[string]string // names in the state dict by canonical name, including bn1.running_mean, ...
	Ignored  []string          // names of tensors that the network does not need

	tensors map[string]Tensor // by canonical name
}

// Error reports what is wrong with a state dict, such as a tensor that no supported network has, or
// with its metadata.
type Error struct {
	Tensor string // name in the state dict of the tensor that does not fit; "" if no single tensor is at fault
	Reason string
}

func (e *Error) Error() string {
	if e.Tensor == "" {
		return e.Reason
	}
	return e.Tensor + " " + e.Reason
}

// BadInput reports that the state dict is at fault.
func (e *Error) BadInput() bool { return true }

// misfit returns an *Error that names no tensor.
func misfit(format string, args ...any) error { return &Error{Reason: fmt.Sprintf(format, args...)} }

// Recognise finds the network that the tensors belong to. It uses only their names and shapes.
// The error is an *Error, or an *arch.Error if no network can be built with o.
func Recognise(tensors []Tensor, o Options) (*Recognised, error) {
	d, err := newDict(tensors)
	if err != nil {
		return nil, err
	}
	m, err := d.match(o)
	if err != nil {
		return nil, err
	}
	m.convolveMaps(d)
	if err := d.adapt(m, o.exported); err != nil {
		return nil, err
	}
	r := &Recognised{Network: m.net, Names: map[string]string{}, Ignored: d.ignored, tensors: map[string]Tensor{}}
	if err := d.assign(r, m); err != nil {
		return nil, err
	}
	r.Named = m.rename()
	r.Evidence = d.evidence(m)
	return r, nil
}

// Suffixes of the names of a BatchNorm's statistics in PyTorch.
const (
	meanSuffix     = ".running_mean"
	varianceSuffix = ".running_var"
)

// Load reads the parameters and the running statistics, which are nil if the state dict has
// none. The error is an *Error if a tensor has a wrong number of values, if a value is not
// finite, a variance is negative, or a γ or β differs from the number at which the network
// fixes it; or it is an error of Tensor.Values.
func (r *Recognised) Load() (*nn.Params[float32], *nn.Statistics, error) {
	return r.LoadContext(context.Background())
}

// LoadContext is Load, but returns ctx's error if ctx is cancelled.
func (r *Recognised) LoadContext(ctx context.Context) (*nn.Params[float32], *nn.Statistics, error) {
	params := nn.NewParams[float32](r.Network, func(*arch.Tensor) bool { return false })
	for i := range params.Tensors {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		x := &params.Tensors[i]
		values, err := r.values(x.Name, x.Len(), -math.MaxFloat32)
		if err != nil {
			return nil, nil, err
		}
		params.Values[i] = values
	}
	for i := range r.Network.Units {
		if err := r.checkFixed(&r.Network.Units[i]); err != nil {
			return nil, nil, err
		}
	}
	if !r.HasStatistics() {
		return params, nil, nil
	}
	stats := &nn.Statistics{Mean: make([][]float64, len(r.Network.Units)), Var: make([][]float64, len(r.Network.Units))}
	for i := range r.Network.Units {
		u := &r.Network.Units[i]
		if u.BN == "" {
			continue
		}
		mean, err := r.values(u.BN+meanSuffix, u.OutShape.C, -math.MaxFloat32)
		if err != nil {
			return nil, nil, err
		}
		variance, err := r.values(u.BN+varianceSuffix, u.OutShape.C, 0)
		if err != nil {
			return nil, nil, err
		}
		stats.Mean[i], stats.Var[i] = widen(mean), widen(variance)
	}
	return params, stats, nil
}

// HasStatistics reports whether the state dict has running statistics. Recognise accepts only
// a state dict with those of all BatchNorms or of none.
func (r *Recognised) HasStatistics() bool {
	i := slices.IndexFunc(r.Network.Units, func(u arch.Unit) bool { return u.BN != "" })
	return i >= 0 && r.Names[r.Network.Units[i].BN+meanSuffix] != ""
}

// values reads the n values of a tensor and checks that they are finite and not below lowest.
func (r *Recognised) values(name string, n int, lowest float64) ([]float32, error) {
	x := r.tensors[name]
	values, err := x.Values()
	if err != nil {
		return nil, err
	}
	if len(values) != n {
		return nil, &Error{x.Name, fmt.Sprintf("has %d values, want %d", len(values), n)}
	}
	for i, v := range values {
		if f := float64(v); !(f >= lowest && f <= math.MaxFloat32) {
			want := "a finite number"
			if lowest == 0 {
				want += " of at least 0"
			}
			return nil, &Error{x.Name, fmt.Sprintf("holds %v at index %d; want %s", v, i, want)}
		}
	}
	return values, nil
}

// checkFixed checks that a BatchNorm's γ is 1 if the network fixes it, and that its β is 0 if
// the network fixes it.
func (r *Recognised) checkFixed(u *arch.Unit) error {
	for _, fixed := range []struct {
		fixes  bool
		suffix string
		value  float32
	}{{u.NoScale, ".weight", 1}, {u.NoShift, ".bias", 0}} {
		if x, stored := r.tensors[u.BN+fixed.suffix]; fixed.fixes && stored {
			values, err := r.values(u.BN+fixed.suffix, u.OutShape.C, -math.MaxFloat32)
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(values, func(v float32) bool { return v != fixed.value }); i >= 0 {
				return &Error{x.Name, fmt.Sprintf("holds %v at index %d, but the network fixes it at %v", values[i], i, fixed.value)}
			}
		}
	}
	return nil
}

// widen converts values to float64.
func widen(values []float32) []float64 {
	w := make([]float64, len(values))
	for i, v := range values {
		w[i] = float64(v)
	}
	return w
}

// formatShape formats a shape, for example as [64×3×7×7].
func formatShape(shape []int) string { return strings.ReplaceAll(fmt.Sprint(shape), " ", "×") }
