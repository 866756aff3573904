//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"testing"
)

// BenchmarkWinograd convolves 128 images in calls of a few, on one thread, and
// reports the direct convolution's FLOPs over the time.
func BenchmarkWinograd(b *testing.B) {
	for _, s := range []struct{ channels, size, images int }{
		{16, 32, 8}, {32, 16, 16}, {64, 8, 32}, {64, 32, 4}, {128, 16, 8}, {256, 8, 32}, {16, 28, 8}, {64, 7, 32}, {512, 4, 64},
	} {
		b.Run(fmt.Sprintf("%dx%dx%d", s.channels, s.size, s.size), func(b *testing.B) {
			const batch = 128
			c := newWinogradCase(s.channels, s.channels, s.size, s.size, 1, false)
			conv := newWinogradForward(c.shape)
			conv.SetFilters(c.weights)
			from := conv.Source().Len(winogradLanes)
			to := c.dstLen()
			src := make([]float32, batch*from)
			for n := range batch {
				copy(src[n*from:], c.pack(conv.Source()))
			}
			dst := make([]float32, batch*to)
			work := make([]float32, conv.Workspace(s.images))
			for b.Loop() {
				for n := 0; n < batch; n += s.images {
					conv.Run(dst[n*to:(n+s.images)*to], src[n*from:(n+s.images)*from], s.images, work)
				}
			}
			flops := 2 * 9 * float64(s.channels*s.channels*s.size*s.size*batch)
			b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

// BenchmarkWinogradSteps times each of the three steps alone on one block of
// tiles, and reports its share of the FLOPs' time at 16 a cycle as it would be.
func BenchmarkWinogradSteps(b *testing.B) {
	for _, s := range [][2]int{{16, 32}, {32, 16}, {64, 8}, {128, 16}, {256, 8}} {
		c := newWinogradCase(s[0], s[0], s[1], s[1], 16, false)
		g := c.conv().(*winograd)
		src, dst := c.pack(g.Source()), make([]float32, c.dstLen())
		work := winogradAlign(make([]float32, g.Workspace(1)))
		strip, work := work[:g.stripLen()], work[g.stripLen():]
		v, m := work[:winogradPositions*g.vPosition], work[winogradPositions*g.vPosition:]
		channels := min(g.in, winogradChannels)
		for name, step := range map[string]func(){
			"input":    func() { g.transformInput(v, src, strip, 0, g.tiles, 0, channels) },
			"multiply": func() { g.multiply(m, v, g.tiles, 0, channels) },
			"output":   func() { g.transformOutput(dst, m, strip, 0, g.tiles) },
		} {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", s[0], s[1], s[1], name), func(b *testing.B) {
				for b.Loop() {
					step()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*g.tiles), "ns/tile")
				b.ReportMetric(float64(g.tiles), "tiles")
			})
		}
	}
}
