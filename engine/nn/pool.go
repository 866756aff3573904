package nn

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// pool runs numbered items on a fixed set of goroutines, including the caller's.
// Each worker goes through its own range of items, so it mostly takes neighbouring
// items, and then takes the remaining items of other ranges. Which worker runs which item
// depends on timing; results must not depend on it.
//
// Waking a sleeping thread takes up to 0.1 ms on a virtual machine, which is as long
// as some runs. So workers spin for a while before they go to sleep.
type pool struct {
	helpers []helper     // every worker except worker 0, which is the caller
	ranges  []itemRange  // by worker
	begun   atomic.Int64 // runs that have begun
	running atomic.Int64 // helpers that have not finished the current run
	done    sync.WaitGroup
	closed  atomic.Bool

	// The current run.
	active int // number of workers that take part
	do     func(worker, item int)
}

// helper is a goroutine of the pool.
type helper struct {
	asleep atomic.Bool
	wake   chan struct{}
}

// itemRange holds a worker's items that have not begun.
type itemRange struct {
	next atomic.Int64
	end  int64
	_    [48]byte // pads to the size of a cache line, so that no two workers share one
}

func newPool(workers int) *pool {
	p := &pool{ranges: make([]itemRange, workers), helpers: make([]helper, workers-1)}
	for i := range p.helpers {
		p.helpers[i].wake = make(chan struct{}, 1)
		go p.workerLoop(i + 1)
	}
	return p
}

// run calls do for every item from 0 to items-1 and returns when all are done. It
// allocates nothing; callers create do once and reuse it.
func (p *pool) run(items int, do func(worker, item int)) {
	p.do, p.active = do, max(min(len(p.ranges), items), 1)
	for w := range p.active {
		p.ranges[w].next.Store(int64(w * items / p.active))
		p.ranges[w].end = int64((w + 1) * items / p.active)
	}
	p.running.Store(int64(len(p.helpers)))
	p.done.Add(len(p.helpers))
	p.wakeHelpers()
	p.work(0)
	spin(func() bool { return p.running.Load() == 0 })
	p.done.Wait()
}

// chunking is a division of images into consecutive chunks whose sizes differ by at
// most one.
type chunking struct{ images, chunks int }

// divide divides images into chunks of at most limit images. Every worker gets the same
// number of chunks, unless there are too few images for that.
func (p *pool) divide(images, limit int) chunking {
	workers := len(p.ranges)
	chunksPerWorker := (images + limit*workers - 1) / (limit * workers)
	return chunking{images, min(chunksPerWorker*workers, images)}
}

// chunk returns the first image of chunk i and the number of its images.
func (c chunking) chunk(i int) (first, images int) {
	first = i * c.images / c.chunks
	return first, (i+1)*c.images/c.chunks - first
}

// wakeHelpers starts a run on every helper, and wakes helpers that are asleep.
func (p *pool) wakeHelpers() {
	p.begun.Add(1)
	for i := range p.helpers {
		if h := &p.helpers[i]; h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
}

// workerLoop takes part in every run until the pool is closed.
func (p *pool) workerLoop(worker int) {
	h := &p.helpers[worker-1]
	for seen := int64(0); ; seen++ {
		for !spin(func() bool { return p.begun.Load() != seen }) {
			h.asleep.Store(true)
			// A run that has begun in the meantime may not have seen the helper
			// asleep, so look at begun once more. If the run has seen it, its wake-up
			// is on the way and must be received. A wake-up may even arrive after the
			// helper has done its part of the run and sleeps again; the helper then
			// finds nothing new.
			if p.begun.Load() == seen || !h.asleep.CompareAndSwap(true, false) {
				<-h.wake
			}
		}
		if p.closed.Load() {
			return
		}
		if worker < p.active {
			p.work(worker)
		}
		p.running.Add(-1)
		p.done.Done()
	}
}

// spin polls cond for about 0.1 ms and reports whether it became true.
func spin(cond func() bool) bool {
	for range 500 {
		for range 100 {
			if cond() {
				return true
			}
		}
		runtime.Gosched()
	}
	return false
}

// work runs the worker's own items of the current run, and then items of other workers.
func (p *pool) work(worker int) {
	for i := range p.active {
		r := &p.ranges[(worker+i)%p.active]
		for {
			item := r.next.Add(1) - 1
			if item >= r.end {
				break
			}
			p.do(worker, int(item))
		}
	}
}

// close ends the goroutines. The pool must not be used afterwards.
func (p *pool) close() {
	p.closed.Store(true)
	p.wakeHelpers()
}
