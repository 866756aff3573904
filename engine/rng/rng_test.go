package rng

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// numTrials returns n or, with -short, a smaller number of trials that takes a few seconds even
// on an emulated CPU.
func numTrials(n int) int {
	if testing.Short() {
		return n / 50
	}
	return n
}

// starts lists first indices to test. They cover every position in a block, carries from
// the counter's low word to its high word, and, in chunks of 22 numbers, the last index.
var starts = []uint64{0, 1, 2, 3, 4, 1<<32 - 3, 1<<34 - 3, 1<<34 - 2, 1 << 40, math.MaxUint64 - 21}

func TestBlockCounterLayout(t *testing.T) {
	const seed, name, index = 0x0123456789abcdef, "blocks.0.conv1.weight", 0xfedcba9876543210
	sum := sha256.Sum256([]byte(name))
	var id [2]uint32
	for i := range 4 {
		id[0] |= uint32(sum[i]) << (8 * i)
		id[1] |= uint32(sum[4+i]) << (8 * i)
	}
	want := Philox4x32([4]uint32{0x76543210, 0xfedcba98, id[0], id[1]}, [2]uint32{0x89abcdef, 0x01234567})
	if got := NewStream(seed, name).Block(index); got != want {
		t.Errorf("got %08x, want %08x", got, want)
	}
}

func TestUint32ReadsBlocks(t *testing.T) {
	s := NewStream(7, "words")
	for _, first := range starts {
		for i := first; i < first+9; i++ {
			if got, want := s.Uint32(i), s.Block(i >> 2)[i&3]; got != want {
				t.Errorf("word %d: got %08x, want %08x", i, got, want)
			}
		}
	}
}

// checkChunks checks that fill sets dst[j] to single(first+j) for any first index and length,
// and writes nothing outside dst.
func checkChunks(t *testing.T, fill func(dst []float32, first uint64), single func(i uint64) float32) {
	t.Helper()
	const guard = 12345
	for _, first := range starts {
		for n := range 23 {
			buf := make([]float32, n+2)
			for i := range buf {
				buf[i] = guard
			}
			fill(buf[1:1+n:1+n], first)
			if buf[0] != guard || buf[n+1] != guard {
				t.Fatalf("first %d, length %d: the elements around dst are %v and %v, want %d, as before", first, n, buf[0], buf[n+1], guard)
			}
			for j, got := range buf[1 : 1+n] {
				if want := single(first + uint64(j)); math.Float32bits(got) != math.Float32bits(want) {
					t.Fatalf("first %d, length %d: number %d is %v, want %v", first, n, j, got, want)
				}
			}
		}
	}

	whole := make([]float32, 10000)
	fill(whole, 0)
	parts := make([]float32, len(whole))
	random := rand.New(rand.NewPCG(1, 2))
	for first := 0; first < len(parts); {
		n := min(1+random.IntN(97), len(parts)-first)
		fill(parts[first:first+n], uint64(first))
		first += n
	}
	for i := range whole {
		if math.Float32bits(whole[i]) != math.Float32bits(parts[i]) {
			t.Fatalf("number %d is %v in chunks, want %v, as in one call", i, parts[i], whole[i])
		}
	}
}

func TestUniformsChunks(t *testing.T) {
	s := NewStream(3, "uniforms")
	checkChunks(t, s.Uniforms, func(i uint64) float32 {
		return float32(math.Ldexp(float64(s.Uint32(i)>>8), -24))
	})
}

func TestUniformRange(t *testing.T) {
	if got := uniform(0); got != 0 {
		t.Errorf("the lowest number is %v, want 0", got)
	}
	if got, want := uniform(math.MaxUint32), math.Nextafter32(1, 0); got != want {
		t.Errorf("the highest number is %v, want %v", got, want)
	}
}

