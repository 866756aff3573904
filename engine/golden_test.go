package engine

import (
	"encoding/json"
	"math"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// golden is testdata/training.json, by golden_training.py with PyTorch.
type golden struct {
	Problem map[string]struct { // by tensor: its loss is Σ ½·curvature·(w - target)²
		Start, Curvature, Target []float64
	}
	Optimizers []struct {
		Config Config
		Steps  []map[string][]float64 // the tensors after each
	}
	Schedules []struct {
		Config Config
		Rates  []float64 // of each epoch; of each quarter of one with LRPerStep
	}
}

func readGolden(t *testing.T) *golden {
	t.Helper()
	var g golden
	if err := json.Unmarshal(readFile(t, "testdata", "training.json"), &g); err != nil {
		t.Fatal(err)
	}
	return &g
}

// TestOptimizersLikePyTorch follows PyTorch's optimizers step by step. The
// first elements of some tensors take part; all others are and stay zero.
func TestOptimizersLikePyTorch(t *testing.T) {
	const tolerance = 2e-6
	golden := readGolden(t)
	for _, c := range golden.Optimizers {
		text, err := json.Marshal(c.Config)
		if err != nil {
			t.Fatal(err)
		}
		net := tinyNetwork(t)
		params, gradients := nn.NewParams[float32](net, nil), nn.NewParams[float32](net, nil)
		for name, p := range golden.Problem {
			for i, v := range p.Start {
				params.Named(name)[i] = float32(v)
			}
		}
		o := newOptimizer(net, kernel.Best(), arch.All, &c.Config)
		for step, want := range c.Steps {
			for name, p := range golden.Problem {
				w, g := params.Named(name), gradients.Named(name)
				for i := range p.Start {
					g[i] = float32(p.Curvature[i] * (float64(w[i]) - p.Target[i]))
				}
			}
			o.step(params, gradients, c.Config.LR)
			for name, values := range want {
				for i, v := range values {
					if got := float64(params.Named(name)[i]); !closeTo(got, v, tolerance) {
						t.Fatalf("%s: after %d steps %s[%d] is %v, want %v", text, step+1, name, i, got, v)
					}
				}
			}
		}
		if len(c.Steps) != 20 || len(c.Steps[0]) != len(golden.Problem) {
			t.Errorf("%s: %d steps of %d tensors", text, len(c.Steps), len(c.Steps[0]))
		}
		for i, x := range params.Tensors {
			for j, v := range params.Values[i][len(golden.Problem[x.Name].Start):] {
				if v != 0 {
					t.Fatalf("%s: %s[%d] moved to %v without a gradient", text, x.Name, j, v)
				}
			}
		}
	}
}

// TestSchedulesLikePyTorch compares every rate of a run.
func TestSchedulesLikePyTorch(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range readGolden(t).Schedules {
		if err := c.Config.Validate(); err != nil {
			t.Fatalf("%+v: %v", c.Config, err)
		}
		steps := 1
		if c.Config.LRPerStep {
			steps = 4
		}
		if len(c.Rates) != steps*c.Config.Epochs {
			t.Fatalf("%+v: %d rates", c.Config, len(c.Rates))
		}
		r := run{cfg: c.Config, steps: steps}
		for i, want := range c.Rates {
			r.done = progress{Epochs: i / steps, Steps: i % steps}
			// The rates differ by orders of magnitude.
			if got := r.rate(); math.Abs(got-want) > 1e-8*want+1e-17 {
				t.Errorf("schedule %s, warm-up %d: rate %d is %v, want %v", c.Config.Schedule, c.Config.LRWarmup, i, got, want)
			}
		}
		covered[c.Config.Schedule] = true
	}
	for _, s := range Schedules {
		if !covered[s] {
			t.Errorf("no golden rates of schedule %s", s)
		}
	}
}

// TestRateChangesPerEpoch: without LRPerStep all steps of an epoch have one
// rate.
func TestRateChangesPerEpoch(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Schedule, cfg.LRWarmup, cfg.LRDrops = Cosine, 2, nil
	r := run{cfg: cfg, steps: 10}
	for epoch := range cfg.Epochs {
		r.done = progress{Epochs: epoch}
		first := r.rate()
		r.done.Steps = 9
		if r.rate() != first {
			t.Errorf("epoch %d: rate %v, then %v", epoch, first, r.rate())
		}
	}
}
