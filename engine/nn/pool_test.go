package nn

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestPool checks that each item is done exactly once. Some runs follow each other immediately;
// others find the workers asleep or falling asleep. Several pools run at once, with 24 workers
// in all, so that a machine with fewer processors preempts them at any point.
func TestPool(t *testing.T) {
	var pools sync.WaitGroup
	for _, workers := range []int{1, 2, 3, 7, 2, 2, 3, 4} {
		pools.Go(func() { testPool(t, workers) })
	}
	pools.Wait()
}

func testPool(t *testing.T, workers int) {
	p := newPool(workers)
	defer p.close()
	var done [100]atomic.Int32
	do := func(worker, item int) {
		if worker < 0 || worker >= workers {
			t.Errorf("do was called with worker %d, want 0 to %d", worker, workers-1)
		}
		done[item].Add(1)
	}
	for run := range 1000 {
		items := run * 7 % (len(done) + 1)
		for i := range done {
			done[i].Store(0)
		}
		if run%50 == 0 {
			time.Sleep(time.Duration(run) * time.Microsecond / 4)
		}
		p.run(items, do)
		for i := range done {
			want := int32(0)
			if i < items {
				want = 1
			}
			if n := done[i].Load(); n != want {
				t.Errorf("%d workers, run %d: item %d of %d was done %d times, want %d", workers, run, i, items, n, want)
				return
			}
		}
	}
}

// TestPoolWokenWithoutRun checks that a helper that is woken without a run goes back to
// sleep, and wakes for the next run.
func TestPoolWokenWithoutRun(t *testing.T) {
	p := newPool(2)
	defer p.close()
	var done atomic.Int32
	do := func(worker, item int) { done.Add(1) }
	for run := range int32(5) {
		h := &p.helpers[0]
		for !h.asleep.CompareAndSwap(true, false) {
			time.Sleep(time.Millisecond)
		}
		h.wake <- struct{}{}
		time.Sleep(5 * time.Millisecond)
		if n := p.running.Load(); n != 0 {
			t.Fatalf("between runs, the number of running helpers is %d, want 0", n)
		}
		if p.run(10, do); done.Load() != 10*(run+1) {
			t.Fatalf("run %d: %d items are done in all, want %d", run, done.Load(), 10*(run+1))
		}
	}
}

// BenchmarkPool measures the overhead of a run.
func BenchmarkPool(b *testing.B) {
	p := newPool(2)
	defer p.close()
	do := func(worker, item int) {}
	for b.Loop() {
		p.run(2, do)
	}
}

// TestDivide checks that the chunks contain every image once, in ascending order, that none is
// empty or too large, and that the first worker gets its share of the images if all shares can
// be equal.
func TestDivide(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 16} {
		p := newPool(workers)
		defer p.close()
		for images := 1; images < 200; images++ {
			for limit := 1; limit < 20; limit++ {
				c := p.divide(images, limit)
				next := 0
				for i := range c.chunks {
					first, n := c.chunk(i)
					if first != next || n < 1 || n > limit {
						t.Fatalf("%d workers, %d images: chunk %d has %d images from image %d, want 1 to %d from image %d", workers, images, i, n, first, limit, next)
					}
					next += n
				}
				if next != images {
					t.Fatalf("%d workers, chunks of at most %d: the chunks contain %d images, want %d", workers, limit, next, images)
				}
				if images%workers != 0 {
					continue
				}
				if share, _ := c.chunk(c.chunks / workers); c.chunks%workers != 0 || share != images/workers {
					t.Fatalf("%d workers, %d images, chunks of at most %d: %d chunks, and the first worker has %d images; want a multiple of %d chunks and %d images", workers, images, limit, c.chunks, share, workers, images/workers)
				}
			}
		}
	}
}
