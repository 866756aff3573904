// Package arch describes networks by name: which convolutions follow which,
// with what shapes, and which tensors they hold. A description has no weights
// and computes nothing; engine/nn compiles it into an execution plan.
package arch

import (
	"fmt"
	"slices"
)

// Shape is the shape of one picture's activations: channels, height, width.
type Shape struct{ C, H, W int }

// String is the shape as C×H×W.
func (s Shape) String() string { return fmt.Sprintf("%d×%d×%d", s.C, s.H, s.W) }

// Picture is the Unit.In of a unit that reads the network's input.
const Picture = -1

// Op is what a unit does to its input before BatchNorm.
type Op int

// The operations. A pool keeps its channels and has no parameters; padding
// never is a maximum, and averages have none. An AveragePool of 1×1 is the
// identity: it puts a BatchNorm behind a ReLU or a sum.
const (
	Convolution Op = iota
	MaxPool
	AveragePool
)

// Unit is an operation, its BatchNorm, an optional residual and an optional
// ReLU:
//
//	out = relu(bn(op(in) + bias) + residual)
type Unit struct {
	Name string // canonical name of the operation, e.g. "blocks.0.conv1"
	BN   string // canonical name of its BatchNorm, e.g. "blocks.0.bn1"; "" for none
	Op   Op
	Bias bool // a convolution adds a bias to each channel, as PyTorch's do by default
	In   int  // index of the unit whose output is read, or Picture

	// NoScale and NoShift say that BatchNorm's γ is fixed at 1, its β at 0:
	// there are no such tensors.
	NoScale, NoShift bool

	Add Residual // what is added before the ReLU

	Shortcut            bool // a convolution that carries a residual across a change of shape
	ReLU                bool
	Kernel, Stride, Pad int // of a convolution or of a pool's window
	InShape, OutShape   Shape
}

// MACs counts the multiply-accumulates of the direct convolution of one
// picture; a pool has none.
func (u *Unit) MACs() int64 {
	if u.Op != Convolution {
		return 0
	}
	return int64(u.InShape.C) * int64(u.OutShape.C) * int64(u.OutShape.H) * int64(u.OutShape.W) * int64(u.Kernel*u.Kernel)
}

// Network is a chain of units, then the global average of the last unit's
// output, then a linear output layer with bias, named "fc".
type Network struct {
	Name    string  // the name it was built by, e.g. "resnet-20"
	Options Options // those it was built with; of no meaning where Build did not make it
	Input   Shape
	Classes int
	Units   []Unit // in an order in which each unit follows those it reads
}

// Features is the number of channels that the output layer sees.
func (n *Network) Features() int { return n.Units[len(n.Units)-1].OutShape.C }

// HasBN reports whether any unit has a BatchNorm.
func (n *Network) HasBN() bool {
	return slices.ContainsFunc(n.Units, func(u Unit) bool { return u.BN != "" })
}

// MACs counts the multiply-accumulates of one picture's forward pass:
// direct convolutions and the output layer.
func (n *Network) MACs() int64 {
	total := int64(n.Features()) * int64(n.Classes)
	for i := range n.Units {
		total += n.Units[i].MACs()
	}
	return total
}

// Shortcut is how a residual crosses a change of shape.
type Shortcut string

// The shortcuts of He et al. 2015, section 3.3. Option A has no parameters: it
// takes every second row and column and fills up with zero channels. The
// centred one, common in PyTorch, has half of them before the others.
const (
	OptionA        Shortcut = "A"
	OptionACentred Shortcut = "A-centred"
	OptionB        Shortcut = "B" // 1×1 convolution with the block's stride, then BatchNorm
)

// Options are what a network's name leaves open.
type Options struct {
	Input    Shape    // 1 or 3 channels, 8×8 to 256×256
	Classes  int      // at least 2
	Shortcut Shortcut // OptionB when empty; the others for CIFAR ResNets alone
	Variants
}

// Error says why a network cannot be built.
type Error struct {
	Name   string // the network asked for
	Reason string // what is wrong and what would be right
	Option string // the one of Options that is wrong, as config.json names it; "" for the name itself
}

