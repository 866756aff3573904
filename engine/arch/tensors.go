package arch

// Kind is what a tensor does.
type Kind int

// The kinds of trainable tensors.
const (
	ConvWeight   Kind = iota // O×I×H×W
	Gamma                    // BatchNorm's scale, C
	Beta                     // BatchNorm's shift, C
	OutputWeight             // the output layer's weight, classes×C
	OutputBias               // the output layer's bias, classes
)

// String is the kind's name as tables and plots show it.
func (k Kind) String() string {
	return [...]string{"convolution", "γ", "β", "output weight", "output bias"}[k]
}

// Tensor describes one trainable tensor.
type Tensor struct {
	Name     string // canonical: open_lth's state-dict name, e.g. "blocks.0.bn1.weight"
	Kind     Kind
	Shape    []int
	FanIn    int  // inputs that one output sums over; 0 for γ and β
	Unit     int  // index into Network.Units; len(Units) for the output layer
	Shortcut bool // of a shortcut's convolution, see Unit.Shortcut
}

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Tensors lists every trainable tensor: for each unit its convolution weight,
// γ and β, then the output layer's weight and bias.
func (n *Network) Tensors() []Tensor {
	var ts []Tensor
	for i := range n.Units {
		u := &n.Units[i]
		in, out := u.InShape.C, u.OutShape.C
		ts = append(ts,
			Tensor{u.Name + ".weight", ConvWeight, []int{out, in, u.Kernel, u.Kernel}, in * u.Kernel * u.Kernel, i, u.Shortcut},
			Tensor{u.BN + ".weight", Gamma, []int{out}, 0, i, false},
			Tensor{u.BN + ".bias", Beta, []int{out}, 0, i, false})
	}
	f := n.Features()
	return append(ts,
		Tensor{"fc.weight", OutputWeight, []int{n.Classes, f}, f, len(n.Units), false},
		Tensor{"fc.bias", OutputBias, []int{n.Classes}, f, len(n.Units), false})
}

// Parameters counts the elements of the tensors that keep returns true for.
func (n *Network) Parameters(keep func(*Tensor) bool) int {
	total := 0
	for _, t := range n.Tensors() {
		if keep(&t) {
			total += t.Len()
		}
	}
	return total
}
