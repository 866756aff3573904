package rng

import "math"

// Normals sets dst[j] to standard normal number first+j of the stream. Normals 2p and
// 2p+1 are the Box–Muller transform of words 2p and 2p+1, so a number has the same bits
// for every first and length. The largest values are ±6.76. first+len(dst) must not
// exceed 2^64.
func (s Stream) Normals(dst []float32, first uint64) {
	i := first / 4
	if skip := first % 4; skip != 0 {
		z := s.normalBlock(i)
		dst = dst[copy(dst, z[skip:]):]
		i++
	}
	for ; len(dst) >= 4; dst = dst[4:] {
		w0, w1, w2, w3 := s.block(i)
		z0, z1 := boxMuller(w0, w1)
		z2, z3 := boxMuller(w2, w3)
		dst[0] = float32(z0)
		dst[1] = float32(z1)
		dst[2] = float32(z2)
		dst[3] = float32(z3)
		i++
	}
	if len(dst) > 0 {
		z := s.normalBlock(i)
		copy(dst, z[:])
	}
}

// normalBlock returns normal numbers 4i to 4i+3.
func (s Stream) normalBlock(i uint64) [4]float32 {
	w0, w1, w2, w3 := s.block(i)
	z0, z1 := boxMuller(w0, w1)
	z2, z3 := boxMuller(w2, w3)
	return [4]float32{float32(z0), float32(z1), float32(z2), float32(z3)}
}

const (
	oneBits      = 0x3FF0000000000000 // 1 as a float64
	sqrtHalfBits = 0x3FE6A09E667F3BCD // √½ as a float64, rounded to nearest
	fractionMask = 1<<52 - 1
)

// boxMuller turns two uniform words into two independent standard normals,
//
//	√(−2 ln u) · cos 2πv  and  √(−2 ln u) · sin 2πv
//
// with u = (w0+½)·2^-32 and v = (w1+½)·2^-32 (Box and Muller 1958). The ½ keeps both away
// from 0 and 1, and makes the distribution exactly symmetric.
//
// All arithmetic is float64, without branches, tables or loops that depend on the data,
// so that vector instructions could compute it. Each product that is added to another number
// is converted explicitly, which keeps the compiler from fusing the two operations, so that
// the bits are those of SPEC.md on every machine. (Fusing would change about one deviate in
// 10^8 after rounding to float32, so tests check the float64 result.) Truncating the
// series changes the result by less than 2e-12 of its value, far less than rounding to
// float32 does.
func boxMuller(w0, w1 uint32) (z0, z1 float64) {
	// u = m·2^k with m in [√½, √2).
	u := (float64(w0) + 0.5) * 0x1p-32
	b := math.Float64bits(u) + (oneBits - sqrtHalfBits)
	k := float64(int64(b>>52) - 1023)
	m := math.Float64frombits(b&fractionMask + sqrtHalfBits)

	// ln m = 2 artanh s with |s| ≤ 3 − 2√2, artanh s = s + s³/3 + s⁵/5 + ...
	s := (m - 1) / (m + 1)
	q := s * s
	a := 1.0 / 13
	a = float64(a*q) + 1.0/11
	a = float64(a*q) + 1.0/9
	a = float64(a*q) + 1.0/7
	a = float64(a*q) + 1.0/5
	a = float64(a*q) + 1.0/3
	a = float64(a*q) + 1
	lnU := float64(k*math.Ln2) + float64(2*float64(s*a))
	r := math.Sqrt(-2 * lnU)

	// 2πv = quadrant·π/2 + x with |x| < π/4.
	quadrant := (w1 + 1<<29) >> 30
	x := (float64(int32(w1-quadrant<<30)) + 0.5) * (math.Pi / (1 << 31))
	t := x * x

	sin := 1.0 / 6227020800
	sin = float64(sin*t) - 1.0/39916800
	sin = float64(sin*t) + 1.0/362880
	sin = float64(sin*t) - 1.0/5040
	sin = float64(sin*t) + 1.0/120
	sin = float64(sin*t) - 1.0/6
	sin = float64(sin*t) + 1
	sin *= x

	cos := 1.0 / 479001600
	cos = float64(cos*t) - 1.0/3628800
	cos = float64(cos*t) + 1.0/40320
	cos = float64(cos*t) - 1.0/720
	cos = float64(cos*t) + 1.0/24
	cos = float64(cos*t) - 1.0/2
	cos = float64(cos*t) + 1

	// Odd quadrants exchange sine and cosine. The cosine is negative in quadrants 1
	// and 2, and the sine in quadrants 2 and 3.
	c, d := math.Float64bits(cos), math.Float64bits(sin)
	swap := (c ^ d) & -uint64(quadrant&1)
	c ^= swap ^ uint64((quadrant+1)&2)<<62
	d ^= swap ^ uint64(quadrant&2)<<62
	return r * math.Float64frombits(c), r * math.Float64frombits(d)
}
