package nn

import (
	"sync"
	"sync/atomic"
)

// pool runs numbered items on a fixed set of goroutines, the caller's among
// them. Which worker gets which item is left to chance; results must not
// depend on it.
type pool struct {
	workers int
	wake    []chan struct{} // one for each worker but the first, which is the caller
	next    atomic.Int64
	done    sync.WaitGroup

	items int
	do    func(worker, item int)
}

func newPool(workers int) *pool {
	p := &pool{workers: workers}
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
	p.items, p.do = items, do
	p.next.Store(0)
	helpers := min(len(p.wake), items-1)
	if helpers > 0 {
		p.done.Add(helpers)
		for _, wake := range p.wake[:helpers] {
			wake <- struct{}{}
		}
	}
	p.work(0)
	p.done.Wait()
}

func (p *pool) work(worker int) {
	for {
		item := int(p.next.Add(1)) - 1
		if item >= p.items {
			return
		}
		p.do(worker, item)
	}
}

// close ends the goroutines; the pool must not run again.
func (p *pool) close() {
	for _, wake := range p.wake {
		close(wake)
	}
	p.wake = nil
}
