package arch

// Kind is the role of a tensor.
type Kind int

// The kinds of trainable tensors.
const (
	ConvWeight   Kind = iota // O×I×H×W
	Gamma                    // BatchNorm's scale, C
	Beta                     // BatchNorm's shift, C
	OutputWeight             // the output layer's weight, classes×C
	OutputBias               // the output layer's bias, classes
	ConvBias                 // a convolution's bias, O
)

// String returns the name of the kind for tables and plots.
func (k Kind) String() string {
	return [...]string{"convolution", "γ", "β", "output weight", "output bias", "convolution bias"}[k]
}

// Tensor describes one trainable tensor.
type Tensor struct {
	Name     string // canonical, e.g. "blocks.0.bn1.weight"
	Kind     Kind
	Shape    []int
	FanIn    int  // number of inputs that one output of its layer depends on; 0 for γ and β
	Unit     int  // index into Network.Units; len(Units) for the output layer
	Shortcut bool // whether the tensor belongs to a shortcut's convolution; see Unit.Shortcut
}

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Tensors lists every trainable tensor: each unit's weight, bias, γ and β, if it has them, and
// then the output layer's weight and bias.
func (n *Network) Tensors() []Tensor {
	var ts []Tensor
	for i := range n.Units {
		u := &n.Units[i]
		in, out := u.InShape.C, u.OutShape.C
		fanIn := in * u.Kernel * u.Kernel
		if u.Op == Convolution {
			ts = append(ts, Tensor{u.Name + ".weight", ConvWeight, []int{out, in, u.Kernel, u.Kernel}, fanIn, i, u.Shortcut})
		}
		if u.Bias {
			ts = append(ts, Tensor{u.Name + ".bias", ConvBias, []int{out}, fanIn, i, u.Shortcut})
		}
		if u.BN != "" && !u.NoScale {
			ts = append(ts, Tensor{u.BN + ".weight", Gamma, []int{out}, 0, i, false})
		}
		if u.BN != "" && !u.NoShift {
			ts = append(ts, Tensor{u.BN + ".bias", Beta, []int{out}, 0, i, false})
		}
	}
	f := n.Features()
	return append(ts,
		Tensor{"fc.weight", OutputWeight, []int{n.Classes, f}, f, len(n.Units), false},
		Tensor{"fc.bias", OutputBias, []int{n.Classes}, f, len(n.Units), false})
}
