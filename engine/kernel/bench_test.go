package kernel

import (
	"fmt"
	"testing"
)

// benchmarkImages are the sizes of the images in a CIFAR ResNet's stages, in blocks, rows and
// columns.
var benchmarkImages = [][3]int{{2, 32, 32}, {4, 16, 16}, {8, 8, 8}}

// benchmarkPass runs a pass over the same 32 images repeatedly. They take a few megabytes,
// like the activations between two convolutions of a batch. passes is the number of images
// that run reads and writes, rounded; an image that is read twice counts twice.
func benchmarkPass(b *testing.B, passes int, run func(f *Family[float32], p *testImage, images [4][]float32, mask []uint8, coefficients []float32)) {
	const batch = 32
	for _, size := range benchmarkImages {
		p := newTestImage(size)
		var images [4][]float32
		for i := range images {
			for range batch {
				images[i] = append(images[i], convert[float32](p.image())...)
			}
		}
		masks := make([]uint8, batch*p.blocks*p.area)
		for i := range masks {
			masks[i] = uint8(p.r.Uint32())
		}
		coefficients := convert[float32](p.coefficients())
		length, maskLength := p.channels*p.area, p.blocks*p.area
		for _, f := range availableFamilies() {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", p.channels, p.h, p.w, f.Name), func(b *testing.B) {
				b.SetBytes(int64(length * 4 * passes))
				n := 0
				for b.Loop() {
					var part [4][]float32
					for i := range part {
						part[i] = images[i][n*length:][:length]
					}
					run(f, p, part, masks[n*maskLength:][:maskLength], coefficients)
					n = (n + 1) % batch
				}
			})
		}
	}
}

// BenchmarkActivate runs the end of a residual unit: sum, ReLU, mask.
func BenchmarkActivate(b *testing.B) {
	padded := make([]float32, 1<<16)
	benchmarkPass(b, 4, func(f *Family[float32], p *testImage, images [4][]float32, mask []uint8, c []float32) {
		f.Activate(&Activation[float32]{Blocks: p.blocks, H: p.h, W: p.w, Y: images[0], Scale: c, Shift: c,
			R: images[1], Plain: images[2], Mask: mask, Padded: padded, Layout: p.layout})
	})
}

// BenchmarkActivatePadded runs the end of a unit without a residual, whose output the
// next unit reads.
func BenchmarkActivatePadded(b *testing.B) {
	padded := make([]float32, 1<<16)
	benchmarkPass(b, 2, func(f *Family[float32], p *testImage, images [4][]float32, mask []uint8, c []float32) {
		f.Activate(&Activation[float32]{Blocks: p.blocks, H: p.h, W: p.w, Y: images[0], Scale: c, Shift: c,
			Padded: padded, Layout: p.layout})
	})
}

func BenchmarkMoments(b *testing.B) {
	sums := make([]float32, 64)
	benchmarkPass(b, 2, func(f *Family[float32], p *testImage, images [4][]float32, _ []uint8, _ []float32) {
		f.Moments(sums, sums, images[0], p.blocks, p.area)
	})
}

func BenchmarkPlaneSums(b *testing.B) {
	sums := make([]float32, 64)
	benchmarkPass(b, 1, func(f *Family[float32], p *testImage, images [4][]float32, _ []uint8, _ []float32) {
		f.PlaneSums(sums, images[0], p.blocks, p.area)
	})
}

// BenchmarkTotals adds the sums of a batch's images, which are in the cache.
func BenchmarkTotals(b *testing.B) {
	const images = 128
	for _, channels := range []int{16, 32, 64} {
		rows, total, mean := make([]float32, images*channels), make([]float64, channels), make([]float64, channels)
		for _, f := range availableFamilies() {
			for _, k := range []struct {
				name   string
				passes int
				run    func()
			}{
				{"totals", 1, func() { f.Totals(total, rows, images) }},
				{"squares", 2, func() { f.TotalSquares(total, mean, rows, rows, images, 64) }},
			} {
				b.Run(fmt.Sprintf("%s/%dx%d/%s", k.name, images, channels, f.Name), func(b *testing.B) {
					b.SetBytes(int64(images * channels * 4 * k.passes))
					for b.Loop() {
						k.run()
					}
				})
			}
		}
	}
}

// BenchmarkMaskGradient runs MaskGradient without a mask, which it recomputes.
func BenchmarkMaskGradient(b *testing.B) {
	sums := make([]float32, 64)
	benchmarkPass(b, 3, func(f *Family[float32], p *testImage, images [4][]float32, _ []uint8, c []float32) {
		f.MaskGradient(&Masking[float32]{Blocks: p.blocks, H: p.h, W: p.w, G: images[0], Y: images[1],
			Scale: c, Shift: c, Mean: c, SumG: sums, SumGY: sums})
	})
}

// BenchmarkMaskGradientAdd runs MaskGradient of a residual unit, with a mask. The
// gradients that it adds are zero, because G accumulates them over iterations.
func BenchmarkMaskGradientAdd(b *testing.B) {
	sums, zeros := make([]float32, 64), make([]float32, 1<<16)
	benchmarkPass(b, 4, func(f *Family[float32], p *testImage, images [4][]float32, mask []uint8, c []float32) {
		f.MaskGradient(&Masking[float32]{Blocks: p.blocks, H: p.h, W: p.w, G: images[0], Add: zeros[:len(images[0])],
			Mask: mask, Y: images[1], Mean: c, SumG: sums, SumGY: sums})
	})
}

