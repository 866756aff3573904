package dataset

import (
	"sync"
	"sync/atomic"
)

// parallel calls work(worker, i) for i from 0 to n-1 on up to threads goroutines, which take
// the indices in ascending order. worker is the number of the goroutine, counted from 0. After
// a call has failed, no goroutine takes another index. parallel returns the error of the lowest
// index that fails, which is the same for any number of goroutines.
func parallel(n, threads int, work func(worker, i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Bool
		group  sync.WaitGroup
		mu     sync.Mutex
		lowest = n // lowest index of a call that failed
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
					if i < lowest {
						lowest, cause = i, err
					}
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	return cause
}
