package kernel

// lanes is the number of channels in a block, in all families.
const lanes = 8

// Generic returns the family in plain Go. Machines without AVX2 and FMA and
// builds without assembly use it, and tests compare assembly with it. Except in convolutions, it
// accumulates sums in float64.
func Generic[T Float]() *Family[T] {
	f := &Family[T]{
		Name:  "generic",
		Lanes: lanes,

		NewForward:        newGenericForward[T],
		NewBackward:       newGenericBackward[T],
		NewWeightGradient: newGenericWeightGradient[T],

		Activate:          genericActivate[T],
		Moments:           genericMoments[T],
		MaskGradient:      genericMaskGradient[T],
		BatchNormGradient: genericBatchNormGradient[T],
		PlaneSums:         genericPlaneSums[T],
		SubsampleGradient: genericSubsampleGradient[T],
		Totals:            genericTotals[T],
		TotalSquares:      genericTotalSquares[T],

		Dot:  genericDot[T],
		Axpy: genericAxpy[T],
		SGD:  genericSGD[T],

		peak: genericPeak[T],
	}
	if f, ok := any(f).(*Family[float32]); ok {
		f.RoundBF16, f.ExpandBF16 = genericRoundBF16, genericExpandBF16
	}
	return f
}

// blocksOf returns the number of blocks that the given number of channels takes.
func blocksOf(channels int) int { return (channels + lanes - 1) / lanes }
