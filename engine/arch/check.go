package arch

import "fmt"

// Check refuses a network whose parts do not fit together: a unit that reads a
// later one, a shape that does not follow from what is read, a residual that
// cannot be added. What Build returns passes. The error is an *Error.
func (n *Network) Check() error {
	if len(n.Units) == 0 || n.Classes < 1 || n.Input.C < 1 || n.Input.H < 1 || n.Input.W < 1 {
		return &Error{Name: n.Name, Reason: fmt.Sprintf("%d units, pictures of %v and %d classes: at least 1 of each is needed", len(n.Units), n.Input, n.Classes)}
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

// checkOperation says what is wrong with unit i's input and shapes, "" if
// nothing is.
func (n *Network) checkOperation(i int) string {
	u := &n.Units[i]
	in := n.Input
	if u.In != Picture {
		if u.In < 0 || u.In >= i {
			return fmt.Sprintf("it reads unit %d; units 0 to %d stand before it", u.In, i-1)
		}
		in = n.Units[u.In].OutShape
	}
	if u.Op < Convolution || u.Op > AveragePool || u.Kernel < 1 || u.Stride < 1 || u.Pad < 0 {
		return fmt.Sprintf("operation %d, kernel %d, stride %d and padding %d are not possible", u.Op, u.Kernel, u.Stride, u.Pad)
	}
	if min(in.H, in.W)+2*u.Pad < u.Kernel {
		return fmt.Sprintf("its window of %d does not fit into %v", u.Kernel, in)
	}
	out := u.convolved(in, u.OutShape.C)
	switch {
	case u.InShape != in:
		return fmt.Sprintf("it takes %v and reads %v", u.InShape, in)
	case u.OutShape != out || out.C < 1:
		return fmt.Sprintf("it puts out %v, which should be %v", u.OutShape, out)
	case u.Op != Convolution && out.C != in.C:
		return fmt.Sprintf("a pool of %d channels has %d", in.C, out.C)
	}
	return ""
}

// convolved is the shape that the unit's window makes of in, with that many
// channels.
func (u *Unit) convolved(in Shape, channels int) Shape {
	return Shape{C: channels, H: (in.H+2*u.Pad-u.Kernel)/u.Stride + 1, W: (in.W+2*u.Pad-u.Kernel)/u.Stride + 1}
}
