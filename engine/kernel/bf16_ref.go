package kernel

import "math"

// A bfloat16 is the upper half of a float32: its sign, its exponent and the
// first 7 of its 23 bits.

// genericRoundBF16 adds just less than half of the last bit that stays, or half
// where that bit is set, which carries into it as rounding to nearest even
// does, and from the largest numbers to infinity. A NaN could be carried away:
// it is cut off instead, and its quiet bit set, as its others may be lost.
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

func genericExpandBF16(dst []float32, x []uint16) {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] = math.Float32frombits(uint32(v) << 16)
	}
}
