package nn

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// pool runs numbered items on a fixed set of goroutines, the caller's among
// them. Each worker goes through a range of its own, so that an item is mostly
// followed by the next, and helps with the others' when it is done. Which
// worker gets which item is left to chance; results must not depend on it.
//
// To wake a sleeping thread takes up to 0.1 ms on a virtual machine, as long as
// some runs take, so that workers look out for the next run for a while before
// they go to sleep.
type pool struct {
	helpers []helper    // each worker but the first, which is the caller
	ranges  []itemRange // by worker
	begun   atomic.Int64
	running atomic.Int64 // helpers that have not finished the run under way
	done    sync.WaitGroup
	closed  atomic.Bool

	// of the run under way
	active int // workers
	do     func(worker, item int)
}

// helper is a goroutine of the pool.
type helper struct {
	asleep atomic.Bool
	wake   chan struct{}
}

// itemRange is a worker's items that nobody has begun.
type itemRange struct {
	next atomic.Int64
	end  int64
	_    [48]byte // a cache line each: workers do not slow each other
}

func newPool(workers int) *pool {
	p := &pool{ranges: make([]itemRange, workers), helpers: make([]helper, workers-1)}
	for i := range p.helpers {
		p.helpers[i].wake = make(chan struct{}, 1)
		go p.help(i + 1)
	}
	return p
}

// run calls do for every item from 0 to items-1 and returns when all are
// done. It allocates nothing as long as do is not made anew for each call.
func (p *pool) run(items int, do func(worker, item int)) {
	p.do, p.active = do, max(min(len(p.ranges), items), 1)
	for w := range p.active {
		p.ranges[w].next.Store(int64(w * items / p.active))
		p.ranges[w].end = int64((w + 1) * items / p.active)
	}
	p.running.Store(int64(len(p.helpers)))
	p.done.Add(len(p.helpers))
	p.begin()
	p.work(0)
	lookOut(func() bool { return p.running.Load() == 0 })
	p.done.Wait()
}

// chunking divides images into chunks that follow each other, of sizes that
// differ by one at most.
type chunking struct{ images, chunks int }

// divide makes chunks of at most most images, as many for each worker.
func (p *pool) divide(images, most int) chunking {
	workers := len(p.ranges)
	each := (images + most*workers - 1) / (most * workers)
	return chunking{images, min(each*workers, images)}
}

// chunk is where a chunk's images begin, and how many they are.
func (c chunking) chunk(i int) (first, images int) {
	first = i * c.images / c.chunks
	return first, (i+1)*c.images/c.chunks - first
}

// begin has every helper see that there is something to do.
func (p *pool) begin() {
	p.begun.Add(1)
	for i := range p.helpers {
		if h := &p.helpers[i]; h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
}

// help is a helper's life.
func (p *pool) help(worker int) {
	h := &p.helpers[worker-1]
	for seen := int64(0); ; seen++ {
		for !lookOut(func() bool { return p.begun.Load() != seen }) {
			h.asleep.Store(true)
			// A run that began in between may not have seen it asleep. If it
			// has, it wakes the helper, perhaps only when the helper has done
			// its part and sleeps again: then there is nothing new.
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

// lookOut waits for about 0.1 ms for what is to come and says whether it has.
func lookOut(come func() bool) bool {
	for range 500 {
		for range 100 {
			if come() {
				return true
			}
		}
		runtime.Gosched()
	}
	return false
}

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

// close ends the goroutines; the pool must not run again.
func (p *pool) close() {
	p.closed.Store(true)
	p.begin()
}
