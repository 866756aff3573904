package engine

import (
	"encoding/json"
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
