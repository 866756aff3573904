package nn

import (
	"slices"
	"testing"
	"time"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/rng"
)

// BenchmarkRemoval measures networks before and after removal in alternation, on two
// threads: inference of 128 pictures and of one picture, and a step that trains γ and β. It
// reports pictures a second, the ratio of the times, and the ratio of the numbers of
// multiply-accumulates.
func BenchmarkRemoval(b *testing.B) {
	inner := func(keep func(channels int) int) func(*arch.Network, int, int) bool {
		return func(net *arch.Network, i, c int) bool {
			u := &net.Units[i]
			isInner := u.In != arch.Picture && !u.Shortcut && u.Add.Kind == arch.NoResidual
			return isInner && c >= keep(u.OutShape.C)
		}
	}
	stream := rng.NewStream(3, "removal")
	for _, c := range []struct {
		name, arch string
		hold       func(net *arch.Network, i, c int) bool
	}{
		{"7 of 16, 15 of 32 and 31 of 64 inner channels kept", "resnet-56", inner(func(channels int) int { return channels/2 - 1 })},
		{"a third of all channels held at random", "wrn-14-4", func(_ *arch.Network, i, c int) bool { return stream.Uint32(uint64(i*1024+c)) < 1<<32/3 }},
		{"the same third of the channels of every layer", "wrn-14-4", func(_ *arch.Network, _, c int) bool { return c%3 == 1 }},
	} {
		const batch = 128
		e := newExample[float32](b, c.arch, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10}, batch)
		kept := make([][]int, len(e.net.Units))
		for i := range e.net.Units {
			gamma, beta := e.params.Of(i, arch.Gamma), e.params.Of(i, arch.Beta)
			kept[i] = []int{}
			for channel := range gamma {
				beta[channel] = 0.1
				if c.hold(e.net, i, channel) {
					gamma[channel] = 0
				} else {
					kept[i] = append(kept[i], channel)
				}
			}
		}
		compact, err := Compact(e.net, e.params, kept)
		if err != nil {
			b.Fatal(err)
		}
		nets, params := []*arch.Network{e.net, compact.Network}, []*Params[float32]{e.params, compact.Params}
		macsRatio := float64(e.net.MACs()) / float64(compact.Network.MACs())
		for _, n := range []int{batch, 1} {
			name := map[int]string{batch: "/inference of 128", 1: "/inference of 1"}[n]
			b.Run(c.arch+", "+c.name+name, func(b *testing.B) {
				var runs [2]func()
				for i := range nets {
					f, err := NewInference(nets[i], kernel.Best(), params[i], NewStatistics(nets[i]), InferenceOptions{Batch: n, Threads: 2})
					if err != nil {
						b.Fatal(err)
					}
					defer f.Close()
					runs[i] = func() { f.Run(e.pictures, n) }
				}
				alternate(b, runs, n, macsRatio)
			})
		}
		b.Run(c.arch+", "+c.name+"/step", func(b *testing.B) {
			var runs [2]func()
			for i := range nets {
				t, err := NewTraining(nets[i], kernel.Best(), params[i], TrainingOptions{Batch: batch, Threads: 2, Gradients: BNGradients})
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
				runs[i] = func() { t.Forward(e.pictures, e.labels); t.Backward() }
			}
			alternate(b, runs, batch, macsRatio)
		})
	}
}

// alternate times two runs of n pictures in turn. It reports the pictures a second and the
// ratio of the times, which follow from the medians, and macsRatio.
func alternate(b *testing.B, runs [2]func(), n int, macsRatio float64) {
	var times [2][]float64
	for b.Loop() {
		for i, run := range runs {
			begin := time.Now()
			run()
			times[i] = append(times[i], time.Since(begin).Seconds())
		}
	}
	var median [2]float64
	for i := range times {
		slices.Sort(times[i])
		median[i] = times[i][len(times[i])/2]
	}
	b.ReportMetric(float64(n)/median[0], "before/s")
	b.ReportMetric(float64(n)/median[1], "after/s")
	b.ReportMetric(median[0]/median[1], "ratio")
	b.ReportMetric(macsRatio, "MACs-ratio")
}
