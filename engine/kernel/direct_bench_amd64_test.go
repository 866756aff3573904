//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// directBenchmarks are the convolutions of ResNet-20 on 32×32 images, one with many channels,
// one of 1×1 and stride 1, and one with a single block of channels.
var directBenchmarks = []ConvShape{
	{In: 3, Out: 16, H: 32, W: 32, Kernel: 3, Stride: 1, Pad: 1},
	{In: 16, Out: 16, H: 32, W: 32, Kernel: 3, Stride: 1, Pad: 1},
	{In: 32, Out: 32, H: 16, W: 16, Kernel: 3, Stride: 1, Pad: 1},
	{In: 64, Out: 64, H: 8, W: 8, Kernel: 3, Stride: 1, Pad: 1},
	{In: 256, Out: 256, H: 8, W: 8, Kernel: 3, Stride: 1, Pad: 1},
	{In: 16, Out: 32, H: 32, W: 32, Kernel: 3, Stride: 2, Pad: 1},
	{In: 32, Out: 64, H: 16, W: 16, Kernel: 3, Stride: 2, Pad: 1},
	{In: 16, Out: 32, H: 32, W: 32, Kernel: 1, Stride: 2},
	{In: 32, Out: 64, H: 16, W: 16, Kernel: 1, Stride: 2},
	{In: 64, Out: 64, H: 8, W: 8, Kernel: 1, Stride: 1},
	{In: 8, Out: 8, H: 32, W: 32, Kernel: 3, Stride: 1, Pad: 1},
}

// BenchmarkDirect runs both directions and the filter gradient over a batch on one thread,
// and the plain-Go reference over a few images.
func BenchmarkDirect(b *testing.B) {
	reference := Generic[float32]()
	for _, s := range directBenchmarks {
		name := fmt.Sprintf("%dto%d_%dx%d_%dx%ds%d", s.In, s.Out, s.H, s.W, s.Kernel, s.Kernel, s.Stride)
		in, out := unpadded(s.In, s.H, s.W), unpadded(s.Out, s.OutH(), s.OutW())
		type implementation struct {
			name              string
			images            int
			forward, backward func(ConvShape) Conv[float32]
			gradient          func(ConvShape) WeightGradient[float32]
			peak              func() float64
		}
		all := []implementation{{"reference", 2, reference.NewForward, reference.NewBackward, reference.NewWeightGradient, reference.peak}}
		for _, c := range availableWidths() {
			all = append(all, implementation{c.name, 32, c.directForward, c.directBackward, c.directGradient, c.peak})
		}
		for _, f := range all {
			direction := func(conv Conv[float32], result Layout) func() {
				conv.SetFilters(make([]float32, s.Out*s.In*s.Kernel*s.Kernel))
				src, dst := make([]float32, f.images*conv.Source().Len(lanes)), make([]float32, f.images*result.Len(lanes))
				work := make([]float32, conv.Workspace(f.images))
				return func() { conv.Run(dst, src, f.images, work) }
			}
			b.Run(name+"/forward/"+f.name, func(b *testing.B) {
				benchmarkShare(b, s, f.images, f.peak, direction(f.forward(s), out))
			})
			b.Run(name+"/backward/"+f.name, func(b *testing.B) {
				benchmarkShare(b, s, f.images, f.peak, direction(f.backward(s), in))
			})
			b.Run(name+"/gradient/"+f.name, func(b *testing.B) {
				g := f.gradient(s)
				x, dy := make([]float32, f.images*g.Source().Len(lanes)), make([]float32, f.images*out.Len(lanes))
				acc, work := make([]float32, g.Len()), make([]float32, g.Workspace(f.images))
				benchmarkShare(b, s, f.images, f.peak, func() { g.Accumulate(acc, x, dy, f.images, work) })
			})
		}
	}
}

// benchmarkShare alternates between run and peak. It reports the FLOPs of the convolution's
// definition, including those with padding, over the time of run, and this rate as a
// percentage of the rate of peak. It takes medians, which vary less than means on a shared
// machine.
func benchmarkShare(b *testing.B, s ConvShape, images int, peak func() float64, run func()) {
	flops := 2 * float64(images*s.In*s.Out*s.Kernel*s.Kernel*s.OutH()*s.OutW())
	var rates, peaks []float64
	for b.Loop() {
		start := time.Now()
		run()
		rates = append(rates, flops/time.Since(start).Seconds()/1e9)
		b.StopTimer()
		start = time.Now()
		flops := peak()
		peaks = append(peaks, flops/time.Since(start).Seconds()/1e9)
		b.StartTimer()
	}
	slices.Sort(rates)
	slices.Sort(peaks)
	b.ReportMetric(rates[len(rates)/2], "GFLOP/s")
	b.ReportMetric(100*rates[len(rates)/2]/peaks[len(peaks)/2], "%peak")
}
