package nn

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// TestSmoothedLabels compares the loss, which is not smoothed, and the gradient of the loss
// with smoothed labels, with PyTorch's.
func TestSmoothedLabels(t *testing.T) {
	b, err := os.ReadFile("../optim/testdata/training.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Smoothing []struct {
			Smoothing, Loss  float64
			Logits, Gradient []float64
			Label            int
		}
	}
	if err := json.Unmarshal(b, &golden); err != nil || len(golden.Smoothing) == 0 {
		t.Fatalf("got %d cases of smoothing and error %v, want at least 1 and no error", len(golden.Smoothing), err)
	}
	for _, c := range golden.Smoothing {
		const scale = 0.5
		gradient := make([]float64, len(c.Logits))
		loss, _ := crossEntropy(c.Logits, c.Label, gradient, scale, c.Smoothing)
		if math.Abs(loss-c.Loss) > 1e-8 {
			t.Errorf("smoothing %v of label %d: loss %v, want %v", c.Smoothing, c.Label, loss, c.Loss)
		}
		for k, want := range c.Gradient {
			if math.Abs(gradient[k]-scale*want) > 1e-8 {
				t.Errorf("smoothing %v of label %d: gradient %v at %d, want %v", c.Smoothing, c.Label, gradient[k], k, scale*want)
			}
		}
	}
}

// TestSmoothingReachesGradients checks that the output bias's gradient is the mean of softmax
// minus smoothed label, and that the loss is computed without smoothing.
func TestSmoothingReachesGradients(t *testing.T) {
	const smoothing, classes, batch = 0.3, 5, 6
	e := newExample[float64](t, "resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: classes}, batch)
	step := e.training(t, kernel.Generic[float64](), TrainingOptions{Threads: 1, Gradients: AllGradients, LabelSmoothing: smoothing})
	loss := step.Forward(e.pictures, e.labels)
	step.Backward()
	want := make([]float64, classes)
	sum := 0.0
	for i, label := range e.labels {
		logits := step.Logits()[i*classes:][:classes]
		total := 0.0
		for _, z := range logits {
			total += math.Exp(z)
		}
		sum -= math.Log(math.Exp(logits[label]) / total)
		for k, z := range logits {
			want[k] += (math.Exp(z)/total - smoothing/classes) / batch
		}
		want[label] -= (1 - smoothing) / batch
	}
	if math.Abs(loss.Sum-sum) > 1e-12*sum {
		t.Errorf("loss %v, want %v", loss.Sum, sum)
	}
	gradient := step.Gradients().Named("fc.bias")
	for k := range want {
		if math.Abs(gradient[k]-want[k]) > 1e-12 {
			t.Errorf("gradient of fc.bias[%d] is %v, want %v", k, gradient[k], want[k])
		}
	}
}
