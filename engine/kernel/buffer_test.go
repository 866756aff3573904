package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// element is the type of elements that kernels read and write.
type element interface{ Float | uint8 | uint16 }

// buffer holds elements between guard words. A write beyond the elements changes a guard word,
// which checkGuards reports. The guard words of numbers are NaNs, so that a read beyond the
// elements spoils the result.
type buffer[E element] struct {
	all, x []E
	start  int // index in all of the first element of x
}

// margin is the number of guard words on each side, enough for a kernel that overruns by
// a few positions or by rows of a small image.
const margin = 64

// newBuffer returns n elements, all guard words, that begin shift elements after an
// aligned address.
func newBuffer[E element](n, shift int) *buffer[E] {
	b := &buffer[E]{all: make([]E, margin+shift+n+margin), start: margin + shift}
	for i := range b.all {
		b.all[i] = guard[E]()
	}
	b.x = b.all[b.start : b.start+n : b.start+n]
	return b
}

// bufferOf returns a copy of x between guard words.
func bufferOf[E element](x []E, shift int) *buffer[E] {
	b := newBuffer[E](len(x), shift)
	copy(b.x, x)
	return b
}

// guard returns the guard word of a type.
func guard[E element]() (x E) {
	switch p := any(&x).(type) {
	case *float32:
		*p = math.Float32frombits(0x7fc0dead)
	case *float64:
		*p = math.Float64frombits(0x7ff80000deadbeef)
	case *uint8:
		*p = 0xa5
	case *uint16:
		*p = 0x7fad
	}
	return x
}

// bitsOf returns the bits of x.
func bitsOf[E element](x E) uint64 {
	switch x := any(x).(type) {
	case float32:
		return uint64(math.Float32bits(x))
	case float64:
		return math.Float64bits(x)
	case uint8:
		return uint64(x)
	case uint16:
		return uint64(x)
	}
	panic("not an element")
}

// checkGuards fails if a guard word was written.
func (b *buffer[E]) checkGuards(t *testing.T, name string) {
	t.Helper()
	word := bitsOf(guard[E]())
	for i, v := range b.all {
		if inside := i >= b.start && i < b.start+len(b.x); !inside && bitsOf(v) != word {
			t.Fatalf("%s: index %d, outside of the %d elements, has bits %#x, want the guard word %#x", name, i-b.start, len(b.x), bitsOf(v), word)
		}
	}
}

// checkEqual fails if an element differs from want, or a guard word was written.
func (b *buffer[E]) checkEqual(t *testing.T, name string, want []E) {
	t.Helper()
	b.checkGuards(t, name)
	checkSame(t, name, b.x, want)
}

// checkSame fails if the bits of an element differ.
func checkSame[E element](t *testing.T, name string, got, want []E) {
	t.Helper()
	if i := firstDifference(got, want); i >= 0 {
		t.Fatalf("%s: element %d of %d is %v, want %v", name, i, len(got), got[i], want[i])
	}
}

// firstDifference returns the first index at which the bits differ, or -1.
func firstDifference[E element](a, b []E) int {
	for i, v := range a {
		if bitsOf(v) != bitsOf(b[i]) {
			return i
		}
	}
	return -1
}

// normal returns n standard normal deviates that are float32 values, so that every
// implementation gets the same numbers.
func normal(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(float32(r.NormFloat64()))
	}
	return x
}

// convert returns x with elements of type T.
func convert[T, U Float](x []U) []T {
	y := make([]T, len(x))
	for i, v := range x {
		y[i] = T(v)
	}
	return y
}

// compare fails if got's rms error is above tolerance, or if its largest error is above
// ten times tolerance. Both errors are in units of want's rms.
func compare[T Float](t *testing.T, name string, got []T, want []float64, tolerance float64) {
	t.Helper()
	var errorSquares, wantSquares, largest float64
	worst := 0 // index of the largest error
	for i, v := range want {
		d := math.Abs(float64(got[i]) - v)
		if math.IsNaN(d) {
			t.Fatalf("%s: %v at %d of %d, want %v", name, got[i], i, len(want), v)
		}
		errorSquares += d * d
		wantSquares += v * v
		if d > largest {
			largest, worst = d, i
		}
	}
	count := float64(len(want))
	errorRMS, wantRMS := math.Sqrt(errorSquares/count), math.Sqrt(wantSquares/count)
	if errorRMS > tolerance*wantRMS {
		t.Fatalf("%s: relative rms error %.3g, want at most %.3g; %v at %d of %d, want %v",
			name, errorRMS/wantRMS, tolerance, got[worst], worst, len(want), want[worst])
	}
	if bound := 10 * tolerance * wantRMS; largest > bound {
		t.Fatalf("%s: %v at %d of %d, want %v within %.3g", name, got[worst], worst, len(want), want[worst], bound)
	}
}
