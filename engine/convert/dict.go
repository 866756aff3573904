package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bnkit/engine/arch"
)

// dict holds the tensors of a state dict by their names without prefixes.
type dict struct {
	tensors  map[string]Tensor
	used     map[string]bool
	ignored  []string // full names
	prefixes []string // the prefixes that were stripped
}

// prefixes are the prefixes that wrappers add to names: DataParallel, a module around the
// network, torch.compile.
var prefixes = []string{"module.", "model.", "_orig_mod.", "net."}

func newDict(tensors []Tensor) (*dict, error) {
	d := &dict{tensors: map[string]Tensor{}, used: map[string]bool{}}
	for _, x := range tensors {
		name := x.Name
		for i := 0; i < len(prefixes); i++ {
			if rest, ok := strings.CutPrefix(name, prefixes[i]); ok {
				if !slices.Contains(d.prefixes, prefixes[i]) {
					d.prefixes = append(d.prefixes, prefixes[i])
				}
				name, i = rest, -1
			}
		}
		if isUnused(name) {
			d.ignored = append(d.ignored, x.Name)
			continue
		}
		if other, exists := d.tensors[name]; exists {
			return nil, misfit("the tensors %s and %s have the same name apart from a prefix", other.Name, x.Name)
		}
		d.tensors[name] = x
	}
	if len(d.tensors) == 0 {
		return nil, misfit("the state dict has no tensors")
	}
	return d, nil
}

// isUnused reports whether a tensor is not used in inference: a counter of BatchNorm or of
// thop, or a tensor of an auxiliary classifier.
func isUnused(name string) bool {
	last := name[strings.LastIndex(name, ".")+1:]
	return last == "num_batches_tracked" || last == "total_ops" || last == "total_params" ||
		strings.HasPrefix(name, "AuxLogits.") || strings.HasPrefix(name, "aux_")
}

// has reports whether there is a tensor with the given name, which has no prefixes.
func (d *dict) has(name string) bool { _, ok := d.tensors[name]; return ok }

// count returns the smallest n for which the dict has no tensor named fmt.Sprintf(format, args..., n).
func (d *dict) count(format string, args ...any) int {
	n := 0
	for d.has(fmt.Sprintf(format, append(slices.Clone(args), n)...)) {
		n++
	}
	return n
}

// maxChannels is the largest number of channels of a layer, as in a described network of
// package arch.
const maxChannels = 1 << 15

// dim returns dimension i of a layer's weight, or 0 if there is none or it is out of range.
func (d *dict) dim(layer string, i int) int {
	shape := d.tensors[layer+".weight"].Shape
	if i >= len(shape) || shape[i] < 1 || shape[i] > maxChannels {
		return 0
	}
	return shape[i]
}

// adapt sets the widths of the network to those of the tensors. A convolution gets a bias if
// there is a tensor for it, and a kernel of 1×1 if its weight has one. A BatchNorm that has
// statistics, but neither γ nor β, gets fixed ones. exported is Options.exported.
func (d *dict) adapt(m *match, exported bool) error {
	net := m.net
	net.SetChannels(func(i int) int {
		u := &net.Units[i]
		switch u.Add.Kind {
		case arch.Identity, arch.Projection:
			return net.Units[u.Add.From].OutShape.C // a sum has the channels of its stream
		}
		if channels := d.dim(m.sourceName(u.Name), 0); channels > 0 {
			return channels
		}
		return u.OutShape.C
	})
	pointwise := 0
	for i := range net.Units {
		u := &net.Units[i]
		if u.Op == arch.Convolution {
			layer := m.sourceName(u.Name)
			u.Bias = d.has(layer + ".bias")
			// A 1×1 convolution without padding has an output of the same size. bnkit
			// exports one in place of a convolution that pruning left without effect.
			if u.Pad > 0 && u.Kernel == 2*u.Pad+1 && d.dim(layer, 2) == 1 && d.dim(layer, 3) == 1 {
				u.Kernel, u.Pad = 1, 0
				pointwise++
			}
		}
		if norm := m.sourceName(u.BN); u.BN != "" && d.has(norm+meanSuffix) && !d.has(norm+".weight") && !d.has(norm+".bias") {
			u.NoScale, u.NoShift = true, true
		}
		if u.Add.Kind != arch.Mapped {
			continue
		}
		// In other programs, a shortcut without weights doubles the number of channels.
		inputs, outputs := net.Units[u.Add.From].OutShape.C, u.OutShape.C
		if outputs < inputs || outputs != 2*inputs && !exported {
			want := fmt.Sprint(2 * inputs)
			if exported {
				want = fmt.Sprint("at least ", inputs)
			}
			return &Error{d.name(m.sourceName(u.Name) + ".weight"), fmt.Sprintf("has %d output channels, but a shortcut without weights turns %d channels into %s", outputs, inputs, want)}
		}
	}
	if pointwise > 0 {
		m.evidence = append(m.evidence, fmt.Sprintf("convolutions of 1×1 without padding where the network usually has larger ones: %d", pointwise))
	}
	return nil
}

