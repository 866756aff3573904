package engine

import (
	"fmt"
	"math"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
)

// The bounds of the numbers in a file (checkpoint/FORMAT.md). They are far beyond the numbers
// of any network that works, and small enough that the squares of weights and means do not
// overflow float32.
const (
	maxEps       = 1.0    // BatchNorm's eps
	maxMean      = 1000.0 // magnitude of a mean of the normalisation
	minStd       = 1e-9   // standard deviation of the normalisation
	maxStd       = 1000.0
	maxTrained   = 1e15 // magnitude of a trained value
	maxStatistic = 1e18 // limit of a running mean; its square is the limit of a running variance
)

// checkNormalisation returns an error if a header's normalisation does not fit its network, or
// has numbers beyond the bounds.
func checkNormalisation(n *checkpoint.Normalisation, in arch.Shape) error {
	if n.Eps < 0 || n.Eps > maxEps {
		return fmt.Errorf("its bn_eps is %g; want 0 to %g, where 0 stands for the default", n.Eps, maxEps)
	}
	if n.Mean == nil && n.Std == nil {
		return nil
	}
	if len(n.Mean) != in.C && len(n.Mean) != in.C*in.H*in.W || len(n.Std) != in.C {
		return fmt.Errorf("it normalises with %d means and %d standard deviations, but its pictures are %v", len(n.Mean), len(n.Std), in)
	}
	for i, v := range n.Mean {
		if !(math.Abs(float64(v)) <= maxMean) {
			return fmt.Errorf("it normalises with a mean of %g at index %d; want at most %g in magnitude", v, i, maxMean)
		}
	}
	for i, v := range n.Std {
		if !(v >= minStd && v <= maxStd) {
			return fmt.Errorf("it normalises with a standard deviation of %g at index %d; want %g to %g", v, i, minStd, maxStd)
		}
	}
	return nil
}
