//go:build amd64 && !noasm

package kernel

const cacheLine = 16 // elements in a cache line

// prefetcher divides the memory that a convolution prefetches for its caller among the steps
// of the computation. It spreads the prefetches evenly, because the computation would have to
// wait for a burst of them.
type prefetcher struct {
	ranges [][]float32
	done   int // elements of the first range that take has returned
	pace   int // elements to prefetch in each step
}

// newPrefetcher divides ranges among the steps of a kernel. A step prefetches at most limit
// elements.
func newPrefetcher(ranges [][]float32, steps, limit int) prefetcher {
	elements := 0
	for _, r := range ranges {
		elements += len(r)
	}
	return prefetcher{ranges: ranges, pace: min(ceilDiv(elements, max(steps, 1)), limit)}
}

// take returns the number of items, out of those remaining, that a kernel computes next, and the
// first address that it prefetches meanwhile. Each item takes the given number of steps. The
// address is nil if nothing is left to prefetch.
func (p *prefetcher) take(items, steps int) (n int, address *float32) {
	for len(p.ranges) > 0 && p.done >= len(p.ranges[0]) {
		p.ranges, p.done = p.ranges[1:], 0
	}
	if len(p.ranges) == 0 || steps == 0 {
		return items, nil
	}
	rest := p.ranges[0][p.done:]
	n = min(items, ceilDiv(len(rest), steps*p.pace))
	p.done += n * steps * p.pace
	return n, &rest[0]
}
