// Package rng draws random numbers that are a pure function of seed, stream name and
// index. Weights, shuffles and augmentations can thus be regenerated one at a time, in
// any order, on any number of threads, with the same bits on every platform. The
// generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers:
// As Easy as 1, 2, 3" (SC 2011).
//
// SPEC.md in this folder defines every bit and has test vectors, so that other languages
// can generate the same numbers. The definition never changes, because checkpoints store
// a seed instead of weights.
package rng

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Stream is a sequence of random 32-bit words, addressed by index. It never changes, so it
// may be copied and used concurrently, and the same index always gives the same number.
//
// Uniforms, Normals and Permutation read the same words, so a stream should serve only
// one purpose.
type Stream struct {
	key [2]uint32 // seed, low word first
	id  [2]uint32 // stream id, low word first
}

// NewStream returns the stream with the given seed and name. Streams that differ in seed or
// name are statistically independent. The stream id is the first 8 bytes, little-endian, of
// the SHA-256 of name.
func NewStream(seed uint64, name string) Stream {
	sum := sha256.Sum256([]byte(name))
	id := binary.LittleEndian.Uint64(sum[:8])
	return Stream{
		key: [2]uint32{uint32(seed), uint32(seed >> 32)},
		id:  [2]uint32{uint32(id), uint32(id >> 32)},
	}
}

// Block returns words 4i to 4i+3 of the stream: Philox4x32-10 of the counter (i low,
// i high, stream id low, stream id high) with the seed as key. The other methods reach
// only blocks below 2^62.
func (s Stream) Block(i uint64) [4]uint32 {
	w0, w1, w2, w3 := s.block(i)
	return [4]uint32{w0, w1, w2, w3}
}

// block returns the words of Block as single values, which the compiler keeps in
// registers.
func (s Stream) block(i uint64) (w0, w1, w2, w3 uint32) {
	return philox(uint32(i), uint32(i>>32), s.id[0], s.id[1], s.key[0], s.key[1])
}

// Uint32 returns word i of the stream, uniform over all 32-bit values.
func (s Stream) Uint32(i uint64) uint32 {
	b := s.Block(i / 4)
	return b[i%4]
}

// Uniforms sets dst[j] to the top 24 bits of word first+j, times 2^-24. The numbers are
// uniform in [0, 1), and no rounding occurs. first+len(dst) must not exceed 2^64.
func (s Stream) Uniforms(dst []float32, first uint64) {
	i := first / 4
	if skip := first % 4; skip != 0 {
		u := s.uniformBlock(i)
		dst = dst[copy(dst, u[skip:]):]
		i++
	}
	for ; len(dst) >= 4; dst = dst[4:] {
		w0, w1, w2, w3 := s.block(i)
		dst[0] = uniform(w0)
		dst[1] = uniform(w1)
		dst[2] = uniform(w2)
		dst[3] = uniform(w3)
		i++
	}
	if len(dst) > 0 {
		u := s.uniformBlock(i)
		copy(dst, u[:])
	}
}

// uniformBlock returns uniform numbers 4i to 4i+3.
func (s Stream) uniformBlock(i uint64) [4]float32 {
	w0, w1, w2, w3 := s.block(i)
	return [4]float32{uniform(w0), uniform(w1), uniform(w2), uniform(w3)}
}

// uniform maps a word to [0, 1). Both steps are exact in float32.
func uniform(word uint32) float32 {
	return float32(word>>8) * 0x1p-24
}

// Bounded maps a uniform word to 0..n-1. The result is the high half of word × n, or 0 if
// n is 0. If n is not a power of two, the probability of a value differs from 1/n by less
// than 2^-32.
func Bounded(word, n uint32) uint32 {
	hi, _ := bits.Mul32(word, n)
	return hi
}
