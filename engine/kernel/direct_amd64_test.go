//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"math"
	"testing"
)

// testDirect checks both directions and the filter gradient for shapes of each geometry.
func testDirect(t *testing.T, geometries [][3]int, shapes func(kernel, stride, pad int) []ConvShape) {
	const tolerance = 2e-6
	for _, k := range geometries {
		name := fmt.Sprintf("%dx%d stride %d pad %d", k[0], k[0], k[1], k[2])
		shapes := shapes(k[0], k[1], k[2])
		eachWidth(t, func(t *testing.T, c convolutions) {
			testConv(t, name+" "+c.name, c.directForward, c.directBackward, shapes, tolerance)
			testWeightGradient(t, name+" weight gradient "+c.name, c.directGradient, shapes, tolerance)
		})
	}
}

func TestDirectShapes(t *testing.T) {
	testDirect(t, geometries, convShapes)
}

// TestDirectSizes checks all small sizes, with panels of 16 and of 8 outputs.
func TestDirectSizes(t *testing.T) {
	testDirect(t, geometries[:4], func(kernel, stride, pad int) (shapes []ConvShape) {
		for h := 1; h <= 13; h++ {
			for w := 1; w <= 13; w++ {
				shapes = append(shapes,
					ConvShape{In: 3, Out: 17, H: h, W: w, Kernel: kernel, Stride: stride, Pad: pad},
					ConvShape{In: 9, Out: 8, H: h, W: w, Kernel: kernel, Stride: stride, Pad: pad})
			}
		}
		return shapes
	})
}

// TestDirectChannels checks many numbers of channels, including numbers so large that products
// are summed in several parts.
func TestDirectChannels(t *testing.T) {
	testDirect(t, geometries[:4], func(kernel, stride, pad int) (shapes []ConvShape) {
		add := func(in, out int) {
			shapes = append(shapes, ConvShape{In: in, Out: out, H: 4, W: 5, Kernel: kernel, Stride: stride, Pad: pad})
		}
		channels := []int{1, 3, 8, 16, 17, 24, 32, 40}
		for _, in := range channels {
			for _, out := range channels {
				add(in, out)
			}
		}
		for _, many := range []int{64, 72, 300, 1024} {
			add(many, 16)
			add(16, many)
		}
		return shapes
	})
}

// TestDirectNetworks checks the sizes of networks for images of 28×28 and 32×32, and an odd
// size.
func TestDirectNetworks(t *testing.T) {
	testDirect(t, geometries[:4], func(kernel, stride, pad int) (shapes []ConvShape) {
		for _, s := range [][3]int{{1, 16, 28}, {16, 32, 28}, {16, 32, 32}, {32, 64, 14}, {32, 64, 16}, {8, 24, 33}} {
			shapes = append(shapes, ConvShape{In: s[0], Out: s[1], H: s[2], W: s[2], Kernel: kernel, Stride: stride, Pad: pad})
		}
		return shapes
	})
}

// TestDirectWeightGradientOfImages checks that the bits of the accumulator do not depend
// on how its images are split into calls.
func TestDirectWeightGradientOfImages(t *testing.T) {
	const images = 5
	eachWidth(t, func(t *testing.T, width convolutions) {
		for _, s := range []ConvShape{
			{In: 16, Out: 24, H: 13, W: 14, Kernel: 3, Stride: 1, Pad: 1},
			{In: 3, Out: 16, H: 9, W: 8, Kernel: 3, Stride: 2, Pad: 1},
			{In: 24, Out: 9, H: 7, W: 7, Kernel: 1, Stride: 2},
		} {
			c, g := newConvCase(s, images), width.directGradient(s)
			x := blocked[float32](c.x, images, s.In, g.Source())
			dy := blocked[float32](c.dy, images, s.Out, unpadded(s.Out, s.OutH(), s.OutW()))
			all, split := make([]float32, g.Len()), make([]float32, g.Len())
			g.Accumulate(all, x, dy, images, nil)
			for _, part := range [][2]int{{0, 2}, {2, 3}, {3, 5}} {
				g.Accumulate(split, x[part[0]*len(x)/images:], dy[part[0]*len(dy)/images:], part[1]-part[0], nil)
			}
			checkSame(t, fmt.Sprintf("%s %+v: accumulator after several calls", width.name, s), split, all)
		}
	})
}

