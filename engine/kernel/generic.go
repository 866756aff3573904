package kernel

// lanes is the channels in a block, of both families.
const lanes = 8

// Generic is the family in plain Go: what machines without AVX2 compute with,
// and the reference that assembly is tested against. Its sums over positions
// are taken in float64.
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

// blocksOf is the channel blocks that so many channels fill.
func blocksOf(channels int) int { return (channels + lanes - 1) / lanes }
