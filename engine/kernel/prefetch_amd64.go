//go:build amd64 && !noasm

package kernel

const cacheLine = 16 // elements in a cache line

// prefetcher hands out the memory that a convolution fetches for its caller
// while it computes: evenly, since in bursts the computation would wait for it.
type prefetcher struct {
	ranges [][]float32
	done   int // elements of the first range
	pace   int // elements to fetch in each step
}

// newPrefetcher divides ranges among so many steps of a kernel, of which each
// fetches so many elements at most.
func newPrefetcher(ranges [][]float32, steps, most int) prefetcher {
	all := 0
	for _, r := range ranges {
		all += len(r)
	}
	return prefetcher{ranges: ranges, pace: min(ceilDiv(all, max(steps, 1)), most)}
}

// take returns how many of items, which have so many steps each, to compute while
// fetching from where; from is nil where nothing is left.
func (p *prefetcher) take(items, steps int) (n int, from *float32) {
	for len(p.ranges) > 0 && p.done >= len(p.ranges[0]) {
		p.ranges, p.done = p.ranges[1:], 0
	}
	if len(p.ranges) == 0 || steps == 0 {
		return items, nil
	}
	left := p.ranges[0][p.done:]
	n = min(items, ceilDiv(len(left), steps*p.pace))
	p.done += n * steps * p.pace
	return n, &left[0]
}
