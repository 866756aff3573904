// Package arch describes networks by name: the order of their convolutions, their
// shapes, and the tensors that they hold. A description has no weights and computes
// nothing; engine/nn compiles it into an execution plan.
package arch

import (
	"fmt"
	"slices"
)

// Shape is the shape of the activations of one picture: channels, height, width.
type Shape struct{ C, H, W int }

// String returns the shape as C×H×W.
func (s Shape) String() string { return fmt.Sprintf("%d×%d×%d", s.C, s.H, s.W) }

// Picture is the Unit.In of a unit that reads the network's input.
const Picture = -1

// Op is the operation of a unit before BatchNorm.
type Op int

// The operations. A pool keeps the number of channels and has no parameters. A MaxPool
// ignores padding, and an AveragePool counts padding as zeros. An AveragePool of 1×1 is
// the identity, which is used to put a BatchNorm after a ReLU or a sum.
const (
	Convolution Op = iota
	MaxPool
	AveragePool
)

// Unit is an operation, followed by an optional BatchNorm, an optional residual and an
// optional ReLU:
//
//	out = relu(bn(op(in) + bias) + residual)
type Unit struct {
	Name string // canonical name of the operation, e.g. "blocks.0.conv1"
	BN   string // canonical name of its BatchNorm, e.g. "blocks.0.bn1"; "" for none
	Op   Op
	Bias bool // whether the convolution adds a bias to each channel, which is PyTorch's default
	In   int  // index of the unit whose output is read, or Picture

	// NoScale fixes BatchNorm's γ at 1 and NoShift fixes its β at 0. The network has no
	// tensor for a fixed γ or β.
	NoScale, NoShift bool

	Add Residual // output of another unit that is added before the ReLU

	Shortcut            bool // whether the unit is a shortcut's convolution, which changes a residual's shape
	ReLU                bool
	Kernel, Stride, Pad int // of the convolution or of the pool's window
	InShape, OutShape   Shape
}

// MACs returns the number of multiply-accumulates of the direct convolution of one
// picture. A pool has none.
func (u *Unit) MACs() int64 {
	if u.Op != Convolution {
		return 0
	}
	return int64(u.InShape.C) * int64(u.OutShape.C) * int64(u.OutShape.H) * int64(u.OutShape.W) * int64(u.Kernel*u.Kernel)
}

// Network is a sequence of units, followed by the global average of the last unit's
// output and a linear output layer with bias, named "fc".
type Network struct {
	Name    string  // name given to Build or ParseDescription, e.g. "resnet-20"
	Options Options // options that Build used; meaningless if Build did not make the network
	Input   Shape
	Classes int
	Units   []Unit // each unit comes after the units that it reads
}

// Append appends u with the given number of output channels, derives its shapes, and returns
// its index.
func (n *Network) Append(u Unit, channels int) int {
	u.InShape = n.Input
	if u.In != Picture {
		u.InShape = n.Units[u.In].OutShape
	}
	u.OutShape = u.windowedShape(u.InShape, channels)
	n.Units = append(n.Units, u)
	return len(n.Units) - 1
}

// Features returns the number of channels that the output layer reads.
func (n *Network) Features() int { return n.Units[len(n.Units)-1].OutShape.C }

// HasBN reports whether any unit has a BatchNorm.
func (n *Network) HasBN() bool {
	return slices.ContainsFunc(n.Units, func(u Unit) bool { return u.BN != "" })
}

// MACs returns the number of multiply-accumulates of one picture's forward pass, in direct
// convolutions and the output layer.
func (n *Network) MACs() int64 {
	total := int64(n.Features()) * int64(n.Classes)
	for i := range n.Units {
		total += n.Units[i].MACs()
	}
	return total
}

// Shortcut is the way in which a residual is adapted to a block that changes the shape.
type Shortcut string

// The shortcuts of He et al. 2015, section 3.3. Option A has no parameters: it takes
// every second row and column and adds channels of zeros. The centred variant, common in
// PyTorch code, puts half of these channels before the others.
const (
	OptionA        Shortcut = "A"
	OptionACentred Shortcut = "A-centred"
	OptionB        Shortcut = "B" // 1×1 convolution with the block's stride, then BatchNorm
)

