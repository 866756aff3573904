package kernel

import (
	"slices"
	"sync"
	"time"
)

const (
	peakWindows = 7
	peakWindow  = 20 * time.Millisecond
)

// PeakGFLOPS measures the peak rate of Best's multiply-adds on the given number of
// threads, in billions of floating-point operations a second. A multiply-add counts as two
// operations. The multiply-adds wait neither for each other nor for memory outside the L1
// cache. The result is the median of 7 windows of 20 ms.
func PeakGFLOPS(threads int) float64 {
	work := Best().peak
	rates := make([]float64, peakWindows)
	for i := range rates {
		rates[i] = peakRate(threads, work)
	}
	slices.Sort(rates)
	return rates[peakWindows/2] / 1e9
}

// peakRate returns the sum of the threads' FLOP/s over one window.
func peakRate(threads int, work func() (flops float64)) float64 {
	perThread := make([]float64, threads)
	var running sync.WaitGroup
	for i := range perThread {
		running.Go(func() {
			var flops float64
			start := time.Now()
			for time.Since(start) < peakWindow {
				flops += work()
			}
			perThread[i] = flops / time.Since(start).Seconds()
		})
	}
	running.Wait()
	var rate float64
	for _, r := range perThread {
		rate += r
	}
	return rate
}

// genericPeak runs the innermost loop of the plain convolution on operands in the L1
// cache. The compiler turns it into scalar multiply-adds with eight sums.
func genericPeak[T Float]() (flops float64) {
	const positions, times = 16, 64
	var image [positions * lanes]T
	var filters [positions * lanes * 2]half[T]
	var sums [lanes]T
	for range times {
		gather(&sums, image[:], filters[:], 0, &Layout{Blocks: 1, Rows: 1, Cols: positions}, 1, positions)
	}
	return times * positions * lanes * lanes * 2
}
