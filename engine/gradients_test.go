package engine

import (
	"bytes"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/rundir"
)

// TestGradientsAgainstFloat64 compares the gradients of an epoch with gradients that the
// plain-Go kernels compute in float64, for each batch with the parameters before its step.
// Penalties, clipping and weight decay change the parameters but not the measured gradients.
func TestGradientsAgainstFloat64(t *testing.T) {
	data := synthetic(70, 20) // 4 batches of 16, and 6 pictures left out
	for name, change := range map[string]func(*config.Config){
		"bn":       func(c *config.Config) { c.GammaL1, c.BetaL2, c.ClipNorm, c.LabelSmoothing = 1e-2, 1e-2, 0.5, 0.1 },
		"all":      func(c *config.Config) { c.Trainable, c.Augment = "all", false },
		"none":     func(c *config.Config) { c.Trainable = "none" },
		"output":   func(c *config.Config) { c.Trainable = "output" },
		"random-2": func(c *config.Config) { c.Trainable = "random-2" },
		"shortcut": func(c *config.Config) { c.Trainable = "bn+shortcut" },
		"biases":   func(c *config.Config) { c.Arch, c.BNEvery, c.NoShift, c.Trainable = "convnet", 2, "*", "all" },
	} {
		cfg := tinyConfig()
		cfg.TrackGradients = true
		change(&cfg)
		r, err := newRun(t.Context(), cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.trainer.Close()
		if r.dir, err = create(&r.options); err != nil {
			t.Fatal(err)
		}
		defer r.dir.Release()
		if err := r.begin(); err != nil {
			t.Fatal(err)
		}
		net, valuesBefore := r.trainer.network, [][][]float32{cloneValues(r.trainer.params)}
		r.options.Step = func(StepReport) { valuesBefore = append(valuesBefore, cloneValues(r.trainer.params)) }
		if err := r.epoch(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := r.metrics[0].Gradients
		if got.Batches != 4 || got.Examples != 64 || got.Statistics != "batch" || got.Augmented != cfg.Augment {
			t.Errorf("%s: gradients %+v, want those of 4 batches and 64 pictures with batch statistics, augmented: %v", name, got, cfg.Augment)
		}

		params := nn.NewParams[float64](net, nil)
		plan, err := nn.NewTraining(net, kernel.Generic[float64](), params, nn.TrainingOptions{
			Batch: cfg.Batch, Threads: 1, Gradients: nn.AllGradients, LabelSmoothing: cfg.LabelSmoothing})
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Close()
		sums := make([]float64, len(params.Tensors))
		batches := r.loader.Start(t.Context(), 0, 0)
		defer batches.Close()
		for step := range 4 {
			b, ok := batches.Next()
			if !ok {
				t.Fatal(batches.Err())
			}
			for i, values := range valuesBefore[step] {
				for j, v := range values {
					params.Values[i][j] = float64(v)
				}
			}
			x := make([]float64, len(b.Images))
			for i, v := range b.Images {
				x[i] = float64(v)
			}
			plan.Repack()
			plan.Forward(x, b.Labels)
			plan.Backward()
			for i, values := range plan.Gradients().Values {
				for _, g := range values {
					sums[i] += math.Abs(g)
				}
			}
		}
		type total struct {
			sum                 float64
			parameters, trained int
		}
		totals, layers := map[rundir.GradientKind]total{}, map[rundir.GradientKind]int{}
		trains := referenceMask(net, cfg.Trainable, cfg.Seed)
		for i, x := range params.Tensors {
			kind := map[arch.Kind]rundir.GradientKind{arch.ConvWeight: "convolution", arch.ConvBias: "convolution_bias", arch.Gamma: "gamma", arch.Beta: "beta",
				arch.OutputWeight: "output_weight", arch.OutputBias: "output_bias"}[x.Kind]
			layer := strings.TrimSuffix(strings.TrimSuffix(x.Name, ".weight"), ".bias")
			n := len(params.Values[i])
			all := totals[kind]
			all.sum += sums[i]
			all.parameters += n
			for j := range n {
				if trains(i, j) {
					all.trained++
				}
			}
			totals[kind] = all
			layers[kind]++
			want := sums[i] / float64(4*n)
			if mean, ok := got.Kinds[kind].Layers[layer]; !ok || !(math.Abs(float64(mean)-want) <= 2e-4*want) {
				t.Errorf("%s: %s of %s has mean |gradient| %v, want %v", name, kind, layer, mean, want)
			}
		}
		for kind, want := range totals {
			k, mean := got.Kinds[kind], want.sum/float64(4*want.parameters)
			if !(math.Abs(float64(k.Mean)-mean) <= 1e-4*mean) || k.Parameters != want.parameters || k.Trained != want.trained || len(k.Layers) != layers[kind] {
				t.Errorf("%s: %s is %+v, want mean %v, %+v and %d layers", name, kind, k, mean, want, layers[kind])
			}
		}
		if len(got.Kinds) != len(totals) {
			t.Errorf("%s: kinds of gradients %v, want %v", name, slices.Sorted(maps.Keys(got.Kinds)), slices.Sorted(maps.Keys(totals)))
		}
	}
}

// cloneValues returns copies of the values of all tensors.
func cloneValues(p *nn.Params[float32]) [][]float32 {
	var all [][]float32
	for _, v := range p.Values {
		all = append(all, slices.Clone(v))
	}
	return all
}

// TestTrackingChangesNothing checks that ckpt.bnz is the same with and without tracking, and
// that the gradients have the same bits for any number of threads and for a run that is
// interrupted within and between epochs.
func TestTrackingChangesNothing(t *testing.T) {
	data := synthetic(100, 40) // 6 batches of 16
	for _, set := range everySet() {
		cfg := tinyConfig()
		cfg.Trainable, cfg.Epochs, cfg.WithStats = set, 2, true
		untracked := t.TempDir()
		if r := mustTrain(t, cfg, data, TrainOptions{Dir: untracked, Threads: 2}); r.Epochs[0].Gradients != nil ||
			bytes.Contains(readFile(t, untracked, rundir.MetricsFile), []byte("gradients")) {
			t.Errorf("%s: gradients of an untracked run: %+v, want none", set, r.Epochs[0].Gradients)
		}
		want := readFile(t, untracked, rundir.CheckpointFile)
		cfg.TrackGradients = true
		var first []rundir.EpochMetrics
		check := func(name, dir string) {
			t.Helper()
			if !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), want) {
				t.Errorf("%s, %s: ckpt.bnz differs from that without tracking, want the same bytes", set, name)
			}
			rows, err := rundir.ReadMetrics(filepath.Join(dir, rundir.MetricsFile))
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = rows
			}
			if len(rows) != cfg.Epochs {
				t.Fatalf("%s, %s: %d rows in metrics.jsonl, want %d", set, name, len(rows), cfg.Epochs)
			}
			for i, row := range rows {
				if len(row.Gradients.Kinds) != 5 || !reflect.DeepEqual(row.Gradients, first[i].Gradients) {
					t.Errorf("%s, %s: gradients of epoch %d are %+v, want 5 kinds and %+v, as with one thread", set, name, i+1, row.Gradients, first[i].Gradients)
				}
			}
		}
		for threads, name := range []string{1: "one thread", "two threads", "three threads"} {
			if threads > 0 {
				dir := t.TempDir()
				r := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: threads})
				check(name, dir)
				if !reflect.DeepEqual(r.Epochs[1].Gradients, first[1].Gradients) {
					t.Errorf("%s, %s: the gradients of the result are %+v, want %+v, as in metrics.jsonl", set, name, r.Epochs[1].Gradients, first[1].Gradients)
				}
			}
		}
		if reflect.DeepEqual(first[0].Gradients, first[1].Gradients) {
			t.Errorf("%s: two epochs have the same gradients %+v, want different ones", set, first[0].Gradients)
		}
		dir := t.TempDir()
		for i, steps := range []int{1, 5, 3} { // step 6 ends the epoch, so the measurement of the test split is interrupted
			interruptAfter(t, cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: i > 0}, steps)
		}
		mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true})
		check("interrupted three times", dir)
	}
}

