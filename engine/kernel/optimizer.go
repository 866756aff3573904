package kernel

import "math"

// The optimizers that are rarely a step's cost are plain Go for every family;
// explicit conversions keep products from being fused into sums, so that all
// platforms round alike.

// Nesterov is a step of stochastic gradient descent with Nesterov's momentum
// and weight decay, as PyTorch's: with d = g + decay·w,
//
//	v = momentum·v + d
//	w = w - rate·(d + momentum·v)
func Nesterov[T Float](w, v, g []T, rate, momentum, decay T) {
	v, g = v[:len(w)], g[:len(w)]
	for i := range w {
		d := g[i] + T(decay*w[i])
		v[i] = T(momentum*v[i]) + d
		w[i] -= T(rate * (d + T(momentum*v[i])))
	}
}

// AdamStep are the factors of one step of Adam or AdamW; k counts steps from
// 1.
type AdamStep[T Float] struct {
	Rate                 T // learning rate / (1 - β₁ᵏ)
	Beta1, OneMinusBeta1 T
	Beta2, OneMinusBeta2 T
	Root                 T // √(1 - β₂ᵏ)
	Eps                  T
	Decay                T // weight decay in the gradient: Adam's; else 0
	Keep                 T // 1 - rate·weight decay: AdamW's; else 1
}

// Adam is a step of Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter
// 2019), as PyTorch's: with d = g + Decay·w,
//
//	m = β₁·m + (1-β₁)·d
//	v = β₂·v + (1-β₂)·d²
//	w = Keep·w - Rate·m / (√v/Root + Eps)
func Adam[T Float](w, m, v, g []T, s AdamStep[T]) {
	m, v, g = m[:len(w)], v[:len(w)], g[:len(w)]
	for i := range w {
		d := g[i] + T(s.Decay*w[i])
		m[i] = T(s.Beta1*m[i]) + T(s.OneMinusBeta1*d)
		v[i] = T(s.Beta2*v[i]) + T(s.OneMinusBeta2*T(d*d))
		root := T(T(math.Sqrt(float64(v[i])))/s.Root) + s.Eps
		w[i] = T(s.Keep*w[i]) - T(T(s.Rate*m[i])/root)
	}
}
