package dataset

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bnkit/engine/rng"
)

// syntheticSplit returns a split of random pixels.
func syntheticSplit(n, channels, height, width, classes int) *Split {
	s := &Split{Channels: channels, Height: height, Width: width}
	stream := rng.NewStream(11, "test/pixels")
	for i := range n * channels * height * width {
		s.Images = append(s.Images, uint8(stream.Uint32(uint64(i))>>24))
	}
	for i := range n {
		s.Labels = append(s.Labels, uint8(i*7%classes))
	}
	return s
}

// newTestLoader returns a loader that normalises by the statistics of s.
func newTestLoader(t testing.TB, s *Split, cfg LoaderConfig) *Loader {
	t.Helper()
	cfg.Mean, cfg.Std = channelStats(s)
	l, err := NewLoader(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// collect copies the batches from first on, and calls pause after each.
func collect(t testing.TB, l *Loader, epoch, first int, pause func()) []Batch {
	t.Helper()
	it := l.Start(context.Background(), epoch, first)
	defer it.Close()
	var all []Batch
	for b, ok := it.Next(); ok; b, ok = it.Next() {
		all = append(all, Batch{Images: slices.Clone(b.Images), Labels: slices.Clone(b.Labels), N: b.N})
		pause()
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// checkBatches compares two lists of batches.
func checkBatches(t *testing.T, got, want []Batch) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d batches, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].N != want[i].N || !slices.Equal(got[i].Labels, want[i].Labels) {
			t.Fatalf("batch %d: got N %d and labels %v, want %d and %v", i, got[i].N, got[i].Labels, want[i].N, want[i].Labels)
		}
		if len(got[i].Images) != len(want[i].Images) {
			t.Fatalf("batch %d: got %d pixels, want %d", i, len(got[i].Images), len(want[i].Images))
		}
		for j, v := range got[i].Images {
			if v != want[i].Images[j] {
				t.Fatalf("batch %d: pixel %d is %v, want %v", i, j, v, want[i].Images[j])
			}
		}
	}
}

// referencePicture augments a picture step by step as in the literature: normalise, mirror,
// pad by 4 zeros on each side, crop at (top, left).
func referencePicture(s *Split, mean, std []float32, sample int, mirror bool, top, left int) []float32 {
	var out []float32
	for c := range s.Channels {
		padded := make([][]float32, s.Height+8)
		for y := range padded {
			padded[y] = make([]float32, s.Width+8)
		}
		for y := range s.Height {
			for x := range s.Width {
				column := x
				if mirror {
					column = s.Width - 1 - x
				}
				v := s.Images[((sample*s.Channels+c)*s.Height+y)*s.Width+column]
				padded[y+4][x+4] = float32((float64(v)/255 - float64(mean[c])) / float64(std[c]))
			}
		}
		for y := range s.Height {
			out = append(out, padded[y+top][left:left+s.Width]...)
		}
	}
	return out
}

func TestBatchesAgainstReference(t *testing.T) {
	for _, shape := range [][3]int{{1, 28, 28}, {3, 32, 32}, {2, 9, 13}, {1, 3, 2}} {
		for _, flip := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v flip %v", shape, flip), func(t *testing.T) {
				s := syntheticSplit(200, shape[0], shape[1], shape[2], 10)
				cfg := LoaderConfig{Batch: 32, Seed: 5, Shuffle: true, Augment: true, Flip: flip}
				cfg.Mean, cfg.Std = channelStats(s)
				const epoch = 3
				order := make([]int32, s.Len())
				rng.NewStream(5, "shuffle/epoch/3").Permutation(order)
				draws := rng.NewStream(5, "augment/epoch/3")
				mirrored, places := 0, map[[2]int]bool{}
				var want []Batch
				for b := 0; b < s.Len(); b += cfg.Batch {
					var batch Batch
					for _, sample := range order[b:min(b+cfg.Batch, s.Len())] {
						w := draws.Block(uint64(sample))
						mirror := flip && w[0] >= 1<<31
						top, left := int(rng.Bounded(w[1], 9)), int(rng.Bounded(w[2], 9))
						if mirror {
							mirrored++
						}
						places[[2]int{top, left}] = true
						batch.Images = append(batch.Images, referencePicture(s, cfg.Mean, cfg.Std, int(sample), mirror, top, left)...)
						batch.Labels = append(batch.Labels, int32(s.Labels[sample]))
						batch.N++
					}
					want = append(want, batch)
				}
				checkBatches(t, collect(t, newTestLoader(t, s, cfg), epoch, 0, func() {}), want)
				// Of 200 fair draws, 60 to 140 mirror the picture. Their shifts reach most of the 81 places.
				if flip && (mirrored < 60 || mirrored > 140) || !flip && mirrored != 0 {
					t.Errorf("%d of 200 pictures were mirrored, want 60 to 140 with flip and none without", mirrored)
				}
				if len(places) < 60 {
					t.Errorf("pictures were shifted to %d of 81 places, want at least 60", len(places))
				}
			})
		}
	}
}

