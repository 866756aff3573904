package optim_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/optim"
)

// goldenFile is the content of testdata/training.json, which golden_training.py writes.
type goldenFile struct {
	Problem map[string]struct { // by tensor; the loss of each is Σ ½·curvature·(w - target)²
		Start, Curvature, Target []float64
	}
	Optimizers []struct {
		Config config.Config
		Steps  []map[string][]float64 // the tensors after each step
	}
	Schedules []struct {
		Config config.Config
		Rates  []float64 // of each epoch or, with LRPerStep, of each quarter of an epoch
	}
}

// readGolden reads testdata/training.json.
func readGolden(t *testing.T) *goldenFile {
	t.Helper()
	var g goldenFile
	b, err := os.ReadFile("testdata/training.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return &g
}

// TestOptimizersLikePyTorch compares parameters with those of PyTorch's optimizers after each
// step. It trains the first elements of some tensors. All other elements are zero and must stay
// zero.
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
		o := optim.New(params, kernel.Best(), c.Config.Method(), c.Config.Regularisation())
		for step, want := range c.Steps {
			for name, p := range golden.Problem {
				w, g := params.Named(name), gradients.Named(name)
				for i := range p.Start {
					g[i] = float32(p.Curvature[i] * (float64(w[i]) - p.Target[i]))
				}
			}
			o.Step(params, gradients, c.Config.LR)
			for name, values := range want {
				for i, v := range values {
					if got := float64(params.Named(name)[i]); !closeTo(got, v, tolerance) {
						t.Fatalf("%s: after %d steps %s[%d] is %v, want %v", text, step+1, name, i, got, v)
					}
				}
			}
		}
		if len(c.Steps) != 20 || len(c.Steps[0]) != len(golden.Problem) {
			t.Errorf("%s: the golden file has %d steps of %d tensors, want 20 of %d", text, len(c.Steps), len(c.Steps[0]), len(golden.Problem))
		}
		for i, x := range params.Tensors {
			for j := len(golden.Problem[x.Name].Start); j < len(params.Values[i]); j++ {
				if v := params.Values[i][j]; v != 0 {
					t.Fatalf("%s: %s[%d] is %v, want 0, because its gradient is 0", text, x.Name, j, v)
				}
			}
		}
	}
}

// TestSchedulesGolden compares the learning rates of whole runs with those in the golden file.
// They come from PyTorch or, for schedules that PyTorch lacks, from the published formulas.
func TestSchedulesGolden(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range readGolden(t).Schedules {
		if err := c.Config.Validate(); err != nil {
			t.Fatalf("%+v: Validate returns error %v, want none", c.Config, err)
		}
		steps := 1
		if c.Config.LRPerStep {
			steps = 4
		}
		if len(c.Rates) != steps*c.Config.Epochs {
			t.Fatalf("%+v: the golden file has %d rates, want %d", c.Config, len(c.Rates), steps*c.Config.Epochs)
		}
		schedule := c.Config.LearningRate()
		for i, want := range c.Rates {
			// The tolerance is relative, because the rates differ by orders of magnitude.
			if got := schedule.Rate(float64(i) / float64(steps)); math.Abs(got-want) > 1e-8*want+1e-17 {
				t.Errorf("schedule %s, warm-up %d: rate %d is %v, want %v", c.Config.Schedule, c.Config.LRWarmup, i, got, want)
			}
		}
		covered[c.Config.Schedule] = true
	}
	for _, s := range config.Find("schedule").Values {
		if !covered[s] {
			t.Errorf("the golden file has no rates of schedule %s, want some", s)
		}
	}
}