// Options holds the properties of a network that its name does not determine.
type Options struct {
	Input    Shape    // 1 or 3 channels, 8×8 to 256×256
	Classes  int      // 2 to 100,000
	Shortcut Shortcut // OptionB if empty; only resnet-N and wrn-N-K support the other options
	Variants
}

// Error reports why a network cannot be built.
type Error struct {
	Name   string // the requested network
	Reason string // what is wrong and what to use instead
	Option string // name in config.json of the invalid Shortcut or variant; "" if the error is not about one
}

func (e *Error) Error() string { return fmt.Sprintf("network %q: %s", e.Name, e.Reason) }

// WrongUsage reports that the name or an option is at fault.
func (e *Error) WrongUsage() bool { return true }

// maxName is the largest length of the name of a network, in bytes.
const maxName = 100

// Build returns the network with the given name. The error is an *Error.
func Build(name string, o Options) (*Network, error) {
	if o.Shortcut == "" {
		o.Shortcut = OptionB
	}
	if len(name) > maxName {
		return nil, &Error{Name: name[:maxName] + "...", Reason: fmt.Sprintf("the name has more than %d bytes; all names of networks are shorter", maxName)}
	}
	if o.Shortcut != OptionA && o.Shortcut != OptionACentred && o.Shortcut != OptionB {
		return nil, &Error{Name: name, Option: "shortcut", Reason: fmt.Sprintf("unknown shortcut %.40q; use A, A-centred or B", o.Shortcut)}
	}
	if err := CheckInput(name, o.Input, o.Classes); err != nil {
		return nil, err
	}
	if o.Width == 1 {
		o.Width = 0
	}
	n := &Network{Name: name, Options: o, Input: o.Input, Classes: o.Classes}
	if err := n.build(o); err != nil {
		return nil, err
	}
	if o.Width != 0 {
		if err := n.applyWidth(o.Width); err != nil {
			return nil, err
		}
	}
	if err := n.applyVariants(o); err != nil {
		return nil, err
	}
	if err := n.checkPictures(); err != nil {
		return nil, err
	}
	return n, n.Check()
}

// CheckInput returns an *Error if pictures of the given shape, or the number of classes, are
// not supported. name is the network's name in the error.
func CheckInput(name string, input Shape, classes int) error {
	reason := ""
	switch {
	case classes < 2 || classes > 100_000:
		reason = fmt.Sprintf("%d classes are not supported; use 2 to 100000", classes)
	case input.C != 1 && input.C != 3:
		reason = fmt.Sprintf("pictures of %d channels are not supported; use 1 or 3", input.C)
	case min(input.H, input.W) < 8 || max(input.H, input.W) > 256:
		reason = fmt.Sprintf("pictures of %d×%d are not supported; use 8×8 to 256×256", input.H, input.W)
	default:
		return nil
	}
	return &Error{Name: name, Reason: reason}
}

// checkPictures returns an error if pictures are too small for the network's windows, or if
// outputs of different sizes would have to be added.
func (n *Network) checkPictures() error {
	for i := range n.Units {
		u := &n.Units[i]
		if min(u.InShape.H, u.InShape.W)+2*u.Pad < u.Kernel {
			return &Error{Name: n.Name, Reason: fmt.Sprintf("pictures of %d×%d are too small: the input of %s would be %d×%d", n.Input.H, n.Input.W, u.Name, u.InShape.H, u.InShape.W)}
		}
		unmapped := u.Add.Kind == Identity || u.Add.Kind == Projection
		if unmapped && n.Units[u.Add.From].OutShape != u.OutShape {
			return &Error{Name: n.Name, Reason: fmt.Sprintf("pictures of %d×%d give %s and %s outputs of different sizes; use multiples of 8", n.Input.H, n.Input.W, u.Name, n.Units[u.Add.From].Name)}
		}
	}
	return nil
}
