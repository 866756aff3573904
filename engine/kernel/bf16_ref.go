package kernel

import "math"

// A bfloat16 is the upper half of a float32: its sign, its exponent and the
// first 7 of its 23 bits.

// genericRoundBF16 implements Family.RoundBF16. It rounds to nearest, ties to even: it adds
// just less than half of the last remaining bit, or exactly half if that bit is set, and
// truncates the sum. The largest numbers become infinity. The addition could turn a NaN into
// another value, so a NaN is truncated without it. Its quiet bit is set because all other
// bits of its payload may be lost.
func genericRoundBF16(dst []uint16, x []float32) {
	dst = dst[:len(x)]
	for i, v := range x {
		bits := math.Float32bits(v)
		if v != v {
			dst[i] = uint16(bits>>16) | 0x40
			continue
		}
		dst[i] = uint16((bits + 0x7fff + bits>>16&1) >> 16)
	}
}

// genericExpandBF16 implements Family.ExpandBF16.
func genericExpandBF16(dst []float32, x []uint16) {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] = math.Float32frombits(uint32(v) << 16)
	}
}
