package engine

import (
	"math"
	"testing"
)

// TestWilsonPublished compares with Newcombe 1998, "Two-sided confidence intervals for the
// single proportion", table I, method 3, which gives four digits.
func TestWilsonPublished(t *testing.T) {
	for _, c := range []struct {
		correct, n int
		low, high  float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0.0000, 0.1611},
		{1, 29, 0.0061, 0.1718},
	} {
		low, high := Wilson(c.correct, c.n)
		if math.Abs(low-c.low) > 0.5e-4 || math.Abs(high-c.high) > 0.5e-4 {
			t.Errorf("%d of %d: %.5f to %.5f, want %.4f to %.4f", c.correct, c.n, low, high, c.low, c.high)
		}
	}
}

// TestWilsonDefinition checks that the bounds p solve (share-p)² = z²·p·(1-p)/n, which
// defines the interval, and that exchanging correct and wrong answers mirrors it.
func TestWilsonDefinition(t *testing.T) {
	const z = 1.959963984540054
	for _, n := range []int{1, 2, 7, 100, 10_000, 1_000_000} {
		for _, correct := range []int{0, 1, n / 3, n / 2, n - 1, n} {
			share := float64(correct) / float64(n)
			low, high := Wilson(correct, n)
			for _, p := range []float64{low, high} {
				if got, want := (share-p)*(share-p), z*z*p*(1-p)/float64(n); math.Abs(got-want) > 1e-14 {
					t.Errorf("%d of %d: at %v the difference squared is %v, want %v", correct, n, p, got, want)
				}
			}
			if !(0 <= low && low <= share && share <= high && high <= 1 && low < high) {
				t.Errorf("%d of %d: %v to %v, want an interval within 0 to 1 that contains %v", correct, n, low, high, share)
			}
			if l, h := Wilson(n-correct, n); math.Abs(l-(1-high)) > 1e-14 || math.Abs(h-(1-low)) > 1e-14 {
				t.Errorf("%d of %d: %v to %v, want %v to %v, which mirrors that of %d", n-correct, n, l, h, 1-high, 1-low, correct)
			}
		}
	}
	if low, high := Wilson(0, 0); low != 0 || high != 1 {
		t.Errorf("no trials: %v to %v, want 0 to 1", low, high)
	}
	if low, high := Wilson(720, 1000); math.Abs(low-0.6914) > 1e-4 || math.Abs(high-0.7470) > 1e-4 {
		t.Errorf("720 of 1000: %v to %v, want 0.6914 to 0.7470", low, high)
	}
}