func TestBatchesWithoutAugmentationKeepOrder(t *testing.T) {
	s := syntheticSplit(50, 3, 8, 8, 10)
	cfg := LoaderConfig{Batch: 16}
	l := newTestLoader(t, s, cfg)
	mean, std := channelStats(s)
	sample := 0
	for _, b := range collect(t, l, 0, 0, func() {}) {
		for i := range b.N {
			want := referencePicture(s, mean, std, sample, false, 4, 4)
			if !slices.Equal(b.Images[i*len(want):(i+1)*len(want)], want) || b.Labels[i] != int32(s.Labels[sample]) {
				t.Fatalf("picture %d has label %d, want label %d and the normalised pixels of the split", sample, b.Labels[i], s.Labels[sample])
			}
			sample++
		}
	}
	if sample != s.Len() {
		t.Errorf("got %d pictures, want %d", sample, s.Len())
	}
}

func TestEpochVisitsEachPictureOnce(t *testing.T) {
	s := syntheticSplit(103, 1, 4, 4, 100)
	for i := range s.Labels {
		s.Labels[i] = uint8(i)
	}
	for _, drop := range []bool{false, true} {
		l := newTestLoader(t, s, LoaderConfig{Batch: 10, Seed: 1, Shuffle: true, DropLast: drop})
		want := 103
		if drop {
			want = 100
		}
		var orders [2][]int32
		for epoch := range orders {
			for _, b := range collect(t, l, epoch, 0, func() {}) {
				orders[epoch] = append(orders[epoch], b.Labels...)
			}
			seen := map[int32]bool{}
			for _, label := range orders[epoch] {
				seen[label] = true
			}
			if len(orders[epoch]) != want || len(seen) != want {
				t.Errorf("DropLast %v, epoch %d: %d pictures, %d of them different, want %d", drop, epoch, len(orders[epoch]), len(seen), want)
			}
		}
		if slices.Equal(orders[0], orders[1]) {
			t.Error("two epochs have the same order, want different ones")
		}
		if n := l.Batches(); n != (want+9)/10 {
			t.Errorf("DropLast %v: Batches() = %d, want %d", drop, n, (want+9)/10)
		}
	}
}

