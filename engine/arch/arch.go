// Package arch describes networks by name: which convolutions follow which,
// with what shapes, and which tensors they hold. A description has no weights
// and computes nothing; engine/nn compiles it into an execution plan.
package arch

import "fmt"

// Shape is the shape of one picture's activations: channels, height, width.
type Shape struct{ C, H, W int }

// String is the shape as C×H×W.
func (s Shape) String() string { return fmt.Sprintf("%d×%d×%d", s.C, s.H, s.W) }

// Values of Unit.In and Unit.Add that name no unit.
const (
	Picture = -1 // the network's input
	None    = -2 // no residual is added
)

// Unit is a convolution without bias, its BatchNorm, an optional residual and
// an optional ReLU:
//
//	out = relu(bn(conv(in)) + residual)
type Unit struct {
	Name string // canonical name of the convolution, e.g. "blocks.0.conv1"
	BN   string // canonical name of its BatchNorm, e.g. "blocks.0.bn1"
	In   int    // index of the unit whose output is convolved, or Picture

	// Add is the index of the unit whose output is added before the ReLU, or
	// None. Where that output is larger in area and has fewer channels, every
	// second row and column of it is added to the first channels (the
	// parameter-free option-A shortcut of He et al. 2015, section 3.3).
	Add int

	Shortcut            bool // it carries a residual across a change of shape: option B's 1×1 convolution
	ReLU                bool
	Kernel, Stride, Pad int
	InShape, OutShape   Shape
}

// MACs counts the multiply-accumulates of the direct convolution of one picture.
func (u *Unit) MACs() int64 {
	return int64(u.InShape.C) * int64(u.OutShape.C) * int64(u.OutShape.H) * int64(u.OutShape.W) * int64(u.Kernel*u.Kernel)
}

// Network is a chain of units, then the global average of the last unit's
// output, then a linear output layer with bias, named "fc".
type Network struct {
	Name     string // the name it was built by, e.g. "resnet-20"
	Input    Shape
	Classes  int
	Shortcut Shortcut
	Units    []Unit // in an order in which each unit follows those it reads
}

// Features is the number of channels that the output layer sees.
func (n *Network) Features() int { return n.Units[len(n.Units)-1].OutShape.C }

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

// The shortcuts of He et al. 2015, section 3.3.
const (
	OptionA Shortcut = "A" // subsample and pad with zero channels; no parameters
	OptionB Shortcut = "B" // 1×1 convolution with the block's stride, then BatchNorm
)

// Options are what a network's name leaves open.
type Options struct {
	Input    Shape    // 1 or 3 channels, 8×8 to 64×64
	Classes  int      // at least 2
	Shortcut Shortcut // OptionB when empty
}

// Error says why a network cannot be built.
type Error struct {
	Name   string // the network asked for
	Reason string // what is wrong and what would be right
}

func (e *Error) Error() string { return fmt.Sprintf("network %q: %s", e.Name, e.Reason) }

// Build returns the network of that name; the error is an *Error.
func Build(name string, o Options) (*Network, error) {
	if o.Shortcut == "" {
		o.Shortcut = OptionB
	}
	switch {
	case o.Shortcut != OptionA && o.Shortcut != OptionB:
		return nil, &Error{name, fmt.Sprintf("shortcut %q is neither A nor B", o.Shortcut)}
	case o.Classes < 2 || o.Classes > 100_000:
		return nil, &Error{name, fmt.Sprintf("%d classes; at least 2 and at most 100000 are possible", o.Classes)}
	case o.Input.C != 1 && o.Input.C != 3:
		return nil, &Error{name, fmt.Sprintf("pictures of %d channels; 1 or 3 are possible", o.Input.C)}
	case o.Input.H < 8 || o.Input.W < 8 || o.Input.H > 64 || o.Input.W > 64:
		return nil, &Error{name, fmt.Sprintf("pictures of %d×%d; 8×8 to 64×64 are possible", o.Input.H, o.Input.W)}
	}
	depth, width, err := parseResNet(name)
	if err != nil {
		return nil, err
	}
	return resNet(name, depth, width, o), nil
}
