package engine

import "math"

// z95 is the 97.5% quantile of the standard normal distribution.
const z95 = 1.959963984540054

// Wilson returns the 95% confidence interval, within 0 to 1, of the probability of success if
// correct of n independent trials succeeded. It is Wilson's score interval without a
// correction for continuity (Wilson 1927; method 3 of Newcombe 1998). For an accuracy, it
// shows how far the accuracy over all pictures of the same kind may be from that of n pictures.
// If n is 0, the interval is 0 to 1.
func Wilson(correct, n int) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	trials, share := float64(n), float64(correct)/float64(n)
	z2 := z95 * z95 / trials
	centre := share + z2/2
	half := math.Sqrt(z2 * (share*(1-share) + z2/4))
	low, high = (centre-half)/(1+z2), (centre+half)/(1+z2)
	// The bound is exactly 0 or 1 in these cases, but rounding errors could change it.
	if correct == 0 {
		low = 0
	}
	if correct == n {
		high = 1
	}
	return low, high
}
