package optim_test

import (
	"math"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/optim"
)

// tinyNetwork returns a resnet-8 for 8×8 pictures of 4 classes.
func tinyNetwork(t *testing.T) *arch.Network {
	t.Helper()
	net, err := arch.Build("resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 4})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// closeTo reports whether a and b differ by at most tolerance·max(1, |b|).
func closeTo(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*math.Max(1, math.Abs(b))
}

// TestSGDClosedForms checks two closed forms. With a constant gradient g, momentum m and no
// weight decay, w(k) = w(0) - rate·g·Σ_{i=1..k} (1-m^i)/(1-m). With weight decay d, no
// gradient and no momentum, w(k) = w(0)·(1-rate·d)^k.
func TestSGDClosedForms(t *testing.T) {
	const rate, momentum, decay, g, steps = 0.1, 0.9, 0.01, 0.5, 20
	net := tinyNetwork(t)
	train := func(set arch.TrainableSet, momentum, decay, g float64) (before, after *nn.Params[float32]) {
		before, after = nn.NewParams[float32](net, nil), nn.NewParams[float32](net, nil)
		before.Initialise(3)
		after.Initialise(3)
		gradients := nn.NewParams[float32](net, nil)
		for _, v := range gradients.Values {
			for i := range v {
				v[i] = float32(g)
			}
		}
		s := optim.New(nn.NewTrainedParams[float32](net, set), kernel.Best(), optim.SGD{Momentum: momentum}, optim.Regularisation{WeightDecay: decay})
		for range steps {
			s.Step(after, gradients, rate)
		}
		return before, after
	}

	before, after := train(arch.BN, momentum, 0, g)
	moved := 0.0
	for i := 1; i <= steps; i++ {
		moved += rate * g * (1 - math.Pow(momentum, float64(i))) / (1 - momentum)
	}
	for i := range before.Tensors {
		x := &before.Tensors[i]
		want := moved
		if !arch.BN.Trains(x) {
			want = 0
		}
		for j, w := range before.Values[i] {
			if got := float64(w) - float64(after.Values[i][j]); !closeTo(got, want, 1e-5) || want == 0 && got != 0 {
				t.Fatalf("momentum: %s[%d] fell by %v, want %v", x.Name, j, got, want)
			}
		}
	}

	before, after = train(arch.All, 0, decay, 0)
	for i := range before.Tensors {
		for j, w := range before.Values[i] {
			if got, want := float64(after.Values[i][j]), float64(w)*math.Pow(1-rate*decay, steps); !closeTo(got, want, 1e-5) {
				t.Fatalf("decay: %s[%d] is %v, want %v", before.Tensors[i].Name, j, got, want)
			}
		}
	}
}
