package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"
	"math/bits"
	"runtime"
)

// statistics collects the counts and sums from which means and standard deviations are
// computed. They are exact integers, so that the results have the same bits on every platform
// and for any order of pictures.
type statistics struct {
	counts   [][256]uint64 // by channel and pixel value
	sums     []uint64      // by position, C×H×W
	pictures uint64
}

func newStatistics(s *Split) *statistics {
	return &statistics{counts: make([][256]uint64, s.Channels), sums: make([]uint64, s.imageSize())}
}

// add adds a picture, C×H×W.
func (t *statistics) add(picture []uint8) {
	plane := len(picture) / len(t.counts)
	for c := range t.counts {
		counts, sums := &t.counts[c], t.sums[c*plane:(c+1)*plane]
		for i, v := range picture[c*plane : (c+1)*plane] {
			counts[v]++
			sums[i] += uint64(v)
		}
	}
	t.pictures++
}

// merge adds the pictures of other.
func (t *statistics) merge(other *statistics) {
	for c := range t.counts {
		for v, k := range other.counts[c] {
			t.counts[c][v] += k
		}
	}
	for i, v := range other.sums {
		t.sums[i] += v
	}
	t.pictures += other.pictures
}

// channels returns the mean and the population standard deviation of pixel/255 per
// channel.
func (t *statistics) channels() (mean, std []float32) {
	mean, std = make([]float32, len(t.counts)), make([]float32, len(t.counts))
	for c := range t.counts {
		var n, sum, squares uint64
		for v, k := range t.counts[c] {
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
		// Multiplication by a power of two is exact, so a fused addition changes nothing.
		numerator := float64(hi)*0x1p64 + float64(lo)
		std[c] = float32(math.Sqrt(numerator) / float64(n) / 255)
		if std[c] == 0 {
			std[c] = 1
		}
	}
	return mean, std
}

// pixels returns the mean of pixel/255 per position, C×H×W.
func (t *statistics) pixels() []float32 {
	mean := make([]float32, len(t.sums))
	for p, sum := range t.sums {
		mean[p] = float32(float64(sum) / float64(t.pictures) / 255)
	}
	return mean
}

// memoryStatistics returns the statistics of a split in memory.
func memoryStatistics(s *Split) *statistics {
	t := newStatistics(s)
	for i := range s.Len() {
		t.add(s.Image(i))
	}
	return t
}

// channelStats returns the mean and standard deviation per channel of a split in memory.
func channelStats(s *Split) (mean, std []float32) { return memoryStatistics(s).channels() }

// maxStatisticsFiles is the largest number of files that statistics are computed from. It
// gives a mean within a few thousandths without reading all of a large folder.
const maxStatisticsFiles = 4096

// fileStatistics returns the statistics of a split in files, without augmentation. If there
// are more than maxStatisticsFiles files, it reads that number of evenly spaced files.
func fileStatistics(ctx context.Context, s *Split) (*statistics, error) {
	n := min(s.Len(), maxStatisticsFiles)
	threads := min(runtime.GOMAXPROCS(0), n)
	parts, decoders := make([]*statistics, threads), make([]*decoder, threads)
	for w := range threads {
		parts[w], decoders[w] = newStatistics(s), newDecoder(s)
	}
	err := parallel(n, threads, func(w, i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		picture, err := decoders[w].picture(int(int64(i)*int64(s.Len())/int64(n)), nil)
		if err == nil {
			parts[w].add(picture)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, part := range parts[1:] {
		parts[0].merge(part)
	}
	return parts[0], nil
}

// digest returns the hex SHA-256 of the splits in turn. For each split it covers N, C, H
// and W as little-endian uint64, then the N labels and the N×C×H×W pixels. For files,
// instead of labels and pixels, it covers the label, the size and the length of the name
// of each file as little-endian uint64, followed by the name.
func digest(splits ...*Split) string {
	h := sha256.New()
	for _, s := range splits {
		var head [32]byte
		for i, n := range []int{s.Len(), s.Channels, s.Height, s.Width} {
			binary.LittleEndian.PutUint64(head[8*i:], uint64(n))
		}
		h.Write(head[:])
		for i := range s.Files {
			f := &s.Files[i]
			binary.LittleEndian.PutUint64(head[0:], uint64(f.Label))
			binary.LittleEndian.PutUint64(head[8:], uint64(f.Size))
			binary.LittleEndian.PutUint64(head[16:], uint64(len(f.Name)))
			h.Write(head[:24])
			io.WriteString(h, f.Name)
		}
		h.Write(s.Labels)
		h.Write(s.Images)
	}
	return hex.EncodeToString(h.Sum(nil))
}
