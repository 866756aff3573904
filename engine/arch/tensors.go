package arch

import (
	"fmt"
	"strings"
)

// Kind is what a tensor does.
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

// String is the kind's name as tables and plots show it.
func (k Kind) String() string {
	return [...]string{"convolution", "γ", "β", "output weight", "output bias", "convolution bias"}[k]
}

// Tensor describes one trainable tensor.
type Tensor struct {
	Name  string // canonical: open_lth's state-dict name, e.g. "blocks.0.bn1.weight"
	Kind  Kind
	Shape []int
	FanIn int // inputs that one output of its layer sums over; 0 for γ and β
	Unit  int // index into Network.Units; len(Units) for the output layer
}

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Tensors lists every trainable tensor: for each unit those it has of its
// convolution's weight and bias, γ and β, then the output layer's weight and
// bias.
func (n *Network) Tensors() []Tensor {
	var ts []Tensor
	for i := range n.Units {
		u := &n.Units[i]
		in, out := u.InShape.C, u.OutShape.C
		fanIn := in * u.Kernel * u.Kernel
		if u.Op == Convolution {
			ts = append(ts, Tensor{u.Name + ".weight", ConvWeight, []int{out, in, u.Kernel, u.Kernel}, fanIn, i})
		}
		if u.Bias {
			ts = append(ts, Tensor{u.Name + ".bias", ConvBias, []int{out}, fanIn, i})
		}
		if u.BN != "" && !u.NoScale {
			ts = append(ts, Tensor{u.BN + ".weight", Gamma, []int{out}, 0, i})
		}
		if u.BN != "" && !u.NoShift {
			ts = append(ts, Tensor{u.BN + ".bias", Beta, []int{out}, 0, i})
		}
	}
	f := n.Features()
	return append(ts,
		Tensor{"fc.weight", OutputWeight, []int{n.Classes, f}, f, len(n.Units)},
		Tensor{"fc.bias", OutputBias, []int{n.Classes}, f, len(n.Units)})
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

// TrainableSet names which tensors a run trains; all others keep their random
// initial values.
type TrainableSet string

// The trainable sets.
const (
	BN  TrainableSet = "bn"  // γ and β of every BatchNorm (Frankle et al. 2021)
	All TrainableSet = "all" // every tensor
)

// TrainableSets lists the sets in the order in which help texts show them.
var TrainableSets = []TrainableSet{BN, All}

// ParseTrainableSet returns the set of that name.
func ParseTrainableSet(name string) (TrainableSet, error) {
	var names []string
	for _, s := range TrainableSets {
		if string(s) == name {
			return s, nil
		}
		names = append(names, string(s))
	}
	return "", fmt.Errorf("trainable set %q is unknown; use one of: %s", name, strings.Join(names, ", "))
}

// Trains says whether the set trains t.
func (s TrainableSet) Trains(t *Tensor) bool {
	switch s {
	case BN:
		return t.Kind == Gamma || t.Kind == Beta
	case All:
		return true
	}
	return false
}
