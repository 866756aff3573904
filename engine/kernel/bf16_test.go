package kernel

import (
	"fmt"
	"math"
	"testing"
)

// roundedBF16 returns the nearest bfloat16, by the distances to both neighbours.
func roundedBF16(x float32) uint16 {
	bits := math.Float32bits(x)
	truncated := uint16(bits >> 16) // rounded towards zero
	size := math.Abs(float64(x))
	switch {
	case math.IsNaN(size):
		return truncated | 0x40
	case math.IsInf(size, 0):
		return truncated
	}
	// A bfloat16 has 8 significant bits; its smallest normal number is 2^-126.
	exponent := max(int(truncated>>7&0xff), 1) - 127
	step := math.Ldexp(1, exponent-7)
	lower := float64(truncated&0x7f) * step
	if truncated>>7&0xff != 0 {
		lower += math.Ldexp(1, exponent)
	}
	switch lowerDistance, upperDistance := size-lower, lower+step-size; {
	case lowerDistance > upperDistance, lowerDistance == upperDistance && truncated&1 == 1:
		return truncated + 1 // infinity follows the largest number
	}
	return truncated
}

// bf16Inputs returns every bfloat16 and float32 numbers around it: its neighbours, the
// tie halfway to the next bfloat16, and the neighbours of the tie.
func bf16Inputs() []float32 {
	var xs []float32
	for high := range uint32(1 << 16) {
		for _, low := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			xs = append(xs, math.Float32frombits(high<<16|low))
		}
	}
	return xs
}

// TestRoundBF16 checks every sign and exponent, denormals, ties and NaNs, quiet and
// signalling, at every position of a register, and infinities.
func TestRoundBF16(t *testing.T) {
	xs := bf16Inputs()
	want := make([]uint16, len(xs))
	for i, x := range xs {
		want[i] = roundedBF16(x)
	}
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		for shift := range 3 {
			got := newBuffer[uint16](len(xs)-shift, shift)
			f.RoundBF16(got.x, xs[shift:])
			got.checkGuards(t, f.Name)
			if i := firstDifference(got.x, want[shift:]); i >= 0 {
				t.Fatalf("%s: %#08x is rounded to %#04x, want %#04x", f.Name, math.Float32bits(xs[shift+i]), got.x[i], want[shift+i])
			}
		}
	})
}

// TestExpandBF16 checks every bfloat16, and that rounding returns it, or a quiet NaN for a
// signalling one.
func TestExpandBF16(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		wide := newBuffer[float32](len(all), 1)
		f.ExpandBF16(wide.x, all)
		wide.checkGuards(t, f.Name)
		for i, x := range wide.x {
			if bits := math.Float32bits(x); bits != uint32(i)<<16 {
				t.Fatalf("%s: %#04x is expanded to %#08x, want %#08x", f.Name, i, bits, uint32(i)<<16)
			}
		}
		rounded := newBuffer[uint16](len(all), 0)
		f.RoundBF16(rounded.x, wide.x)
		for i, x := range rounded.x {
			if want := uint16(i); x != want && !(math.IsNaN(float64(wide.x[i])) && x == want|0x40) {
				t.Fatalf("%s: %#04x is expanded and rounded to %#04x, want the same number, or the quiet NaN for a NaN", f.Name, want, x)
			}
		}
	})
}

// TestBF16Lengths checks values and guard words for lengths up to and beyond those of
// unrolled groups, with aligned and unaligned data.
func TestBF16Lengths(t *testing.T) {
	special := bf16Inputs()
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		for _, n := range lengths() {
			for shift := range 3 {
				name := fmt.Sprintf("%s: %d elements, shifted by %d", f.Name, n, shift)
				in, want, exact := make([]float32, n), make([]uint16, n), make([]float32, n)
				for i := range in {
					in[i] = special[(i*7919+n*104729)%len(special)]
					want[i] = roundedBF16(in[i])
					exact[i] = math.Float32frombits(uint32(want[i]) << 16)
				}
				x, half := bufferOf(in, shift), newBuffer[uint16](n, 2*shift+1)
				f.RoundBF16(half.x, x.x)
				x.checkEqual(t, name+", rounding", in)
				half.checkEqual(t, name+", rounded", want)
				wide := newBuffer[float32](n, shift)
				f.ExpandBF16(wide.x, half.x)
				half.checkEqual(t, name+", expanding", want)
				wide.checkEqual(t, name+", expanded", exact)
			}
		}
	})
}

// TestShortBF16Panics checks that the functions panic if the destination is too short,
// instead of writing beyond its end.
func TestShortBF16Panics(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		for name, call := range map[string]func(){
			"rounding":  func() { f.RoundBF16(make([]uint16, 8), make([]float32, 9)) },
			"expanding": func() { f.ExpandBF16(make([]float32, 8), make([]uint16, 9)) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: %s 9 elements to 8: got no panic, want one", f.Name, name)
					}
				}()
				call()
			}()
		}
	})
}