func (e *Error) Error() string { return fmt.Sprintf("network %q: %s", e.Name, e.Reason) }

// Build returns the network of that name; the error is an *Error.
func Build(name string, o Options) (*Network, error) {
	if o.Shortcut == "" {
		o.Shortcut = OptionB
	}
	switch {
	case o.Shortcut != OptionA && o.Shortcut != OptionACentred && o.Shortcut != OptionB:
		return nil, &Error{Name: name, Option: "shortcut", Reason: fmt.Sprintf("shortcut %q is none of A, A-centred and B", o.Shortcut)}
	case o.Classes < 2 || o.Classes > 100_000:
		return nil, &Error{Name: name, Reason: fmt.Sprintf("%d classes; at least 2 and at most 100000 are possible", o.Classes)}
	case o.Input.C != 1 && o.Input.C != 3:
		return nil, &Error{Name: name, Reason: fmt.Sprintf("pictures of %d channels; 1 or 3 are possible", o.Input.C)}
	case min(o.Input.H, o.Input.W) < 8 || max(o.Input.H, o.Input.W) > 256:
		return nil, &Error{Name: name, Reason: fmt.Sprintf("pictures of %d×%d; 8×8 to 256×256 are possible", o.Input.H, o.Input.W)}
	}
	if o.Width == 1 {
		o.Width = 0
	}
	n := &Network{Name: name, Options: o, Input: o.Input, Classes: o.Classes}
	if err := n.build(o); err != nil {
		return nil, err
	}
	if o.Width != 0 {
		if err := n.widen(o.Width); err != nil {
			return nil, err
		}
	}
	if err := n.vary(o); err != nil {
		return nil, err
	}
	if err := n.checkPictures(); err != nil {
		return nil, err
	}
	return n, n.Check()
}

// build appends the units of the network that n's name stands for.
func (n *Network) build(o Options) error {
	imageNet, err := findImageNetResNet(n.Name)
	plan, optionA := findPlain(n.Name), false
	switch {
	case err != nil:
		return err
	case imageNet != nil:
		imageNet.build(n, o.Stem)
	case plan != nil:
		buildPlain(n, plan)
	case n.Name == "vgg-38":
		buildVGG38(n)
	default:
		depth, width, bottleneck, err := parseResNet(n.Name)
		if err != nil {
			return err
		}
		if bottleneck {
			buildBottleneck(n, (depth-2)/9)
		} else {
			buildResNet(n, depth, width)
			optionA = true
		}
	}
	switch {
	case o.Shortcut != OptionB && !optionA:
		return &Error{Name: n.Name, Option: "shortcut", Reason: "only CIFAR ResNets (resnet-N, wrn-N-K) have shortcuts of option A"}
	case imageNet == nil && o.Stem != "":
		return &Error{Name: n.Name, Option: "stem", Reason: "a stem can be chosen for ImageNet ResNets alone (resnet18, resnet50, ...)"}
	case o.Stem != "" && o.Stem != ImageNetStem && o.Stem != CIFARStem:
		return &Error{Name: n.Name, Option: "stem", Reason: fmt.Sprintf("stem %q is neither imagenet nor cifar", o.Stem)}
	}
	return nil
}

// checkPictures refuses pictures that are too small for a network's strides and pools,
// or of sizes that its shortcuts cannot cross.
func (n *Network) checkPictures() error {
	for i := range n.Units {
		u := &n.Units[i]
		if min(u.InShape.H, u.InShape.W)+2*u.Pad < u.Kernel {
			return &Error{Name: n.Name, Reason: fmt.Sprintf("pictures of %d×%d are too small: %s has %d×%d left", n.Input.H, n.Input.W, u.Name, u.InShape.H, u.InShape.W)}
		}
		plain := u.Add.Kind == Identity || u.Add.Kind == Projection
		if plain && n.Units[u.Add.From].OutShape != u.OutShape {
			return &Error{Name: n.Name, Reason: fmt.Sprintf("pictures of %d×%d: %s and %s come out unequal; use multiples of 8", n.Input.H, n.Input.W, u.Name, n.Units[u.Add.From].Name)}
		}
	}
	return nil
}
