//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
)

// TestWinograd checks all small sizes, many numbers of channels and the sizes of ResNets.
func TestWinograd(t *testing.T) {
	eachWidth(t, func(t *testing.T, c convolutions) { testWinograd(t, c) })
}

func testWinograd(t *testing.T, c convolutions) {
	shape := func(in, out, h, w int) ConvShape {
		return ConvShape{In: in, Out: out, H: h, W: w, Kernel: 3, Stride: 1, Pad: 1}
	}
	test := func(name string, shapes []ConvShape, tolerance float64) {
		testConv(t, name, c.winogradForward, c.winogradBackward, shapes, tolerance)
		testWeightGradient(t, name+" weight gradient", c.winogradGradient, shapes, tolerance)
	}

	var sizes, channels []ConvShape
	for h := 1; h <= 13; h++ {
		for w := 1; w <= 13; w++ {
			inOut := [][2]int{{3, 17}, {16, 8}, {9, 40}}[(h+w)%3]
			sizes = append(sizes, shape(inOut[0], inOut[1], h, w))
		}
	}
	test("sizes", sizes, 2e-6)

	counts := []int{1, 3, 8, 16, 17, 24, 32, 40, 56, 64}
	for _, in := range counts {
		for _, out := range counts {
			channels = append(channels, shape(in, out, 6, 9))
		}
	}
	test("channels", channels, 2e-6)

	// Above winogradChannels, products are summed in several parts. Above
	// winogradManyFilters, blocks are larger.
	test("many channels", []ConvShape{
		shape(128, 8, 5, 4), shape(129, 5, 7, 5), shape(5, 129, 4, 9), shape(256, 40, 7, 7),
		shape(1024, 16, 3, 6), shape(16, 1024, 6, 3), shape(400, 336, 9, 9),
	}, 2e-6)

	// At the sizes of ResNets, the error is smaller. SIMD.md has errors of up to 7.9e-7 at
	// such sizes, without those of gradients of the weights.
	test("networks", []ConvShape{
		shape(3, 16, 32, 32), shape(16, 16, 32, 32), shape(32, 32, 16, 16), shape(64, 64, 8, 8),
		shape(1, 16, 28, 28), shape(16, 16, 28, 28), shape(32, 32, 14, 14), shape(64, 64, 7, 7),
		shape(8, 24, 33, 33), shape(64, 64, 16, 16),
	}, 1.2e-6)
	t.Run("images", func(t *testing.T) { testWinogradImages(t, c) })
}

// TestWinogradFilterPointsRoundsEachOperation compares the bits with operations that are
// rounded one by one. The compiler may fuse operations that are not explicitly rounded, with
// GOAMD64=v3 for example, which gives other bits.
func TestWinogradFilterPointsRoundsEachOperation(t *testing.T) {
	number := func(x float64) *big.Float { return big.NewFloat(x).SetPrec(53) }
	add := func(x, y float64) float64 { z, _ := number(0).Add(number(x), number(y)).Float64(); return z }
	multiply := func(x, y float64) float64 { z, _ := number(0).Mul(number(x), number(y)).Float64(); return z }
	const a2, b2 = 25.0 / 64, 9.0 / 4
	const scaleA, scaleB = 1 / (2 * a2 * (a2 - b2)), 1 / (2 * b2 * (b2 - a2))
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		g0, g1, g2 := r.NormFloat64(), r.NormFloat64(), r.NormFloat64()
		evenA, oddA := multiply(add(g0, multiply(a2, g2)), scaleA), multiply(g1, 5.0/8*scaleA)
		evenB, oddB := multiply(add(g0, multiply(b2, g2)), scaleB), multiply(g1, 3.0/2*scaleB)
		want := []float64{multiply(g0, 1/(a2*b2)), add(evenA, oddA), add(evenA, -oddA), add(evenB, oddB), add(evenB, -oddB), g2}
		zero, plusA, minusA, plusB, minusB, infinity := winogradFilterPoints(g0, g1, g2)
		checkSame(t, fmt.Sprintf("filter %v, %v, %v", g0, g1, g2), []float64{zero, plusA, minusA, plusB, minusB, infinity}, want)
	}
}

// testWinogradImages checks that the bits of an image's result do not depend on its
// place in a block of tiles. A block may hold many images or a part of one.
func testWinogradImages(t *testing.T, c convolutions) {
	const images = 21
	for _, s := range []ConvShape{
		{In: 16, Out: 16, H: 32, W: 32}, {In: 16, Out: 24, H: 11, W: 6}, {In: 64, Out: 64, H: 8, W: 8},
		{In: 200, Out: 9, H: 7, W: 7}, {In: 8, Out: 8, H: 4, W: 4},
	} {
		s.Kernel, s.Stride, s.Pad = 3, 1, 1
		conv := c.winogradForward(s)
		r := rand.New(rand.NewPCG(uint64(s.In), uint64(s.H)))
		conv.SetFilters(convert[float32](normal(r, s.Out*s.In*9)))
		srcLen, dstLen := conv.Source().Len(lanes), blocksOf(s.Out)*s.H*s.W*lanes
		src := blocked[float32](normal(r, images*s.In*s.H*s.W), images, s.In, conv.Source())
		dst := make([]float32, images*dstLen)
		conv.Run(dst, src, images, make([]float32, conv.Workspace(images)))
		for _, step := range []int{1, 2, 5, 13} {
			for n := 0; n < images; n += step {
				count := min(step, images-n)
				part := newBuffer[float32](count*dstLen, n%5)
				work := newBuffer[float32](conv.Workspace(count), n%7)
				conv.Run(part.x, src[n*srcLen:(n+count)*srcLen], count, work.x)
				name := fmt.Sprintf("%+v, images %d to %d alone", s, n, n+count-1)
				work.checkGuards(t, name+": work")
				part.checkEqual(t, name, dst[n*dstLen:][:count*dstLen])
			}
		}
	}
}