func TestBatchesDependOnSeedEpochAndSampleAlone(t *testing.T) {
	s := syntheticSplit(90, 3, 8, 8, 10)
	cfg := LoaderConfig{Batch: 8, Seed: 9, Shuffle: true, Augment: true, Flip: true}
	want := collect(t, newTestLoader(t, s, cfg), 2, 0, func() {})

	l := newTestLoader(t, s, cfg)
	checkBatches(t, collect(t, l, 2, 0, func() { time.Sleep(time.Millisecond) }), want)
	checkBatches(t, collect(t, l, 2, 0, runtime.Gosched), want) // with reused buffers
	for first := range len(want) + 1 {
		checkBatches(t, collect(t, l, 2, first, func() {}), want[first:])
	}
	// Two epochs at the same time do not affect each other.
	other := l.Start(context.Background(), 7, 0)
	defer other.Close()
	other.Next()
	checkBatches(t, collect(t, l, 2, 0, func() { other.Next() }), want)

	cfg.Seed = 10
	if got := collect(t, newTestLoader(t, s, cfg), 2, 0, func() {}); slices.Equal(got[0].Images, want[0].Images) {
		t.Error("another seed gives the same batch, want another")
	}
	cfg.Seed, cfg.Batch = 9, 30
	if got := collect(t, newTestLoader(t, s, cfg), 2, 0, func() {}); !slices.Equal(got[0].Images[:len(want[0].Images)], want[0].Images) {
		t.Error("another batch size changes the pictures' order or augmentation, want no change")
	}
}

