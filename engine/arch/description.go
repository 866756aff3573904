package arch

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Limits for networks that ParseDescription accepts. Every network that Build can make is within
// them.
const (
	maxUnits        = 20_000
	maxUnitChannels = 1 << 15
	maxWindow       = 64 // largest kernel, stride or padding
	maxMACs         = 1 << 60
	maxSide         = 1024 // largest height or width of an output; keeps Unit.MACs from overflowing
)

// describedUnit is the JSON form of a Unit. Fields marked omitempty are left out if zero.
type describedUnit struct {
	Name     string             `json:"name"`
	BN       string             `json:"bn,omitempty"`
	Op       string             `json:"op,omitempty"` // "max" or "average" for a pool; missing for a convolution
	Bias     bool               `json:"bias,omitempty"`
	In       int                `json:"in"` // index of a unit, or -1 for the picture
	NoScale  bool               `json:"no_scale,omitempty"`
	NoShift  bool               `json:"no_shift,omitempty"`
	Add      *describedResidual `json:"add,omitempty"`
	Shortcut bool               `json:"shortcut,omitempty"`
	ReLU     bool               `json:"relu,omitempty"`
	Channels int                `json:"channels"` // output channels
	Kernel   int                `json:"kernel"`
	Stride   int                `json:"stride"`
	Pad      int                `json:"pad,omitempty"`
}

// describedResidual is the JSON form of a Residual.
type describedResidual struct {
	Kind   string `json:"kind"` // "identity", "projection" or "mapped"
	From   int    `json:"from"`
	Source []int  `json:"source,omitempty"` // only if mapped: for each output channel, the channel that is added to it, or -1
	Stride int    `json:"stride,omitempty"` // only if mapped
}

var (
	opNames       = map[Op]string{Convolution: "", MaxPool: "max", AveragePool: "average"}
	residualNames = map[ResidualKind]string{Identity: "identity", Projection: "projection", Mapped: "mapped"}
)

// Description returns the network's units as a JSON array, which ParseDescription converts
// back to the same units. It is for networks that Build cannot make.
func (n *Network) Description() ([]byte, error) {
	units := make([]describedUnit, len(n.Units))
	for i := range n.Units {
		u := &n.Units[i]
		units[i] = describedUnit{
			Name: u.Name, BN: u.BN, Op: opNames[u.Op], Bias: u.Bias, In: u.In, NoScale: u.NoScale, NoShift: u.NoShift,
			Shortcut: u.Shortcut, ReLU: u.ReLU, Channels: u.OutShape.C, Kernel: u.Kernel, Stride: u.Stride, Pad: u.Pad,
		}
		if u.Add.Kind == NoResidual {
			continue
		}
		r := &describedResidual{Kind: residualNames[u.Add.Kind], From: u.Add.From}
		if u.Add.Map != nil {
			r.Source, r.Stride = u.Add.Map.Source, u.Add.Map.Stride
		}
		units[i].Add = r
	}
	return json.Marshal(units)
}

