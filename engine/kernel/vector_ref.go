package kernel

// genericDot implements Family.Dot. It adds one product after another, in float64.
func genericDot[T Float](a, b []T) T {
	b = b[:len(a)]
	var sum float64
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return T(sum)
}

// genericAxpy implements Family.Axpy.
func genericAxpy[T Float](y []T, s T, x []T) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] += T(s * v)
	}
}

// genericSGD implements Family.SGD.
func genericSGD[T Float](w, v, g []T, rate, momentum, decay T) {
	v, g = v[:len(w)], g[:len(w)]
	for i := range w {
		v[i] = T(momentum*v[i]) + (g[i] + T(decay*w[i]))
		w[i] -= T(rate * v[i])
	}
}
