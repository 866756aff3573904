//go:build amd64 && !noasm

package kernel

import "math"

// The functions here slice each buffer to the part that assembly reads or writes, so
// that they panic if a buffer is too short. Most assembly takes one plane of an image
// at a time.

// avx2Ones and avx2Zeros are the scale and shift of a residual without coefficients.
var avx2Ones, avx2Zeros = [lanes]float32{1, 1, 1, 1, 1, 1, 1, 1}, [lanes]float32{}

// avx2Plane returns the address of a block's plane, or nil if x is nil.
func avx2Plane(x []float32, block, area int) *float32 {
	if x == nil {
		return nil
	}
	return &x[block*area*lanes:][:area*lanes][0]
}

// avx2Channels returns the address of a block's coefficients, or fallback's address if x is
// nil. It panics if both are nil.
func avx2Channels(x []float32, block int, fallback *[lanes]float32) *float32 {
	if x == nil {
		return &fallback[0]
	}
	return &x[block*lanes:][:lanes][0]
}

// avx2Mask returns the address of a block's mask, or nil if mask is nil.
func avx2Mask(mask []uint8, block, area int) *uint8 {
	if mask == nil {
		return nil
	}
	return &mask[block*area:][:area][0]
}

func avx2Activate(a *Activation[float32]) {
	l, area := &a.Layout, a.H*a.W
	rows, cols, gap := 1, area, 0
	if a.Padded != nil {
		rows, cols, gap = a.H, a.W, (l.Cols-a.W)*lanes
	}
	for block := range a.Blocks {
		var padded *float32
		if a.Padded != nil {
			first := l.interior(block, 0, 0)
			padded = &a.Padded[first:l.interior(block, a.H-1, a.W)][0]
		}
		avx2ActivatePlane(padded, avx2Plane(a.Plain, block, area), avx2Mask(a.Mask, block, area),
			avx2Plane(a.Y, block, area), avx2Plane(a.R, block, area),
			avx2Channels(a.Scale, block, nil), avx2Channels(a.Shift, block, nil),
			avx2Channels(a.RScale, block, &avx2Ones), avx2Channels(a.RShift, block, &avx2Zeros),
			a.Floor, uintptr(rows), uintptr(cols), uintptr(gap*4))
	}
}

// avx2NoFloor is the floor of an activation without a ReLU.
var avx2NoFloor = float32(math.Inf(-1))

// avx2BatchNormGradient computes the input gradient as an activation of G with the
// residual Y.
func avx2BatchNormGradient(g *InputGradient[float32]) {
	avx2Activate(&Activation[float32]{
		Blocks: g.Blocks, H: g.H, W: g.W,
		Y: g.G, Scale: g.CG, Shift: g.C1,
		R: g.Y, RScale: g.CY,
		Floor:  avx2NoFloor,
		Padded: g.Padded, Layout: g.Layout, Plain: g.Plain,
	})
}

func avx2MaskGradient(m *Masking[float32]) {
	area := m.H * m.W
	for block := range m.Blocks {
		var rMean, sumGR *float32
		if m.R != nil {
			rMean, sumGR = avx2Channels(m.RMean, block, nil), avx2Channels(m.SumGR, block, nil)
		}
		var scale, shift *float32
		if m.Mask == nil {
			scale, shift = avx2Channels(m.Scale, block, nil), avx2Channels(m.Shift, block, nil)
		}
		avx2MaskPlane(avx2Plane(m.G, block, area), avx2Plane(m.Add, block, area), avx2Mask(m.Mask, block, area),
			avx2Plane(m.Y, block, area), avx2Plane(m.R, block, area),
			scale, shift, avx2Channels(m.Mean, block, nil), rMean, m.Floor, uintptr(area),
			avx2Channels(m.SumG, block, nil), avx2Channels(m.SumGY, block, nil), sumGR)
	}
}

func avx2Moments(sum, m2, y []float32, blocks, area int) {
	channels := blocks * lanes
	avx2MomentsPlanes(&sum[:channels][0], &m2[:channels][0], &y[:channels*area][0], uintptr(blocks), uintptr(area))
}

func avx2PlaneSums(sum, y []float32, blocks, area int) {
	for block := range blocks {
		avx2SumPlane(avx2Channels(sum, block, nil), avx2Plane(y, block, area), uintptr(area))
	}
}

func avx2SubsampleGradient(dx, dy []float32, blocks, h, w int) {
	rows, cols := ceilDiv(h, 2), ceilDiv(w, 2)
	for block := range blocks {
		avx2SubsampleGradientPlane(avx2Plane(dx, block, h*w), avx2Plane(dy, block, rows*cols),
			uintptr(rows), uintptr(cols), uintptr((2*w-2*cols)*lanes*4))
	}
}

func avx2CheckedTotals(total []float64, rows []float32, n int) {
	avx2Totals(total, rows[:n*len(total)], uintptr(n))
}

func avx2CheckedTotalSquares(total, mean []float64, sums, squares []float32, n, area int) {
	length := n * len(total)
	avx2TotalSquares(total, mean[:len(total)], sums[:length], squares[:length], uintptr(n), 1/float64(area), float64(area))
}

// The assembly for vectors takes the length of its first vector.

func avx2CheckedDot(a, b []float32) float32 { return avx2Dot(a, b[:len(a)]) }

func avx2CheckedAxpy(y []float32, s float32, x []float32) { avx2Axpy(y, s, x[:len(y)]) }

func avx2CheckedSGD(w, v, g []float32, rate, momentum, decay float32) {
	avx2SGD(w, v[:len(w)], g[:len(w)], rate, momentum, decay)
}

func avx2CheckedRoundBF16(dst []uint16, x []float32) { avx2RoundBF16(dst[:len(x)], x) }

func avx2CheckedExpandBF16(dst []float32, x []uint16) { avx2ExpandBF16(dst[:len(x)], x) }

func avx2Peak() (flops float64) {
	const iterations = 10_000
	fmaLoop(iterations)
	return iterations * 12 * lanes * 2
}

func avx512Peak() (flops float64) {
	const iterations = 10_000
	fmaLoopAVX512(iterations)
	return iterations * 12 * 2 * lanes * 2
}
