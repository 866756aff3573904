package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"
)

// channelStats returns the mean and the population standard deviation of pixel/255
// per channel. The sums are exact integers, so that every platform finds the same bits.
func channelStats(s *Split) (mean, std []float32) {
	mean, std = make([]float32, s.Channels), make([]float32, s.Channels)
	plane := s.Height * s.Width
	for c := range s.Channels {
		var counts [256]uint64
		for i := range s.Len() {
			for _, v := range s.Image(i)[c*plane : (c+1)*plane] {
				counts[v]++
			}
		}
		var n, sum, squares uint64
		for v, k := range counts {
			n += k
			sum += k * uint64(v)
			squares += k * uint64(v) * uint64(v)
		}
		mean[c] = float32(float64(sum) / float64(n) / 255)
		// Var = (n·Σv² − (Σv)²) / n², its numerator in 128 bits.
		hi1, lo1 := bits.Mul64(n, squares)
		hi2, lo2 := bits.Mul64(sum, sum)
		lo, borrow := bits.Sub64(lo1, lo2, 0)
		hi, _ := bits.Sub64(hi1, hi2, borrow)
		// The product by a power of two is exact, so a fused addition changes nothing.
		numerator := float64(hi)*0x1p64 + float64(lo)
		std[c] = float32(math.Sqrt(numerator) / float64(n) / 255)
		if std[c] == 0 {
			std[c] = 1
		}
	}
	return mean, std
}

// pixelMeans returns the mean of pixel/255 per position, C×H×W. The sums are exact.
func pixelMeans(s *Split) []float32 {
	sums := make([]uint64, s.imageSize())
	for i := range s.Len() {
		for p, v := range s.Image(i) {
			sums[p] += uint64(v)
		}
	}
	mean := make([]float32, len(sums))
	for p, sum := range sums {
		mean[p] = float32(float64(sum) / float64(s.Len()) / 255)
	}
	return mean
}

// digest returns the hex SHA-256 over the splits in turn: N, C, H, W as
// little-endian uint64, then the N labels, then the N×C×H×W pixels.
func digest(splits ...*Split) string {
	h := sha256.New()
	for _, s := range splits {
		var head [32]byte
		for i, n := range []int{s.Len(), s.Channels, s.Height, s.Width} {
			binary.LittleEndian.PutUint64(head[8*i:], uint64(n))
		}
		h.Write(head[:])
		h.Write(s.Labels)
		h.Write(s.Images)
	}
	return hex.EncodeToString(h.Sum(nil))
}
