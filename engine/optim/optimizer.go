// Package optim holds optimizers, learning rate schedules, penalties on γ and β, and gradient
// clipping.
package optim

import (
	"math"

	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// Method computes an optimizer's step from a gradient. It is [SGD], [Adam] or [AdamW].
type Method interface {
	// suffixes returns one suffix for each moment that the method keeps of a tensor. A
	// resume state names a moment by the tensor's name and this suffix.
	suffixes() []string
	// update updates tensor i of params for the optimizer's current step.
	update(o *Optimizer, i int, params, gradients *nn.Params[float32], rate, decay float64)
}

// SGD is stochastic gradient descent with momentum, as in PyTorch.
type SGD struct {
	Momentum float64 // at least 0 and below 1
	Nesterov bool
}

// Adam is the optimizer of Kingma and Ba 2015, as in PyTorch: weight decay is added to the
// gradient.
type Adam struct {
	Beta1, Beta2 float64 // decay of the mean gradient and of the mean squared gradient
	Eps          float64 // added to the root of the mean squared gradient, after bias correction
}

// AdamW is the optimizer of Loshchilov and Hutter 2019, as in PyTorch: weight decay acts on
// the weights directly and does not enter the moments.
type AdamW Adam

// Moment is SGD's velocity, or Adam's running mean of gradients or of their squares. The
// Values of tensors that are not trained are nil.
type Moment struct {
	Suffix string // suffix that a resume state appends to the tensors' names
	*nn.Params[float32]
}

// Optimizer updates the tensors of a trainable set and leaves the others unchanged. Moments
// and Steps are its state.
type Optimizer struct {
	Moments []Moment
	Steps   int // number of steps taken

	method         Method
	regularisation Regularisation
	family         *kernel.Family[float32]
}

// New returns an optimizer that has not taken a step. It updates the tensors that
// have values in trained.
func New(trained *nn.Params[float32], family *kernel.Family[float32], method Method, r Regularisation) *Optimizer {
	o := &Optimizer{method: method, regularisation: r, family: family}
	for _, s := range method.suffixes() {
		o.Moments = append(o.Moments, Moment{s, trained.Zeros()})
	}
	return o
}

// trains reports whether any element of tensor i is trained.
func (o *Optimizer) trains(i int) bool { return len(o.Moments[0].Values[i]) > 0 }

// Step adds the gradients of the penalties to gradients, clips them, and updates the trained
// tensors of params. It does not allocate.
func (o *Optimizer) Step(params, gradients *nn.Params[float32], rate float64) {
	o.penalise(params, gradients)
	o.clip(gradients)
	o.Steps++
	for i := range params.Values {
		if o.trains(i) {
			o.method.update(o, i, params, gradients, rate, o.regularisation.decay(&params.Tensors[i]))
		}
	}
}

func (SGD) suffixes() []string { return []string{""} }

func (s SGD) update(o *Optimizer, i int, params, gradients *nn.Params[float32], rate, decay float64) {
	w, v, g := params.Values[i], o.Moments[0].Values[i], gradients.Values[i]
	if s.Nesterov {
		kernel.Nesterov(w, v, g, float32(rate), float32(s.Momentum), float32(decay))
	} else {
		o.family.SGD(w, v, g, float32(rate), float32(s.Momentum), float32(decay))
	}
}

func (Adam) suffixes() []string { return []string{".exp_avg", ".exp_avg_sq"} } // as in PyTorch's state

func (a Adam) update(o *Optimizer, i int, params, gradients *nn.Params[float32], rate, decay float64) {
	step := a.step(o.Steps, rate)
	step.Decay = float32(decay)
	kernel.Adam(params.Values[i], o.Moments[0].Values[i], o.Moments[1].Values[i], gradients.Values[i], step)
}

func (a AdamW) suffixes() []string { return Adam(a).suffixes() }

func (a AdamW) update(o *Optimizer, i int, params, gradients *nn.Params[float32], rate, decay float64) {
	step := Adam(a).step(o.Steps, rate)
	step.Keep = float32(1 - rate*decay)
	kernel.Adam(params.Values[i], o.Moments[0].Values[i], o.Moments[1].Values[i], gradients.Values[i], step)
}

// step returns the factors of step k, counted from 1, without weight decay.
func (a Adam) step(k int, rate float64) kernel.AdamStep[float32] {
	return kernel.AdamStep[float32]{
		Rate:  float32(rate / (1 - math.Pow(a.Beta1, float64(k)))),
		Beta1: float32(a.Beta1), OneMinusBeta1: float32(1 - a.Beta1),
		Beta2: float32(a.Beta2), OneMinusBeta2: float32(1 - a.Beta2),
		Root: float32(math.Sqrt(1 - math.Pow(a.Beta2, float64(k)))),
		Eps:  float32(a.Eps),
		Keep: 1,
	}
}