// TestGradientSums checks that a state can hold sums that are not finite, that exactly the kinds
// of these sums are then missing from the means, and that tensors that are not sums are refused.
func TestGradientSums(t *testing.T) {
	g := newGradientSums(tinyNetwork(t), nn.NewTrainedParams[float32](tinyNetwork(t), arch.BN))
	gradients := nn.NewParams[float32](tinyNetwork(t), nil)
	for _, v := range gradients.Values {
		for i := range v {
			v[i] = float32(1 - 2*(i%2)) // ±1
		}
	}
	gradients.Named("bn.bias")[3] = float32(math.Inf(-1))
	gradients.Named("fc.bias")[0] = float32(math.NaN())
	for range 3 {
		g.add(gradients)
	}
	restored := newGradientSums(tinyNetwork(t), nn.NewTrainedParams[float32](tinyNetwork(t), arch.BN))
	restore := func(change func([]checkpoint.Tensor)) error {
		ts := g.stateTensors()
		change(ts)
		return restored.restore(newStoredTensors(&checkpoint.File{Tensors: ts}))
	}
	if err := restore(func([]checkpoint.Tensor) {}); err != nil {
		t.Fatal(err)
	}
	kinds := restored.means(3)
	if len(kinds) != 3 || kinds["convolution"].Mean != 1 || kinds["gamma"].Layers["bn"] != 1 || kinds["output_weight"].Mean != 1 {
		t.Errorf("mean gradients %+v, want 1 for convolution, gamma and output_weight, and no other kinds", kinds)
	}
	for name, change := range map[string]func([]checkpoint.Tensor){
		"a missing tensor": func(ts []checkpoint.Tensor) { ts[2].Name = "other" },
		"a negative sum":   func(ts []checkpoint.Tensor) { ts[2].Float64[0] = -1 },
		"a sum in float32": func(ts []checkpoint.Tensor) { ts[2].Float32, ts[2].Float64 = []float32{1}, nil },
		"an array of sums": func(ts []checkpoint.Tensor) { ts[2].Shape = []int{1} },
	} {
		if restore(change) == nil {
			t.Errorf("%s: restore returned no error, want one", name)
		}
	}
}
