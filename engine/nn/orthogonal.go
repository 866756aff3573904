package nn

import (
	"context"
	"math"
)

// orthonormalise makes the rows of a matrix orthonormal, or its columns if it has
// fewer columns than rows, by the modified Gram–Schmidt process. If m holds normal
// deviates, the result is uniformly distributed over all such matrices, like the Q of
// a QR decomposition whose R has a positive diagonal. m is row-major with cols
// columns.
//
// All arithmetic is float64 in a fixed order, and no product is fused with a sum, so
// every machine computes the bits that checkpoint/FORMAT.md specifies. If ctx is cancelled
// before all vectors are orthonormal, orthonormalise leaves m unchanged.
func orthonormalise(ctx context.Context, m []float32, cols int) {
	rows := len(m) / cols
	n, length, step, stride := rows, cols, cols, 1 // vector i's element j is m[i·step + j·stride]
	if rows > cols {
		n, length, step, stride = cols, rows, 1, cols
	}
	vectors := make([]float64, len(m)) // one after the other
	vector := func(i int) []float64 { return vectors[i*length:][:length] }
	for i := range n {
		for j := range length {
			vector(i)[j] = float64(m[i*step+j*stride])
		}
	}
	for i := range n {
		if ctx.Err() != nil {
			return
		}
		v := vector(i)
		norm := math.Sqrt(dotFixedOrder(v, v))
		for j := range v {
			v[j] /= norm
		}
		for k := i + 1; k < n; k++ {
			w := vector(k)
			d := dotFixedOrder(v, w)
			for j := range w {
				w[j] -= float64(d * v[j])
			}
		}
	}
	for i := range n {
		for j, x := range vector(i) {
			m[i*step+j*stride] = float32(x)
		}
	}
}

// dotFixedOrder returns Σ a[i]·b[i]. Product i is added to sum i mod 4, and the four
// sums are added as (0+1)+(2+3).
func dotFixedOrder(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	for len(a) >= 4 {
		s0 += float64(a[0] * b[0])
		s1 += float64(a[1] * b[1])
		s2 += float64(a[2] * b[2])
		s3 += float64(a[3] * b[3])
		a, b = a[4:], b[4:]
	}
	if len(a) > 0 {
		s0 += float64(a[0] * b[0])
	}
	if len(a) > 1 {
		s1 += float64(a[1] * b[1])
	}
	if len(a) > 2 {
		s2 += float64(a[2] * b[2])
	}
	return (s0 + s1) + (s2 + s3)
}
