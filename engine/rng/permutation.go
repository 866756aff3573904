package rng

import "math/bits"

// Permutation fills dst with a random permutation of 0..len(dst)-1 by the inside-out
// Fisher–Yates shuffle. len(dst) must be below 2^31. Step i exchanges position i with one
// of 0..i, chosen by the high half of v × (i+1), where v is the 64-bit number of words 2i
// (low) and 2i+1 (high). With 64 bits for each step, the probability of each choice differs
// from a uniform probability by less than 2^-64, so no word needs to be rejected.
func (s Stream) Permutation(dst []int32) {
	for i := 0; i < len(dst); i += 2 {
		w0, w1, w2, w3 := s.block(uint64(i) / 2)
		insert(dst, i, w0, w1)
		if i+1 < len(dst) {
			insert(dst, i+1, w2, w3)
		}
	}
}

// insert extends the permutation of 0..i-1 in dst[:i] to one of 0..i.
func insert(dst []int32, i int, lo, hi uint32) {
	j, _ := bits.Mul64(uint64(hi)<<32|uint64(lo), uint64(i)+1)
	dst[i] = dst[j]
	dst[j] = int32(i)
}
