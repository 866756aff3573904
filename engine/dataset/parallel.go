package dataset

import (
	"sync"
	"sync/atomic"
)

// parallel calls work for 0 to n-1 in about that order, on up to threads goroutines,
// each known by its number, until a call fails. It returns the failure with the lowest
// number, which is the same for any number of goroutines.
func parallel(n, threads int, work func(worker, i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Bool
		group  sync.WaitGroup
		mu     sync.Mutex
		first  = n
		cause  error
	)
	for worker := range min(threads, n) {
		group.Go(func() {
			// Whoever is given a number does it, so that none below a failure is left out.
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := work(worker, i); err != nil {
					failed.Store(true)
					mu.Lock()
					if i < first {
						first, cause = i, err
					}
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	return cause
}
