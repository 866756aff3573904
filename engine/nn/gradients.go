package nn

import "bnkit/engine/arch"

// Gradients is the set of tensors whose gradients Training.Backward computes: a union of the
// sets below.
type Gradients int

// Sets of gradients.
const (
	BNGradients       Gradients = 1 << iota // γ and β of every BatchNorm
	OutputGradients                         // the output layer
	ShortcutGradients                       // the weights and biases of shortcuts' convolutions
	ConvGradients                           // the weights and biases of every convolution

	NoGradients  Gradients = 0 // for Forward alone, which then needs less memory
	AllGradients           = BNGradients | OutputGradients | ConvGradients
)

// GradientsOf returns the smallest Gradients that include every tensor that set trains.
func GradientsOf(net *arch.Network, set arch.TrainableSet) Gradients {
	gradients := NoGradients
	tensors := net.Tensors()
	for i := range tensors {
		switch x := &tensors[i]; {
		case !set.Trains(x):
		case x.Kind == arch.Gamma || x.Kind == arch.Beta:
			gradients |= BNGradients
		case x.Kind == arch.OutputWeight || x.Kind == arch.OutputBias:
			gradients |= OutputGradients
		case x.Shortcut:
			gradients |= ShortcutGradients
		default:
			gradients |= ConvGradients
		}
	}
	return gradients
}

// includes reports whether the gradient of a tensor is computed.
func (g Gradients) includes(t *arch.Tensor) bool {
	switch t.Kind {
	case arch.Gamma, arch.Beta:
		return g&BNGradients != 0
	case arch.OutputWeight, arch.OutputBias:
		return g&OutputGradients != 0
	}
	return g.weights(t.Shortcut)
}

// weights reports whether the gradients of a convolution's weights and bias are computed.
// shortcut is true for the convolution of a shortcut.
func (g Gradients) weights(shortcut bool) bool {
	return g&ConvGradients != 0 || shortcut && g&ShortcutGradients != 0
}

// beforeOutput reports whether any tensor before the output layer gets a gradient, so that
// Backward must go through the units.
func (g Gradients) beforeOutput() bool { return g&^OutputGradients != 0 }
