package engine

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
)

// everySet returns the names of all trainable sets, with three examples of the random ones.
func everySet() []string {
	var names []string
	for _, s := range arch.TrainableSets {
		names = append(names, string(s))
	}
	return append(names, "random-1", "random-2", "bn+random-12")
}

// TestStepAgainstFloat64 takes two steps with each set. It compares them with steps of SGD in
// float64, which use the plain-Go kernels and compute the gradients of every tensor. The
// trained values must change by the same amounts, up to rounding. All other values must stay
// bit-identical. The seed is chosen so that no input of a ReLU has different signs in float32
// and in float64.
func TestStepAgainstFloat64(t *testing.T) {
	data := synthetic(64, 20)
	for _, set := range everySet() {
		cfg := tinyConfig()
		cfg.Trainable, cfg.WeightDecay, cfg.Seed = set, 0.01, 3
		r, err := newRun(t.Context(), cfg, data, TrainOptions{Threads: 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.trainer.Close()
		net := r.trainer.network
		before := nn.NewParams[float32](net, nil)
		want, velocity := nn.NewParams[float64](net, nil), nn.NewParams[float64](net, nil)
		for i, values := range r.trainer.params.Values {
			copy(before.Values[i], values)
			for j, v := range values {
				want.Values[i][j] = float64(v)
			}
		}
		plan, err := nn.NewTraining(net, kernel.Generic[float64](), want, nn.TrainingOptions{Batch: cfg.Batch, Threads: 1, Gradients: nn.AllGradients})
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Close()
		trains := referenceMask(net, set, cfg.Seed)
		batches := r.loader.Start(t.Context(), 0, 0)
		defer batches.Close()
		for range 2 {
			b, ok := batches.Next()
			if !ok {
				t.Fatal(batches.Err())
			}
			x := make([]float64, len(b.Images))
			for i, v := range b.Images {
				x[i] = float64(v)
			}
			plan.Forward(x, b.Labels)
			plan.Backward()
			for i := range want.Tensors {
				for j, g := range plan.Gradients().Values[i] {
					if trains(i, j) {
						v := cfg.Momentum*velocity.Values[i][j] + g + cfg.WeightDecay*want.Values[i][j]
						velocity.Values[i][j] = v
						want.Values[i][j] -= cfg.LR * v
					}
				}
			}
			plan.Repack()
			r.trainer.Step(b.Images, b.Labels, cfg.LR)
		}
		for i := range want.Tensors {
			var change, difference float64
			for j, got := range r.trainer.params.Values[i] {
				if !trains(i, j) {
					if math.Float32bits(got) != math.Float32bits(before.Values[i][j]) {
						t.Fatalf("%s: %s[%d], which is not trained, changes from %v to %v, want no change", set, want.Tensors[i].Name, j, before.Values[i][j], got)
					}
					continue
				}
				start := float64(before.Values[i][j])
				change += (want.Values[i][j] - start) * (want.Values[i][j] - start)
				difference += (want.Values[i][j] - float64(got)) * (want.Values[i][j] - float64(got))
				if want.Values[i][j] == start {
					t.Errorf("%s: the reference of %s[%d], which is trained, stays at %v, want a change", set, want.Tensors[i].Name, j, start)
				}
			}
			if !(math.Sqrt(difference) <= 1e-3*math.Sqrt(change)) {
				t.Errorf("%s: the error of %s is %.2g times its change, want at most 1e-3", set, want.Tensors[i].Name, math.Sqrt(difference/change))
			}
		}
	}
}

// referenceMask returns a function that reports whether a set trains an element of a tensor,
// computed independently of the trainer, from the tensor's name and the set's definition. Set
// bn+shortcut needs a resnet-8.
func referenceMask(net *arch.Network, set string, seed uint64) func(tensor, element int) bool {
	bn := map[string]bool{}
	for _, u := range net.Units {
		bn[u.BN+".weight"], bn[u.BN+".bias"] = true, true
	}
	tensors := net.Tensors()
	k := map[string]int{"random-1": 1, "random-2": 2, "bn+random-12": 12}[set]
	chosen := make([]map[int]bool, len(tensors))
	for i, x := range tensors {
		if x.Kind != arch.ConvWeight {
			continue
		}
		chosen[i] = map[int]bool{}
		for channel := range x.Shape[0] {
			order := make([]int32, x.Len()/x.Shape[0])
			rng.NewStream(seed, fmt.Sprintf("chosen/%s/%d", x.Name, channel)).Permutation(order)
			for _, p := range order[:k] {
				chosen[i][channel*len(order)+int(p)] = true
			}
		}
		if len(chosen[i]) != k*x.Shape[0] {
			panic("a weight was chosen twice")
		}
	}
	return func(i, j int) bool {
		name := tensors[i].Name
		weight := name[len(name)-len("weight"):] == "weight"
		output := name == "fc.weight" || name == "fc.bias"
		shortcut := slices.Contains([]string{"blocks.1.shortcut.0.weight", "blocks.2.shortcut.0.weight"}, name)
		return map[string]bool{
			"all": true, "bn": bn[name], "output": output, "bn+output": bn[name] || output, "bn+shortcut": bn[name] || shortcut,
			"gamma": bn[name] && weight, "beta": bn[name] && !weight,
			"random-1": chosen[i][j], "random-2": chosen[i][j], "bn+random-12": bn[name] || chosen[i][j],
		}[set]
	}
}

// TestNothingTrained checks that without training the accuracy stays near chance and the training
// loss hardly changes, while the test loss changes with the running statistics.
func TestNothingTrained(t *testing.T) {
	data := synthetic(256, 64)
	cfg := tinyConfig()
	cfg.Trainable, cfg.Epochs, cfg.Augment = "none", 4, false
	r := mustTrain(t, cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 2})
	if r.Parameters != 0 {
		t.Errorf("%d parameters were trained, want 0", r.Parameters)
	}
	first, last := r.Epochs[0], r.Epochs[3]
	// The training loss may vary a little, because batches are shuffled and BatchNorm uses
	// their statistics.
	if math.Abs(first.TrainLoss-last.TrainLoss) > 0.05*first.TrainLoss || first.TestLoss == last.TestLoss {
		t.Errorf("the training loss went from %v to %v and the test loss from %v to %v; want nearly the same training loss and another test loss", first.TrainLoss, last.TrainLoss, first.TestLoss, last.TestLoss)
	}
	if last.TestAccuracy > 0.45 {
		t.Errorf("test accuracy %v, want at most 0.45; chance is 0.25", last.TestAccuracy)
	}
}
