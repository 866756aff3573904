package nn

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestPool counts how often each item is done, over runs that follow at once,
// and runs that find the workers asleep or falling asleep.
func TestPool(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 7} {
		p := newPool(workers)
		var done [100]atomic.Int32
		do := func(worker, item int) {
			if worker < 0 || worker >= workers {
				t.Errorf("worker %d of %d", worker, workers)
			}
			done[item].Add(1)
		}
		for run := range 2000 {
			items := run * 7 % (len(done) + 1)
			for i := range done {
				done[i].Store(0)
			}
			if run%100 == 0 {
				time.Sleep(time.Duration(run) * time.Microsecond / 4)
			}
			p.run(items, do)
			for i := range done {
				want := int32(0)
				if i < items {
					want = 1
				}
				if n := done[i].Load(); n != want {
					t.Fatalf("%d workers, run %d: item %d of %d done %d times", workers, run, i, items, n)
				}
			}
		}
		p.close()
	}
}

// TestPoolWokenLate: a begin that reaches a helper only after it has done the
// run and sleeps again, as where the caller loses its processor, begins
// nothing.
func TestPoolWokenLate(t *testing.T) {
	p := newPool(2)
	defer p.close()
	h := &p.helpers[0]
	sleeps := func() {
		for !h.asleep.Load() {
			time.Sleep(time.Millisecond)
		}
	}
	var done atomic.Int32
	for run := range int32(20) {
		sleeps()
		h.asleep.Store(false)
		h.wake <- struct{}{}
		sleeps()
		p.run(10, func(worker, item int) { done.Add(1) })
		if n := done.Load(); n != 10*(run+1) {
			t.Fatalf("%d items done in %d runs of 10", n, run+1)
		}
	}
}

// BenchmarkPool is what a run costs beside its work.
func BenchmarkPool(b *testing.B) {
	p := newPool(2)
	defer p.close()
	do := func(worker, item int) {}
	for b.Loop() {
		p.run(2, do)
	}
}