// ParseDescription returns the network that a description describes, for pictures of the
// given shape. The error is an *Error.
func ParseDescription(name string, description []byte, input Shape, classes int) (*Network, error) {
	fail := func(format string, args ...any) (*Network, error) {
		return nil, &Error{Name: name, Reason: "its description is invalid: " + fmt.Sprintf(format, args...)}
	}
	var units []describedUnit
	if err := json.Unmarshal(description, &units); err != nil {
		return fail("%v", err)
	}
	if err := checkFields(description); err != nil {
		return fail("%v", err)
	}
	if len(units) == 0 || len(units) > maxUnits {
		return fail("it has %d units, but must have 1 to %d", len(units), maxUnits)
	}
	if err := CheckInput(name, input, classes); err != nil {
		return nil, err
	}
	n := &Network{Name: name, Input: input, Classes: classes, Units: make([]Unit, len(units))}
	named, macs := map[string]bool{"": true}, 0.0
	for i := range units {
		d, u := &units[i], &n.Units[i]
		*u = Unit{Name: d.Name, BN: d.BN, Bias: d.Bias, In: d.In, NoScale: d.NoScale, NoShift: d.NoShift,
			Shortcut: d.Shortcut, ReLU: d.ReLU, Kernel: d.Kernel, Stride: d.Stride, Pad: d.Pad}
		switch {
		case d.In < Picture || d.In >= i:
			return fail("unit %d reads unit %d, which is not an earlier unit", i, d.In)
		case d.Channels < 1 || d.Channels > maxUnitChannels:
			return fail("%s has %d channels, but must have 1 to %d", d.Name, d.Channels, maxUnitChannels)
		case d.Kernel < 1 || d.Stride < 1 || d.Pad < 0 || max(d.Kernel, d.Stride, d.Pad) > maxWindow:
			return fail("%s has kernel %d, stride %d and padding %d; kernel and stride must be 1 to %d, and padding 0 to %d", d.Name, d.Kernel, d.Stride, d.Pad, maxWindow, maxWindow)
		}
		if named[d.Name] || d.BN != "" && named[d.BN] || d.BN == d.Name {
			return fail("unit %d has the name %q and the BatchNorm %q; it needs a name, and both must be unique", i, d.Name, d.BN)
		}
		named[d.Name], named[d.BN] = true, true
		var known bool
		if u.Op, known = keyOf(opNames, d.Op); !known {
			return fail("%s has the unknown operation %q", d.Name, d.Op)
		}
		if u.InShape = input; d.In != Picture {
			u.InShape = n.Units[d.In].OutShape
		}
		if min(u.InShape.H, u.InShape.W)+2*u.Pad < u.Kernel {
			return fail("the kernel of %s is larger than its padded input", d.Name)
		}
		u.OutShape = u.windowedShape(u.InShape, d.Channels)
		if max(u.OutShape.H, u.OutShape.W) > maxSide {
			return fail("the output of %s is %v, but height and width may be at most %d", d.Name, u.OutShape, maxSide)
		}
		if macs += float64(u.MACs()); macs > maxMACs {
			return fail("it has more than %d multiply-adds", int64(maxMACs))
		}
		if d.Add == nil {
			continue
		}
		if u.Add.Kind, known = keyOf(residualNames, d.Add.Kind); !known {
			return fail("%s has the unknown residual %q", d.Name, d.Add.Kind)
		}
		u.Add.From = d.Add.From
		if u.Add.Kind == Mapped {
			u.Add.Map = &ChannelMap{Source: d.Add.Source, Stride: d.Add.Stride}
		}
	}
	if err := n.Check(); err != nil {
		return fail("%v", err)
	}
	return n, nil
}

// checkFields returns an error if a unit or its residual has an unknown field. It compares case
// too, because package json would accept "IN" for "in".
func checkFields(description []byte) error {
	var units []map[string]json.RawMessage
	if err := json.Unmarshal(description, &units); err != nil {
		return err
	}
	for _, u := range units {
		if err := checkKeys(u, reflect.TypeFor[describedUnit]()); err != nil {
			return err
		}
		var add map[string]json.RawMessage
		if raw, ok := u["add"]; ok && json.Unmarshal(raw, &add) == nil {
			if err := checkKeys(add, reflect.TypeFor[describedResidual]()); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkKeys returns an error if a key of values is not the JSON name of a field of a struct
// type.
func checkKeys(values map[string]json.RawMessage, structType reflect.Type) error {
	for key := range values {
		known := false
		for i := range structType.NumField() {
			name, _, _ := strings.Cut(structType.Field(i).Tag.Get("json"), ",")
			known = known || name == key
		}
		if !known {
			return fmt.Errorf("the field %q is unknown", key)
		}
	}
	return nil
}

// keyOf returns the key of names with the given value, and reports whether there is one.
func keyOf[K comparable](names map[K]string, value string) (key K, found bool) {
	for k, name := range names {
		if name == value {
			return k, true
		}
	}
	return key, false
}
