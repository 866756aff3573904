package arch

import "fmt"

// Check returns an *Error if the parts of a network do not fit together: a unit does not
// read an earlier unit, an output shape does not follow from the input shape, or a residual
// cannot be added. Networks that Build returns are valid.
func (n *Network) Check() error {
	if len(n.Units) == 0 || n.Classes < 1 || n.Input.C < 1 || n.Input.H < 1 || n.Input.W < 1 {
		return &Error{Name: n.Name, Reason: fmt.Sprintf("%d units, pictures of %v and %d classes: all must be at least 1", len(n.Units), n.Input, n.Classes)}
	}
	for i := range n.Units {
		reason := n.checkOperation(i)
		if reason == "" {
			reason = n.checkResidual(i)
		}
		if reason != "" {
			return &Error{Name: n.Name, Reason: fmt.Sprintf("unit %d (%s): %s", i, n.Units[i].Name, reason)}
		}
	}
	return nil
}

// checkOperation returns the reason why unit i's input or shapes are invalid, or "".
func (n *Network) checkOperation(i int) string {
	u := &n.Units[i]
	in := n.Input
	if u.In != Picture {
		if u.In < 0 || u.In >= i {
			return fmt.Sprintf("it reads unit %d, which is not an earlier unit", u.In)
		}
		in = n.Units[u.In].OutShape
	}
	if u.Op < Convolution || u.Op > AveragePool || u.Kernel < 1 || u.Stride < 1 || u.Pad < 0 {
		return fmt.Sprintf("operation %d with kernel %d, stride %d and padding %d is invalid", u.Op, u.Kernel, u.Stride, u.Pad)
	}
	if min(in.H, in.W)+2*u.Pad < u.Kernel {
		return fmt.Sprintf("its window of %d×%d does not fit in %v with padding %d", u.Kernel, u.Kernel, in, u.Pad)
	}
	out := u.windowedShape(in, u.OutShape.C)
	switch {
	case u.InShape != in:
		return fmt.Sprintf("its input shape is %v, but it reads %v", u.InShape, in)
	case u.OutShape.C < 1:
		return fmt.Sprintf("it has %d output channels, but must have at least 1", u.OutShape.C)
	case u.OutShape != out:
		return fmt.Sprintf("its output shape is %v, but should be %v", u.OutShape, out)
	case u.Op != Convolution && out.C != in.C:
		return fmt.Sprintf("it is a pool with %d input and %d output channels", in.C, out.C)
	}
	return ""
}

// windowedShape returns the output shape of the unit's window on in, with the given number of
// channels.
func (u *Unit) windowedShape(in Shape, channels int) Shape {
	return Shape{C: channels, H: (in.H+2*u.Pad-u.Kernel)/u.Stride + 1, W: (in.W+2*u.Pad-u.Kernel)/u.Stride + 1}
}
