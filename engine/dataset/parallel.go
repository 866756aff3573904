package dataset

import (
	"sync"
	"sync/atomic"
)

// parallel calls work(worker, i) for i from 0 to n-1, in about that order, on up to threads
// goroutines, which worker numbers from 0, until a call fails. It returns the error of the lowest i that
// fails, which is the same for any number of goroutines.
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
			// A goroutine always works on the index that it has taken, so that no
			// index below a failing one is skipped.
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
