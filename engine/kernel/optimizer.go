package kernel

import "math"

// These optimizers are plain Go in every family, because they rarely take much of a
// step's time. Explicit conversions keep the compiler from fusing products into sums,
// so that all platforms round alike.

// Nesterov does a step of stochastic gradient descent with Nesterov's momentum and
// weight decay as PyTorch does. With d = g + decay·w,
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

// AdamStep holds the factors of step k, counted from 1, of Adam or AdamW.
type AdamStep[T Float] struct {
	Rate                 T // learning rate / (1 - β₁ᵏ)
	Beta1, OneMinusBeta1 T
	Beta2, OneMinusBeta2 T
	Root                 T // √(1 - β₂ᵏ)
	Eps                  T
	Decay                T // Adam's weight decay, which it adds to the gradient; 0 for AdamW
	Keep                 T // 1 - learning rate · weight decay for AdamW; 1 for Adam
}

// Adam does a step of Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019)
// as PyTorch does. With d = g + Decay·w,
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