func TestNormalisation(t *testing.T) {
	d, err := Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoader(d.Train, LoaderConfig{Batch: 128, Mean: d.Mean, Std: d.Std})
	if err != nil {
		t.Fatal(err)
	}
	var n, sum, squares float64
	for _, b := range collect(t, l, 0, 0, func() {}) {
		for _, v := range b.Images {
			n++
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
	}
	mean := sum / n
	if std := math.Sqrt(squares/n - mean*mean); math.Abs(mean) > 1e-5 || math.Abs(std-1) > 1e-5 {
		t.Errorf("after normalisation, the training split has mean %g and std %g, want 0 and 1", mean, std)
	}
}

func TestChannelStats(t *testing.T) {
	// Two pictures of one row: channel 0 holds 0, 255, 255, 0; channel 1 is constant.
	s := &Split{Images: []uint8{0, 255, 51, 51, 255, 0, 51, 51}, Labels: []uint8{0, 1}, Channels: 2, Height: 1, Width: 2}
	mean, std := channelStats(s)
	if !slices.Equal(mean, []float32{0.5, 0.2}) || !slices.Equal(std, []float32{0.5, 1}) {
		t.Errorf("got mean %v and std %v, want [0.5 0.2] and [0.5 1]", mean, std)
	}
}

// waitForGoroutines fails the test unless the number of goroutines returns to base.
func waitForGoroutines(t *testing.T, base int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= base {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Fatalf("%d goroutines, want at most %d:\n%s", runtime.NumGoroutine(), base, buf[:runtime.Stack(buf, true)])
}

func TestIteratorLeavesNoGoroutine(t *testing.T) {
	l := newTestLoader(t, syntheticSplit(100, 1, 8, 8, 10), LoaderConfig{Batch: 4, Shuffle: true})
	base := runtime.NumGoroutine()

	t.Run("closed early", func(t *testing.T) {
		it := l.Start(context.Background(), 0, 0)
		it.Next()
		it.Close()
		it.Close()
		if b, ok := it.Next(); ok {
			t.Errorf("Next after Close returns %v, want no batch", b)
		}
	})
	t.Run("closed at once", func(t *testing.T) { l.Start(context.Background(), 0, 0).Close() })
	t.Run("drained, not closed", func(t *testing.T) {
		it := l.Start(context.Background(), 0, 0)
		n := 0
		for _, ok := it.Next(); ok; _, ok = it.Next() {
			n++
		}
		if n != 25 || it.Err() != nil {
			t.Errorf("%d batches and error %v, want 25 and none", n, it.Err())
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		it := l.Start(ctx, 0, 0)
		it.Next()
		cancel()
		if _, ok := it.Next(); ok || it.Err() != context.Canceled {
			t.Errorf("after cancel, Next returns a batch = %v and Err %v, want false and %v", ok, it.Err(), context.Canceled)
		}
	})
	waitForGoroutines(t, base)
}

func TestNextAllocatesNothing(t *testing.T) {
	s := syntheticSplit(2000, 3, 8, 8, 10)
	l := newTestLoader(t, s, LoaderConfig{Batch: 4, Seed: 1, Shuffle: true, Augment: true, Flip: true})
	it := l.Start(context.Background(), 0, 0)
	defer it.Close()
	for range ringSize {
		it.Next()
	}
	if n := testing.AllocsPerRun(300, func() {
		if _, ok := it.Next(); !ok {
			t.Fatalf("the epoch ends with error %v, want a batch", it.Err())
		}
	}); n != 0 {
		t.Errorf("%v allocations for each batch, want 0", n)
	}
}

func TestBuffersAreReused(t *testing.T) {
	l := newTestLoader(t, syntheticSplit(10, 1, 8, 8, 10), LoaderConfig{Batch: 3, Shuffle: true})
	ofFirstEpoch := map[*Batch]bool{}
	for epoch := range 3 {
		it := l.Start(context.Background(), epoch, 0)
		for b, ok := it.Next(); ok; b, ok = it.Next() {
			if epoch == 0 {
				ofFirstEpoch[b] = true
			} else if !ofFirstEpoch[b] {
				t.Fatalf("epoch %d uses new memory, want that of epoch 0", epoch)
			}
		}
		it.Close()
	}
}

func TestNewLoaderRefuses(t *testing.T) {
	good := func() (*Split, LoaderConfig) {
		return syntheticSplit(10, 1, 8, 8, 10), LoaderConfig{Batch: 4, Mean: []float32{0}, Std: []float32{1}}
	}
	for _, c := range []struct {
		want   string
		change func(*Split, *LoaderConfig)
	}{
		{"batch size", func(s *Split, cfg *LoaderConfig) { cfg.Batch = 0 }},
		{"do not fill a batch", func(s *Split, cfg *LoaderConfig) { cfg.Batch, cfg.DropLast = 11, true }},
		{"no pictures", func(s *Split, cfg *LoaderConfig) { s.Images, s.Labels = nil, nil }},
		{"pixels", func(s *Split, cfg *LoaderConfig) { s.Images = s.Images[1:] }},
		{"channels", func(s *Split, cfg *LoaderConfig) { cfg.Mean = nil }},
		{"positive std", func(s *Split, cfg *LoaderConfig) { cfg.Std[0] = 0 }},
	} {
		s, cfg := good()
		if _, err := NewLoader(s, cfg); err != nil {
			t.Fatal(err)
		}
		c.change(s, &cfg)
		if _, err := NewLoader(s, cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want one about %q", err, c.want)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	l := newTestLoader(t, syntheticSplit(10, 1, 8, 8, 10), LoaderConfig{Batch: 4})
	for _, start := range [][2]int{{-1, 0}, {0, -1}, {0, 4}} {
		it := l.Start(context.Background(), start[0], start[1])
		if _, ok := it.Next(); ok || it.Err() == nil {
			t.Errorf("epoch %d, batch %d: Next returns a batch = %v and Err %v, want false and an error", start[0], start[1], ok, it.Err())
		}
		it.Close()
	}
}

func BenchmarkPreparation(b *testing.B) {
	s := syntheticSplit(512, 3, 32, 32, 10)
	mean, std := channelStats(s)
	norm := newNormaliser(s, mean, std)
	dst := make([]float32, s.imageSize())
	for _, augment := range []bool{false, true} {
		b.Run(fmt.Sprintf("augment=%v", augment), func(b *testing.B) {
			stream := rng.NewStream(1, "augment/epoch/0")
			cfg := LoaderConfig{Flip: true}
			i := 0
			for b.Loop() {
				var t transform
				if augment {
					t = cfg.drawTransform(stream, i%512)
				}
				norm.apply(dst, s.Image(i%512), t)
				i++
			}
		})
	}
}