func BenchmarkBatchNormGradient(b *testing.B) {
	padded := make([]float32, 1<<16)
	benchmarkPass(b, 3, func(f *Family[float32], p *testImage, images [4][]float32, _ []uint8, c []float32) {
		f.BatchNormGradient(&InputGradient[float32]{Blocks: p.blocks, H: p.h, W: p.w, G: images[0], Y: images[1],
			CG: c, CY: c, C1: c, Padded: padded, Layout: p.layout})
	})
}

func BenchmarkSubsampleGradient(b *testing.B) {
	zeros := make([]float32, 1<<16)
	benchmarkPass(b, 1, func(f *Family[float32], p *testImage, images [4][]float32, _ []uint8, _ []float32) {
		f.SubsampleGradient(images[0], zeros[:len(images[0])/4], p.blocks, p.h, p.w)
	})
}

func BenchmarkVectors(b *testing.B) {
	for _, n := range []int{64, 9 * 64 * 64} {
		x, y, z := make([]float32, n), make([]float32, n), make([]float32, n)
		for _, f := range availableFamilies() {
			for _, k := range []struct {
				name   string
				passes int
				run    func()
			}{
				{"dot", 2, func() { f.Dot(x, y) }},
				{"axpy", 3, func() { f.Axpy(y, 0.5, x) }},
				{"sgd", 5, func() { f.SGD(x, y, z, 0.1, 0.9, 1e-4) }},
			} {
				b.Run(fmt.Sprintf("%s/%d/%s", k.name, n, f.Name), func(b *testing.B) {
					b.SetBytes(int64(n * 4 * k.passes))
					for b.Loop() {
						k.run()
					}
				})
			}
		}
	}
}

func BenchmarkBF16(b *testing.B) {
	const n = 16 * 32 * 32
	x, half := make([]float32, n), make([]uint16, n)
	for _, f := range availableFamilies() {
		for _, k := range []struct {
			name string
			run  func()
		}{
			{"round", func() { f.RoundBF16(half, x) }},
			{"expand", func() { f.ExpandBF16(x, half) }},
		} {
			b.Run(fmt.Sprintf("%s/%d/%s", k.name, n, f.Name), func(b *testing.B) {
				b.SetBytes(n * 6)
				for b.Loop() {
					k.run()
				}
			})
		}
	}
}

// BenchmarkConv runs both directions and the filter gradient of a ResNet's convolutions with
// the method that the family chooses, and reports the direct convolution's FLOPs over the time.
func BenchmarkConv(b *testing.B) {
	const images = 4
	for _, s := range []ConvShape{
		{In: 16, Out: 16, H: 32, W: 32, Kernel: 3, Stride: 1, Pad: 1},
		{In: 32, Out: 32, H: 16, W: 16, Kernel: 3, Stride: 1, Pad: 1},
		{In: 64, Out: 64, H: 8, W: 8, Kernel: 3, Stride: 1, Pad: 1},
		{In: 16, Out: 32, H: 32, W: 32, Kernel: 3, Stride: 2, Pad: 1},
		{In: 16, Out: 32, H: 32, W: 32, Kernel: 1, Stride: 2},
	} {
		c := newConvCase(s, images)
		in, out := unpadded(s.In, s.H, s.W), unpadded(s.Out, s.OutH(), s.OutW())
		flops := 2 * float64(len(c.w)*s.OutH()*s.OutW()*images)
		for _, f := range availableFamilies() {
			forward, backward, gradient := f.NewForward(s), f.NewBackward(s), f.NewWeightGradient(s)
			forward.SetFilters(convert[float32](c.w))
			backward.SetFilters(convert[float32](c.w))
			work := make([]float32, max(forward.Workspace(images), backward.Workspace(images), gradient.Workspace(images)))
			x, dy := blocked[float32](c.x, images, s.In, forward.Source()), blocked[float32](c.dy, images, s.Out, backward.Source())
			y, dx := make([]float32, images*out.Len(lanes)), make([]float32, images*in.Len(lanes))
			gradientX, plainDY := blocked[float32](c.x, images, s.In, gradient.Source()), blocked[float32](c.dy, images, s.Out, out)
			acc := make([]float32, gradient.Len())
			for _, k := range []struct {
				name string
				run  func()
			}{
				{"forward", func() { forward.Run(y, x, images, work) }},
				{"backward", func() { backward.Run(dx, dy, images, work) }},
				{"weights", func() { gradient.Accumulate(acc, gradientX, plainDY, images, work) }},
			} {
				b.Run(fmt.Sprintf("%dto%dx%dx%d,%dx%ds%d/%s/%s", s.In, s.Out, s.H, s.W, s.Kernel, s.Kernel, s.Stride, k.name, f.Name), func(b *testing.B) {
					for b.Loop() {
						k.run()
					}
					b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}

func BenchmarkPeak(b *testing.B) {
	for _, f := range availableFamilies() {
		b.Run(f.Name, func(b *testing.B) {
			var flops float64
			for b.Loop() {
				flops += f.peak()
			}
			b.ReportMetric(flops/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
