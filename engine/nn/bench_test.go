package nn

import (
	"fmt"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// BenchmarkStep measures whole training steps at batch 128 on two threads.
func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name      string
		gradients Gradients
	}{
		{"resnet-20", BNGradients}, {"resnet-20", AllGradients}, {"wrn-14-4", BNGradients},
	} {
		for _, family := range []*kernel.Family[float32]{kernel.Best(), kernel.Generic[float32]()} {
			b.Run(fmt.Sprintf("%s/gradients=%d/%s", c.name, c.gradients, family.Name), func(b *testing.B) {
				const batch = 128
				e := newExample[float32](b, c.name, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10}, batch)
				step := e.training(b, family, TrainingOptions{Threads: 2, Gradients: c.gradients})
				for b.Loop() {
					step.Forward(e.pictures, e.labels)
					step.Backward()
				}
				b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
			})
		}
	}
}

// BenchmarkInference measures inference at batch 128 on two threads.
func BenchmarkInference(b *testing.B) {
	const batch = 128
	e := newExample[float32](b, "resnet-20", arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10}, batch)
	f, err := NewInference(e.net, kernel.Best(), e.params, NewStatistics(e.net), InferenceOptions{Batch: batch, Threads: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for b.Loop() {
		f.Run(e.pictures, batch)
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
}
