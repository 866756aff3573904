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

// PeakGFLOPS measures how many billion floating-point operations a second so
// many threads do in Best's multiply-adds at most, where none waits for another
// or for memory: the median of 7 windows of 20 ms. A multiply-add counts as
// two.
func PeakGFLOPS(threads int) float64 {
	work := Best().peak
	rates := make([]float64, peakWindows)
	for i := range rates {
		rates[i] = peakRate(threads, work)
	}
	slices.Sort(rates)
	return rates[peakWindows/2] / 1e9
}

// peakRate is the sum of the threads' FLOP/s over one window.
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

func genericPeak[T Float]() (flops float64) {
	const iterations = 10_000
	genericFMALoop[T](iterations)
	return iterations * 8 * 2
}

// genericFMALoop does eight independent multiply-adds in each iteration, which
// go through multiplier and adder one at a time. What it returns keeps the
// compiler from leaving them out.
//
//go:noinline
func genericFMALoop[T Float](iterations int) T {
	var s0, s1, s2, s3, s4, s5, s6, s7 T
	x := T(iterations)
	for range iterations {
		s0 += s0 * x
		s1 += s1 * x
		s2 += s2 * x
		s3 += s3 * x
		s4 += s4 * x
		s5 += s5 * x
		s6 += s6 * x
		s7 += s7 * x
	}
	return s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7
}
