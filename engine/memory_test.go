package engine

import (
	"fmt"
	"runtime"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// allocated returns the number of bytes that f allocates.
func allocated(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc)
}

// TestMemoryEstimates compares estimates with the memory that is allocated.
func TestMemoryEstimates(t *testing.T) {
	const threads = 2
	maxRatio := 2.5 // of an estimate to the memory that is allocated
	if kernel.Best().Name == "generic" {
		// The estimates have 36 numbers for a 3×3 filter, as Winograd's transform does. The
		// generic family packs the 9 numbers as they are.
		maxRatio = 5
	}
	for _, c := range []struct {
		name  string
		width float64
		side  int
	}{{"resnet-20", 0, 32}, {"wrn-14-4", 0, 32}, {"vgg-16", 0, 32}, {"resnet-20-bottleneck", 0, 32}, {"resnet18", 0.25, 64}, {"convnet", 0, 32}} {
		net, err := arch.Build(c.name, arch.Options{Input: arch.Shape{C: 3, H: c.side, W: c.side}, Classes: 10, Variants: arch.Variants{Width: c.width}})
		if err != nil {
			t.Fatal(err)
		}
		params := nn.NewParams[float32](net, nil)
		check := func(what string, estimate, actual float64) {
			t.Helper()
			if estimate < actual/1.5 || estimate > maxRatio*actual {
				t.Errorf("%s: estimate %.1f MB for %s, want %.1f to %.1f MB", c.name, estimate/1e6, what, actual/1.5e6, maxRatio*actual/1e6)
			}
		}
		check("inference", inferenceBytes(net, threads), allocated(func() {
			f, err := nn.NewInference(net, kernel.Best(), params, nn.NewStatistics(net), nn.InferenceOptions{Batch: 128, Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}))
		for _, set := range []arch.TrainableSet{arch.Nothing, arch.BN, arch.All} {
			for _, batch := range []int{1, 32} {
				o := nn.TrainingOptions{Batch: batch, Threads: threads, Gradients: nn.GradientsOf(net, set), BF16: false}
				check(fmt.Sprintf("training %s in batches of %d", set, batch), trainingBytes(net, o), allocated(func() {
					f, err := nn.NewTraining(net, kernel.Best(), params, o)
					if err != nil {
						t.Fatal(err)
					}
					f.Close()
				}))
			}
		}
	}
}
