//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"testing"
)

// BenchmarkWinograd convolves 128 images on one thread, in calls of at least as many images
// as SIMD.md recommends, except the last of some sizes. It also runs the plain-Go convolution on one image. GFLOP/s are the
// direct convolution's FLOPs over the time.
func BenchmarkWinograd(b *testing.B) {
	for _, s := range []struct{ channels, size, images int }{
		{16, 32, 8}, {32, 16, 12}, {64, 8, 24}, {16, 28, 8}, {64, 7, 24},
		{64, 32, 4}, {128, 16, 12}, {256, 8, 24}, {512, 4, 60},
	} {
		shape := ConvShape{In: s.channels, Out: s.channels, H: s.size, W: s.size, Kernel: 3, Stride: 1, Pad: 1}
		type convolution struct {
			name  string
			conv  Conv[float32]
			batch int
		}
		all := []convolution{{"generic", newGenericForward[float32](shape), 1}}
		for _, c := range availableWidths() {
			all = append(all, convolution{c.name, c.winogradForward(shape), 128})
		}
		for _, k := range all {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", s.channels, s.size, s.size, k.name), func(b *testing.B) {
				k.conv.SetFilters(make([]float32, s.channels*s.channels*9))
				src := make([]float32, k.batch*k.conv.Source().Len(lanes))
				for i := range src {
					src[i] = float32(i%7) - 3
				}
				dst := make([]float32, k.batch*blocksOf(s.channels)*s.size*s.size*lanes)
				srcLen, dstLen := len(src)/k.batch, len(dst)/k.batch
				work := make([]float32, k.conv.Workspace(s.images))
				for b.Loop() {
					for n := 0; n < k.batch; n += s.images {
						images := min(s.images, k.batch-n)
						k.conv.Run(dst[n*dstLen:(n+images)*dstLen], src[n*srcLen:(n+images)*srcLen], images, work)
					}
				}
				flops := 2 * 9 * float64(s.channels*s.channels*s.size*s.size*k.batch)
				b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// BenchmarkWinogradSteps times each step alone, on one block of tiles.
func BenchmarkWinogradSteps(b *testing.B) {
	for _, s := range [][3]int{
		{16, 16, 32}, {16, 8, 32}, {8, 16, 32}, {32, 32, 16}, {32, 24, 16}, {64, 64, 8}, {64, 40, 8}, {128, 128, 16},
	} {
		const images = 6
		for _, c := range availableWidths() {
			g := c.winogradForward(ConvShape{In: s[0], Out: s[1], H: s[2], W: s[2], Kernel: 3, Stride: 1, Pad: 1}).(*winograd)
			src := make([]float32, images*g.Source().Len(lanes))
			dst := make([]float32, images*s[1]*s[2]*s[2])
			strip, v, m := g.split(make([]float32, g.Workspace(images)))
			for _, step := range []struct {
				name string
				run  func()
			}{
				{"input", func() { g.transformInput(v, src, strip, 0, g.tiles, 0, g.in) }},
				{"multiply", func() { g.multiply(m, v, g.tiles, 0, g.in, new(prefetcher)) }},
				{"output", func() { g.transformOutput(dst, m, strip, 0, g.tiles) }},
			} {
				b.Run(fmt.Sprintf("%dto%dx%dx%d/%s/%s", s[0], s[1], s[2], s[2], step.name, c.name), func(b *testing.B) {
					for b.Loop() {
						step.run()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*g.tiles), "ns/tile")
				})
			}
		}
	}
}

// BenchmarkWinogradFilterGradient measures the last step of Accumulate, which transforms the
// sums at the 36 positions into filter gradients. The time does not depend on the number of
// images.
func BenchmarkWinogradFilterGradient(b *testing.B) {
	for _, channels := range []int{16, 32, 64} {
		for _, c := range availableWidths() {
			g := c.winogradGradient(ConvShape{In: channels, Out: channels, H: 8, W: 8, Kernel: 3, Stride: 1, Pad: 1}).(*winogradGradient)
			acc := make([]float32, g.Len())
			strip, _, _, sums, _ := g.split(make([]float32, g.Workspace(1)))
			b.Run(fmt.Sprintf("%d/%s", channels, c.name), func(b *testing.B) {
				for b.Loop() {
					g.addFilterGradients(acc, sums, strip)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*channels*channels), "ns/filter")
			})
		}
	}
}
