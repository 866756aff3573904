package rng

import "math/bits"

// The multipliers and key increments of Philox4x32, as its authors published them in
// Random123. The increments are the first 32 bits of the fractional parts of the golden ratio and
// of √3.
const (
	philoxM0     = 0xD2511F53
	philoxM1     = 0xCD9E8D57
	philoxW0     = 0x9E3779B9
	philoxW1     = 0xBB67AE85
	philoxRounds = 10
)

// Philox4x32 returns the result of the bijection Philox4x32-10 for a 128-bit counter and a
// 64-bit key. Word 0 is the lowest.
func Philox4x32(counter [4]uint32, key [2]uint32) [4]uint32 {
	w0, w1, w2, w3 := philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1])
	return [4]uint32{w0, w1, w2, w3}
}

// philox is Philox4x32 with single words instead of arrays, because the compiler keeps only
// single words in registers.
func philox(c0, c1, c2, c3, k0, k1 uint32) (w0, w1, w2, w3 uint32) {
	for range philoxRounds {
		hi0, lo0 := bits.Mul32(philoxM0, c0)
		hi1, lo1 := bits.Mul32(philoxM1, c2)
		c0, c1, c2, c3 = hi1^c1^k0, lo1, hi0^c3^k1, lo0
		k0 += philoxW0
		k1 += philoxW1
	}
	return c0, c1, c2, c3
}
