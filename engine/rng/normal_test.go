package rng

import (
	"fmt"
	"math"
	"testing"
)

// exactBoxMuller computes the transform by its definition in float64 with package math. It
// first reduces the angle in integers, because math.Cos of 2πv would lose digits if the
// result is small.
func exactBoxMuller(w0, w1 uint32) (z0, z1 float64) {
	u := (float64(w0) + 0.5) / (1 << 32)
	r := math.Sqrt(-2 * math.Log(u))
	eighth := w1 >> 29
	rest := w1 & (1<<29 - 1)
	if eighth&1 == 1 { // measure from the end of the eighth
		rest = 1<<29 - 1 - rest
	}
	s, c := math.Sincos((float64(rest) + 0.5) * (2 * math.Pi / (1 << 32)))
	switch eighth {
	case 0:
		return r * c, r * s
	case 1:
		return r * s, r * c
	case 2:
		return -r * s, r * c
	case 3:
		return -r * c, r * s
	case 4:
		return -r * c, -r * s
	case 5:
		return -r * s, -r * c
	case 6:
		return r * s, -r * c
	default:
		return r * c, -r * s
	}
}

// TestBoxMullerAccuracy checks that the relative error is at most 2e-12. At that accuracy, fewer
// than one in ten thousand float32 deviates are rounded incorrectly.
func TestBoxMullerAccuracy(t *testing.T) {
	check := func(w0, w1 uint32) {
		t.Helper()
		got0, got1 := boxMuller(w0, w1)
		want0, want1 := exactBoxMuller(w0, w1)
		for i, pair := range [2][2]float64{{got0, want0}, {got1, want1}} {
			got, want := pair[0], pair[1]
			if !(math.Abs(got-want) <= 2e-12*math.Abs(want)) {
				t.Fatalf("words %#x, %#x: deviate %d is %v, want %v (%.2g apart)", w0, w1, i, got, want, got-want)
			}
		}
	}
	var corners []uint32
	for _, boundary := range []uint32{0, 1 << 29, 1 << 30, 3 << 29, 1 << 31, 5 << 29, 3 << 30, 7 << 29, 0xb504f333} {
		for d := range uint32(5) {
			corners = append(corners, boundary+d-2)
		}
	}
	for _, w0 := range corners {
		for _, w1 := range corners {
			check(w0, w1)
		}
	}
	for shift := range 32 {
		check(1<<shift, 1<<shift)
		check(math.MaxUint32>>shift, math.MaxUint32>>shift)
	}
	s := NewStream(1, "accuracy")
	for i := range numTrials(1_000_000) {
		b := s.Block(uint64(i))
		check(b[0], b[1])
	}
}

// TestRadiusDistribution counts, by bisection, the words among all 2^32 that give a radius
// above ρ. Their share must be exp(−ρ²/2), also in the tails.
func TestRadiusDistribution(t *testing.T) {
	radius := func(w uint32) float64 {
		x, y := boxMuller(w, 1<<29)
		return math.Hypot(x, y)
	}
	for _, rho := range []float64{0.01, 0.1, 0.5, 1, 2, 3, 4, 5, 6, 6.5, 6.7} {
		above, end := uint64(0), uint64(1<<32)
		for above < end {
			if middle := (above + end) / 2; radius(uint32(middle)) > rho {
				above = middle + 1
			} else {
				end = middle
			}
		}
		want := math.Exp(-rho*rho/2) * (1 << 32)
		checkNear(t, fmt.Sprintf("words with a radius above %v", rho), float64(above), want, 1)
	}
	if got, want := radius(0), math.Sqrt(66*math.Ln2); math.Abs(got-want) > 1e-10 {
		t.Errorf("largest radius %v, want %v", got, want)
	}
}

func TestNormalsChunks(t *testing.T) {
	s := NewStream(3, "normals")
	checkChunks(t, s.Normals, func(i uint64) float32 {
		z0, z1 := boxMuller(s.Uint32(i&^1), s.Uint32(i|1))
		if i&1 == 0 {
			return float32(z0)
		}
		return float32(z1)
	})
}

// TestNormalsDistribution compares the moments, the tails and the counts in 1,000 equally
// likely bins of ten million deviates with those of the normal distribution. Each must be
// within five standard errors.
func TestNormalsDistribution(t *testing.T) {
	total := numTrials(10_000_000)
	const maxSigma = 5
	var powers [9]float64
	var upper, lower [maxSigma + 1]int
	bins := make([]int, 1000)
	s := NewStream(1, "conv.weight")
	chunk := make([]float32, 10000)
	for first := 0; first < total; first += len(chunk) {
		s.Normals(chunk, uint64(first))
		for _, z := range chunk {
			x := float64(z)
			x2 := x * x
			x4 := x2 * x2
			powers[1] += x
			powers[2] += x2
			powers[3] += x2 * x
			powers[4] += x4
			powers[6] += x4 * x2
			powers[8] += x4 * x4
			for sigma := 1; sigma <= maxSigma; sigma++ {
				if x > float64(sigma) {
					upper[sigma]++
				} else if x < -float64(sigma) {
					lower[sigma]++
				}
			}
			bins[min(int(1000*0.5*math.Erfc(-x/math.Sqrt2)), 999)]++
		}
	}
	n := float64(total)

	// The standard error of moment k is √((m_2k − m_k²)/n), where m_2k = (2k−1)!!.
	moments := []struct {
		k              int
		want, variance float64
	}{
		{1, 0, 1}, {2, 1, 3 - 1}, {3, 0, 15}, {4, 3, 105 - 9}, {6, 15, 10395 - 225}, {8, 105, 2027025 - 11025},
	}
	for _, m := range moments {
		checkNear(t, fmt.Sprintf("moment %d", m.k), powers[m.k]/n, m.want, 5*math.Sqrt(m.variance/n))
	}
	mean := powers[1] / n
	variance := powers[2]/n - mean*mean
	skewness := (powers[3]/n - 3*mean*powers[2]/n + 2*mean*mean*mean) / math.Pow(variance, 1.5)
	kurtosis := (powers[4]/n - 4*mean*powers[3]/n + 6*mean*mean*powers[2]/n - 3*math.Pow(mean, 4)) / (variance * variance)
	checkNear(t, "variance", variance, 1, 5*math.Sqrt(2/n))
	checkNear(t, "skewness", skewness, 0, 5*math.Sqrt(6/n))
	checkNear(t, "kurtosis", kurtosis, 3, 5*math.Sqrt(24/n))

	for sigma := 1; sigma <= maxSigma; sigma++ {
		want := n * 0.5 * math.Erfc(float64(sigma)/math.Sqrt2)
		checkNear(t, fmt.Sprintf("count above %dσ", sigma), float64(upper[sigma]), want, 5*math.Sqrt(want))
		checkNear(t, fmt.Sprintf("count below -%dσ", sigma), float64(lower[sigma]), want, 5*math.Sqrt(want))
		checkNear(t, fmt.Sprintf("count beyond %dσ", sigma), float64(upper[sigma]+lower[sigma]), 2*want, 5*math.Sqrt(2*want))
	}
	checkUniformCounts(t, "1,000 bins", bins)
}
