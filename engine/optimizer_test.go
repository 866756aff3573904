package engine

import (
	"math"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

func tinyNetwork(t *testing.T) *arch.Network {
	t.Helper()
	net, err := arch.Build("resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 4})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

func closeTo(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*math.Max(1, math.Abs(b))
}

// TestSGDClosedForms: with a constant gradient g, momentum m and no decay,
// w(k) = w(0) - rate·g·Σ_{i=1..k} (1-m^i)/(1-m); with decay d alone and no
// gradient or momentum, w(k) = w(0)·(1-rate·d)^k.
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
		cfg := DefaultConfig()
		cfg.Momentum, cfg.WeightDecay = momentum, decay
		s := newOptimizer(net, kernel.Best(), set, &cfg)
		for range steps {
			s.step(after, gradients, rate)
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
				t.Fatalf("momentum: %s moved by %v, want %v", x.Name, got, want)
			}
		}
	}

	before, after = train(arch.All, 0, decay, 0)
	for i := range before.Tensors {
		for j, w := range before.Values[i] {
			if got, want := float64(after.Values[i][j]), float64(w)*math.Pow(1-rate*decay, steps); !closeTo(got, want, 1e-5) {
				t.Fatalf("decay: %s is %v, want %v", before.Tensors[i].Name, got, want)
			}
		}
	}
}

// TestRunningClosedForm: from mean 0 and variance 1, k batches of equal
// statistics leave mean (1-0.9^k)·m and variance 0.9^k + (1-0.9^k)·v.
func TestRunningClosedForm(t *testing.T) {
	net := tinyNetwork(t)
	running, batch := nn.NewStatistics(net), nn.NewStatistics(net)
	each(batch.Mean, func(float64) float64 { return 3 })
	each(batch.Var, func(float64) float64 { return 5 })
	for range 12 {
		updateRunning(running, batch, 0.1)
	}
	left := math.Pow(0.9, 12)
	for u := range running.Mean {
		for c := range running.Mean[u] {
			if !closeTo(running.Mean[u][c], 3*(1-left), 1e-12) || !closeTo(running.Var[u][c], left+5*(1-left), 1e-12) {
				t.Fatalf("unit %d: mean %v, variance %v", u, running.Mean[u][c], running.Var[u][c])
			}
		}
	}
}

func TestGammaNearZero(t *testing.T) {
	net := tinyNetwork(t)
	p := nn.NewParams[float32](net, nil)
	all, near := 0, 0
	for i := range p.Tensors {
		for j := range p.Values[i] {
			// β and weights are zero throughout and must not count.
			if p.Tensors[i].Kind != arch.Gamma {
				continue
			}
			all++
			switch p.Values[i][j] = 1; j % 4 {
			case 0:
				p.Values[i][j] = -0.0099
				near++
			case 1:
				p.Values[i][j] = 0.0101
			}
		}
	}
	if got, want := gammaNearZero(p), float64(near)/float64(all); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