func TestUniformsDistribution(t *testing.T) {
	u := make([]float32, numTrials(2_000_000))
	NewStream(1, "uniforms").Uniforms(u, 0)
	var sum float64
	bins := make([]int, 256)
	for _, x := range u {
		sum += float64(x)
		bins[int(x*256)]++
	}
	n := float64(len(u))
	checkNear(t, "mean", sum/n, 0.5, 5/math.Sqrt(12*n))
	checkUniformCounts(t, "256 bins", bins)
}

func TestBounded(t *testing.T) {
	tests := []struct{ word, n, want uint32 }{
		{0, 0, 0}, {math.MaxUint32, 0, 0},
		{0, 1, 0}, {math.MaxUint32, 1, 0},
		{0, 9, 0}, {math.MaxUint32, 9, 8},
		{0x7fffffff, 2, 0}, {0x80000000, 2, 1},
		{math.MaxUint32, math.MaxUint32, math.MaxUint32 - 1},
	}
	for _, test := range tests {
		if got := Bounded(test.word, test.n); got != test.want {
			t.Errorf("Bounded(%#x, %d) = %d, want %d", test.word, test.n, got, test.want)
		}
	}

	// Crops of a picture padded by 4 on each side have 9 positions.
	s := NewStream(1, "crop")
	counts := make([]int, 9)
	for i := range numTrials(900_000) {
		counts[Bounded(s.Uint32(uint64(i)), 9)]++
	}
	checkUniformCounts(t, "0..8", counts)
}

// TestStreamsIndependent checks that streams whose seeds or names differ slightly are not
// correlated, and that a stream is not correlated with itself at a lag of a few numbers.
func TestStreamsIndependent(t *testing.T) {
	n := numTrials(1_000_000)
	const name = "blocks.0.conv1.weight"
	normals := func(seed uint64, name string, first uint64) []float32 {
		z := make([]float32, n)
		NewStream(seed, name).Normals(z, first)
		return z
	}
	base := normals(1, name, 0)
	others := map[string][]float32{
		"next seed":             normals(2, name, 0),
		"seed with high word 1": normals(1|1<<32, name, 0),
		"next layer":            normals(1, "blocks.0.conv2.weight", 0),
		"empty name":            normals(1, "", 0),
	}
	for lag := 1; lag <= 8; lag++ {
		others[fmt.Sprintf("lag %d", lag)] = normals(1, name, uint64(lag))
	}
	for label, other := range others {
		var product, squares float64
		for i := range base {
			x, y := float64(base[i]), float64(other[i])
			product += x * y
			squares += (x*x - 1) * (y*y - 1)
		}
		// The variances of the two products are 1 and 4.
		checkNear(t, label+": correlation", product/float64(n), 0, 5/math.Sqrt(float64(n)))
		checkNear(t, label+": correlation of squares", squares/float64(n), 0, 5*2/math.Sqrt(float64(n)))
	}
}

func TestNoAllocation(t *testing.T) {
	s := NewStream(1, "conv.weight")
	numbers := make([]float32, 101)
	order := make([]int32, 101)
	allocs := testing.AllocsPerRun(10, func() {
		s.Uniforms(numbers, 3)
		s.Normals(numbers, 3)
		s.Permutation(order)
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

// checkNear checks that got is within tolerance of want.
func checkNear(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.6g, want %.6g ± %.2g", name, got, want, tolerance)
	}
}

// checkUniformCounts does a χ² test of counts against equal probabilities. The statistic
// must be within five of its standard deviations.
func checkUniformCounts(t *testing.T, name string, counts []int) {
	t.Helper()
	total := 0
	for _, count := range counts {
		total += count
	}
	expected := float64(total) / float64(len(counts))
	var chi2 float64
	for _, count := range counts {
		d := float64(count) - expected
		chi2 += d * d / expected
	}
	freedom := float64(len(counts) - 1)
	checkNear(t, name+": χ²", chi2, freedom, 5*math.Sqrt(2*freedom))
}
