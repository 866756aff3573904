package nn

import (
	"sync"
	"sync/atomic"
)

// pool runs numbered items on a fixed set of goroutines, the caller's among
// them. Each worker goes through a range of its own, so that an item is mostly
// followed by the next, and helps with the others' when it is done. Which
// worker gets which item is left to chance; results must not depend on it.
type pool struct {
	wake   []chan struct{} // one for each worker but the first, which is the caller
	ranges []itemRange     // by worker
	done   sync.WaitGroup

	active int // workers of the run under way
	do     func(worker, item int)
}

// itemRange is a worker's items that nobody has begun.
type itemRange struct {
	next atomic.Int64
	end  int64
	_    [48]byte // a cache line each: workers do not slow each other
}

func newPool(workers int) *pool {
	p := &pool{ranges: make([]itemRange, workers)}
	for w := 1; w < workers; w++ {
		wake := make(chan struct{}, 1)
		p.wake = append(p.wake, wake)
		go func() {
			for range wake {
				p.work(w)
				p.done.Done()
			}
		}()
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
	p.done.Add(p.active - 1)
	for _, wake := range p.wake[:p.active-1] {
		wake <- struct{}{}
	}
	p.work(0)
	p.done.Wait()
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
	for _, wake := range p.wake {
		close(wake)
	}
	p.wake = nil
}