// name returns the full name of the tensor whose name without prefixes is short, or short if there
// is none.
func (d *dict) name(short string) string {
	if x, ok := d.tensors[short]; ok {
		return x.Name
	}
	return short
}

// assign finds the tensor in the state dict for each tensor of the network, and checks its
// shape. It fails if a tensor is missing or has a wrong shape, or if a tensor in the state dict
// does not belong to any layer.
func (d *dict) assign(r *Recognised, m *match) error {
	take := func(name, source string, shape []int) error {
		x, ok := d.tensors[source]
		if !ok {
			return &Error{source, fmt.Sprintf("is missing; %s needs it with shape %s", m.net.Name, formatShape(shape))}
		}
		if !slices.Equal(x.Shape, shape) {
			return &Error{x.Name, fmt.Sprintf("has shape %s, want %s%s", formatShape(x.Shape), formatShape(shape), hint(x.Shape, shape))}
		}
		d.used[source] = true
		r.Names[name], r.tensors[name] = x.Name, x
		return nil
	}
	for _, x := range m.net.Tensors() {
		shape := x.Shape
		if m.linear[x.Unit] && x.Kind == arch.ConvWeight {
			shape = []int{shape[0], x.FanIn}
		}
		dot := strings.LastIndex(x.Name, ".")
		if err := take(x.Name, m.sourceName(x.Name[:dot])+x.Name[dot:], shape); err != nil {
			return err
		}
	}
	statistics := d.hasStatistics()
	for i := range m.net.Units {
		u := &m.net.Units[i]
		if u.BN == "" {
			continue
		}
		source := m.sourceName(u.BN)
		for _, extra := range []struct {
			suffix string
			wanted bool
		}{
			{meanSuffix, statistics}, {varianceSuffix, statistics},
			{".weight", u.NoScale && d.has(source+".weight")}, {".bias", u.NoShift && d.has(source+".bias")}, // fixed, but stored
		} {
			if !extra.wanted {
				continue
			}
			if err := take(u.BN+extra.suffix, source+extra.suffix, []int{u.OutShape.C}); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.tensors)) {
		if x := d.tensors[name]; !d.used[name] {
			size := strings.Trim(formatShape(x.Shape), "[]")
			if size == "" {
				size = "a single number"
			}
			return &Error{x.Name, fmt.Sprintf("(%s) does not belong to any layer of %s", size, m.net.Name)}
		}
	}
	return nil
}

// hasStatistics reports whether any BatchNorm has running statistics.
func (d *dict) hasStatistics() bool {
	for name := range d.tensors {
		if strings.HasSuffix(name, meanSuffix) || strings.HasSuffix(name, varianceSuffix) {
			return true
		}
	}
	return false
}

// hint returns a likely reason why a weight has the wrong shape, or "".
func hint(shape, want []int) string {
	if len(shape) == 4 && len(want) == 4 && shape[1] >= 1 && shape[1] < want[1] && want[1]%shape[1] == 0 && slices.Equal(shape[2:], want[2:]) && shape[0] == want[0] {
		return "; grouped convolutions are not supported"
	}
	return ""
}