// TestDirectPartialBlock checks that the unused channels of the last block are not read, so
// that they take no time in a first layer.
func TestDirectPartialBlock(t *testing.T) {
	eachWidth(t, func(t *testing.T, width convolutions) {
		for _, in := range []int{1, 3, 11} {
			s := ConvShape{In: in, Out: 16, H: 8, W: 7, Kernel: 3, Stride: 1, Pad: 1}
			c := newConvCase(s, 1)
			conv := width.directForward(s)
			conv.SetFilters(convert[float32](c.w))
			run := func(x []float32) []float32 {
				y := make([]float32, s.OutH()*s.OutW()*s.Out)
				conv.Run(y, x, 1, nil)
				return y
			}
			x := blocked[float32](c.x, 1, s.In, conv.Source())
			want := run(x)
			lastBlock := (blocksOf(in) - 1) * len(x) / blocksOf(in)
			for i := range x {
				if i >= lastBlock && i%lanes >= in%lanes {
					x[i] = float32(math.NaN())
				}
			}
			checkSame(t, fmt.Sprintf("%s, %d input channels, with NaN in unused ones", width.name, in), run(x), want)
		}
	})
}

func TestDirectAllocatesNothing(t *testing.T) {
	eachWidth(t, func(t *testing.T, width convolutions) {
		for _, k := range geometries[:4] {
			const images = 3
			s := ConvShape{In: 20, Out: 40, H: 9, W: 9, Kernel: k[0], Stride: k[1], Pad: k[2]}
			forward, backward, gradient := width.directForward(s), width.directBackward(s), width.directGradient(s)
			x := make([]float32, images*forward.Source().Len(lanes))
			paddedDY := make([]float32, images*backward.Source().Len(lanes))
			y := make([]float32, images*unpadded(s.Out, s.OutH(), s.OutW()).Len(lanes))
			dx := make([]float32, images*unpadded(s.In, s.H, s.W).Len(lanes))
			acc := make([]float32, gradient.Len())
			if n := testing.AllocsPerRun(5, func() {
				forward.Run(y, x, images, nil)
				backward.Run(dx, paddedDY, images, nil)
				gradient.Accumulate(acc, x, y, images, nil)
			}); n != 0 {
				t.Errorf("%s %+v: %v allocations, want 0", width.name, s, n)
			}
		}
	})
}

// TestWidthsAgree checks that AVX2 gives the same bits twice and AVX-512 gives those of AVX2.
// It covers both directions and the filter gradient, with channels that fill pairs of blocks
// and panels and with channels that do not.
func TestWidthsAgree(t *testing.T) {
	for _, name := range []string{"avx2", "avx512"} {
		t.Run(name, func(t *testing.T) { compareWidths(t, family(t, "avx2"), family(t, name)) })
	}
}

// compareWidths checks that two families give the same bits.
func compareWidths(t *testing.T, narrow, wide *Family[float32]) {
	const images = 3
	for _, k := range geometries[:4] {
		for _, channels := range [][2]int{{1, 8}, {8, 16}, {16, 16}, {16, 24}, {24, 40}, {40, 9}, {136, 64}} {
			s := ConvShape{In: channels[0], Out: channels[1], H: 9, W: 14, Kernel: k[0], Stride: k[1], Pad: k[2]}
			c := newConvCase(s, images)
			for _, direction := range []struct {
				name         string
				narrow, wide Conv[float32]
				channels     int
				x            []float64
				dst          Layout
			}{
				{"forward", narrow.NewForward(s), wide.NewForward(s), s.In, c.x, unpadded(s.Out, s.OutH(), s.OutW())},
				{"backward", narrow.NewBackward(s), wide.NewBackward(s), s.Out, c.dy, unpadded(s.In, s.H, s.W)},
			} {
				run := func(conv Conv[float32]) []float32 {
					conv.SetFilters(convert[float32](c.w))
					dst := make([]float32, images*direction.dst.Len(lanes))
					conv.Run(dst, blocked[float32](direction.x, images, direction.channels, conv.Source()), images, make([]float32, conv.Workspace(images)))
					return dst
				}
				checkSame(t, fmt.Sprintf("%s %+v", direction.name, s), run(direction.wide), run(direction.narrow))
			}
			gradient := func(g WeightGradient[float32]) []float32 {
				acc, dw := make([]float32, g.Len()), make([]float32, len(c.w))
				g.Accumulate(acc, blocked[float32](c.x, images, s.In, g.Source()),
					blocked[float32](c.dy, images, s.Out, unpadded(s.Out, s.OutH(), s.OutW())), images, make([]float32, g.Workspace(images)))
				g.Unpack(dw, acc)
				return dw
			}
			checkSame(t, fmt.Sprintf("weight gradient %+v", s), gradient(wide.NewWeightGradient(s)), gradient(narrow.NewWeightGradient(s)))
		}
	}
}
