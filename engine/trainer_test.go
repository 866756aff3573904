package engine

import (
	"math"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/nn"
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

// closeTo reports whether a and b differ by at most tolerance, relative to b if |b| > 1.
func closeTo(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*math.Max(1, math.Abs(b))
}

// TestRunningClosedForm checks the closed form of the running statistics: if they
// start from mean 0 and variance 1, k batches of mean m and variance v change them to
// mean (1-0.9^k)·m and variance 0.9^k + (1-0.9^k)·v.
func TestRunningClosedForm(t *testing.T) {
	net := tinyNetwork(t)
	running, batch := nn.NewStatistics(net), nn.NewStatistics(net)
	mapValues(batch.Mean, func(float64) float64 { return 3 })
	mapValues(batch.Var, func(float64) float64 { return 5 })
	for range 12 {
		updateRunning(running, batch, 0.1)
	}
	initial := math.Pow(0.9, 12) // weight of the initial statistics
	for u := range running.Mean {
		for c := range running.Mean[u] {
			mean, variance := 3*(1-initial), initial+5*(1-initial)
			if !closeTo(running.Mean[u][c], mean, 1e-12) || !closeTo(running.Var[u][c], variance, 1e-12) {
				t.Fatalf("unit %d: mean %v, variance %v; want %v, %v", u, running.Mean[u][c], running.Var[u][c], mean, variance)
			}
		}
	}
}

// TestGammaNearZero checks that the share counts only γ, and only those below NearZero in
// magnitude.
func TestGammaNearZero(t *testing.T) {
	net := tinyNetwork(t)
	p := nn.NewParams[float32](net, nil)
	all, near := 0, 0
	for i := range p.Tensors {
		for j := range p.Values[i] {
			// β and weights are all zero and must not be counted.
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
	if got, want := (&Model{Network: net, Params: p}).gammaNearZero(), float64(near)/float64(all); got != want {
		t.Errorf("the share of γ near zero is %v, want %v", got, want)
	}
}

// TestRate checks that all steps of an epoch have the rate of its beginning or, with LRPerStep,
// that each has the rate of its own place in the epoch.
func TestRate(t *testing.T) {
	cfg := config.Default()
	cfg.Schedule, cfg.LRWarmup, cfg.LRDrops = config.Cosine, 2, nil
	r := run{cfg: cfg, steps: 10, schedule: cfg.LearningRate()}
	for _, perStep := range []bool{false, true} {
		r.cfg.LRPerStep = perStep
		for epoch := range cfg.Epochs {
			r.done = progress{Epochs: epoch}
			for step := range r.steps {
				place := float64(epoch)
				if perStep {
					place += float64(step) / 10
				}
				if got, want := r.rate(step), r.schedule.Rate(place); got != want {
					t.Errorf("LRPerStep %v, epoch %d, step %d: rate %v, want %v", perStep, epoch, step, got, want)
				}
			}
		}
	}
}
