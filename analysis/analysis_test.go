package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// tinyData returns a data set of 8×8 grey pictures. The bright half of a picture depends on its
// class.
func tinyData(train, test int) *dataset.Data {
	split := func(n, shift int) *dataset.Split {
		s := &dataset.Split{Channels: 1, Height: 8, Width: 8}
		for i := range n {
			s.Labels = append(s.Labels, uint8(i%4))
			for p := range 64 {
				v := (i*37 + p*(23+shift)) % 90
				if half := []bool{p < 32, p >= 32, p%8 < 4, p%8 >= 4}; half[i%4] {
					v += 120
				}
				s.Images = append(s.Images, uint8(v))
			}
		}
		return s
	}
	return &dataset.Data{Name: "sample", Classes: []string{"top", "bottom", "left", "right"}, Digest: "tiny",
		Train: split(train, 0), Test: split(test, 4), Mean: []float32{0.4}, Std: []float32{0.3}}
}

// trainedModel trains ResNet-8 for three epochs and loads it from its file.
func trainedModel(t *testing.T, data *dataset.Data, withStats bool) *engine.Model {
	t.Helper()
	cfg := config.Default()
	cfg.Arch, cfg.Epochs, cfg.Batch, cfg.LRDrops, cfg.WithStats = "resnet-8", 3, 16, []int{2}, withStats
	r, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{Dir: filepath.Join(t.TempDir(), "run"), Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	m, err := engine.LoadModel(r.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// jsonOf returns v as JSON, in which test messages show the values behind pointers.
func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// snapshot returns copies of the values of all parameters.
func snapshot(m *engine.Model) [][]float32 {
	var all [][]float32
	for _, v := range m.Params.Values {
		all = append(all, slices.Clone(v))
	}
	return all
}

// checkUnchanged checks that the values of all parameters are still those of a snapshot.
func checkUnchanged(t *testing.T, m *engine.Model, before [][]float32) {
	t.Helper()
	for i, v := range m.Params.Values {
		if !slices.Equal(v, before[i]) {
			t.Errorf("%s has changed, want the values of the snapshot", m.Params.Tensors[i].Name)
		}
	}
}

// TestParameters compares the counts and quantiles of γ and β with those that plain loops give.
func TestParameters(t *testing.T) {
	m := trainedModel(t, tinyData(64, 32), false)
	// These values cover all cases that the thresholds distinguish.
	copy(m.Params.Of(1, arch.Gamma), []float32{0.0005, -0.005, 0.05, -0.01, 0.01})
	r, err := Describe(m)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sparsity != nil || r.Gradients != nil || r.Accuracy != nil || r.Sweep != nil || r.Layers[0].Gradient != nil {
		t.Error("the report has measurements that need data, want only distributions of γ and β")
	}
	if len(r.Layers) != len(m.Network.Units) {
		t.Fatalf("got %d layers, want %d", len(r.Layers), len(m.Network.Units))
	}
	below, total := make([]int, len(r.NearZero)), 0
	for i, l := range r.Layers {
		gamma := m.Params.Of(i, arch.Gamma)
		u := &m.Network.Units[i]
		if l.Name != u.BN || l.Channels != len(gamma) || l.Height != u.OutShape.H || l.Width != u.OutShape.W {
			t.Errorf("layer %d is %s with outputs of %d×%d×%d, want %s with %v", i, l.Name, l.Channels, l.Height, l.Width, u.BN, u.OutShape)
		}
		if l.Shortcut != strings.Contains(l.Name, "shortcut") {
			t.Errorf("%s is a shortcut: %v, want %v", l.Name, l.Shortcut, !l.Shortcut)
		}
		total += len(gamma)
		for k, threshold := range r.NearZero {
			n := 0
			for _, g := range gamma {
				if math.Abs(float64(g)) < threshold {
					n++
				}
			}
			below[k] += n
			if l.NearZero[k] != float64(n)/float64(len(gamma)) {
				t.Errorf("%s: the share below %v is %v, want %d of %d", l.Name, threshold, l.NearZero[k], n, len(gamma))
			}
		}
		for _, part := range []struct {
			d      Distribution
			values []float32
			edges  []float64
		}{{l.Gamma, gamma, r.GammaEdges}, {l.Beta, m.Params.Of(i, arch.Beta), r.BetaEdges}} {
			checkDistribution(t, l.Name, part.d, part.values, part.edges)
		}
	}
	if r.Classes != 4 {
		t.Errorf("%d classes, want 4", r.Classes)
	}
	if r.Total.Channels != total {
		t.Errorf("%d channels, want %d", r.Total.Channels, total)
	}
	for k := range below {
		if r.Total.NearZero[k] != float64(below[k])/float64(total) {
			t.Errorf("the share of all γ below %v is %v, want %d of %d", r.NearZero[k], r.Total.NearZero[k], below[k], total)
		}
	}
}

// checkDistribution compares a distribution with counts and quantiles of values.
func checkDistribution(t *testing.T, name string, d Distribution, values []float32, edges []float64) {
	t.Helper()
	counts := make([]int, len(edges)-1)
	sorted := make([]float64, len(values))
	for i, v := range values {
		sorted[i] = float64(v)
		bin := sort.Search(len(edges), func(e int) bool { return edges[e] > float64(v) }) - 1
		counts[min(bin, len(counts)-1)]++
	}
	if !slices.Equal(counts, d.Histogram) {
		t.Errorf("%s: histogram %v, want %v", name, d.Histogram, counts)
	}
	sort.Float64s(sorted)
	for i, p := range Levels {
		// The quantile is the smallest value v such that a share p or more of all values
		// is at most v.
		rank := max(int(math.Ceil(p*float64(len(sorted))))-1, 0)
		if d.Quantiles[i] != sorted[rank] {
			t.Errorf("%s: quantile %v is %v, want %v", name, p, d.Quantiles[i], sorted[rank])
		}
	}
}

// TestEdges checks that edges rise, cover all values and include 0, and that those of one range are
// exactly round numbers.
func TestEdges(t *testing.T) {
	for _, values := range [][]float64{{0}, {0.3}, {-2}, {-0.11, 0.52}, {1e-9, 1e-8}, {-3, 1000}, {-0.3, 0.93}, {math.Nextafter(-0.3, -1), math.Nextafter(0.6, 1)}, {-math.MaxFloat32, math.MaxFloat32}} {
		e := edges(values)
		if len(e) < 2 || len(e) > bins+3 || e[0] > min(values[0], 0) || e[len(e)-1] < max(values[len(values)-1], 0) || !slices.Contains(e, 0) || !sort.Float64sAreSorted(e) || len(slices.Compact(slices.Clone(e))) != len(e) {
			t.Errorf("edges of %v: %v, want 2 to %d rising numbers that cover 0 and all values", values, e, bins+3)
		}
	}
	// Edges are exactly the round numbers, without rounding errors.
	if e := edges([]float64{-0.3, 0.93}); e[0] != -0.3 || e[3] != -0.15 || e[6] != 0 || e[7] != 0.05 {
		t.Errorf("edges %v, want multiples of 0.05 from -0.3", e)
	}
}

// TestSparsity sets γ of one BatchNorm to 0, so that the outputs of its ReLU are max(β, 0)
// everywhere.
func TestSparsity(t *testing.T) {
	data := tinyData(64, 32)
	m := trainedModel(t, data, false)
	const unit = 1 // blocks.0.conv1: a ReLU right after its BatchNorm
	gamma, beta := m.Params.Of(unit, arch.Gamma), m.Params.Of(unit, arch.Beta)
	for c := range gamma {
		gamma[c], beta[c] = 0, 1
	}
	beta[0], beta[1], beta[2] = -1, 0, -0.5
	r, err := Run(context.Background(), m, data, Options{Threads: 2, GradientBatches: 1, Thresholds: []float64{0.01}})
	if err != nil {
		t.Fatal(err)
	}
	s := r.Layers[unit].Sparsity
	if s == nil || s.MostlyOff != 3 || s.AlwaysOn != 13 || s.Channels != 16 || s.Zero != 3.0/16 {
		t.Errorf("sparsity is %+v, want 3 of 16 channels off, 13 on, and a share of zeros of 3/16", s)
	}
	if *r.Sparsity != (Scope{Split: "test", Examples: 32, Batches: 1, Statistics: "re-estimated"}) {
		t.Errorf("sparsity was measured over %+v, want 32 pictures of the test split in 1 batch, re-estimated statistics", *r.Sparsity)
	}
	var zeros, outputs float64
	for i, l := range r.Layers {
		u := &m.Network.Units[i]
		if (l.Sparsity != nil) != u.ReLU {
			t.Errorf("%s has sparsity: %v, want %v", l.Name, l.Sparsity != nil, u.ReLU)
		}
		want := ""
		switch {
		case u.ReLU && u.Add.Kind == arch.NoResidual:
			want = u.BN
		case u.ReLU:
			want = u.BN + " + residual"
		}
		if l.ReLU != want {
			t.Errorf("%s: the ReLU's input is %q, want %q", l.Name, l.ReLU, want)
		}
		if l.Sparsity != nil {
			n := float64(u.OutShape.C * u.OutShape.H * u.OutShape.W)
			zeros, outputs = zeros+l.Sparsity.Zero*n, outputs+n
		}
	}
	if math.Abs(r.Total.Sparsity.Zero-zeros/outputs) > 1e-12 {
		t.Errorf("the share of all zeros is %v, want %v, as the layers give", r.Total.Sparsity.Zero, zeros/outputs)
	}
	b, err := json.Marshal(r.Layers[slices.IndexFunc(r.Layers, func(l Layer) bool { return l.Sparsity == nil })])
	if err != nil || strings.Contains(string(b), "sparsity") {
		t.Errorf("the JSON of a shortcut is %s (error %v), want no sparsity", b, err)
	}
}

// TestGradients compares gradients with those that the generic kernels compute in float64 over
// the same batches.
func TestGradients(t *testing.T) {
	data := tinyData(300, 16)
	m := trainedModel(t, data, false)
	r, err := Run(context.Background(), m, data, Options{Threads: 2, GradientBatches: 2, Thresholds: []float64{0.01}})
	if err != nil {
		t.Fatal(err)
	}
	if *r.Gradients != (Scope{Split: "train", Examples: 256, Batches: 2, Statistics: engine.StatisticsBatch}) {
		t.Errorf("gradients were measured over %+v, want 256 pictures of the training split in 2 batches, batch statistics", *r.Gradients)
	}
	params := nn.NewParams[float64](m.Network, nil)
	for i, values := range m.Params.Values {
		for j, v := range values {
			params.Values[i][j] = float64(v)
		}
	}
	step, err := nn.NewTraining(m.Network, kernel.Generic[float64](), params, nn.TrainingOptions{Batch: 128, Threads: 2, Gradients: nn.AllGradients})
	if err != nil {
		t.Fatal(err)
	}
	defer step.Close()
	loader, err := dataset.NewLoader(data.Train, dataset.LoaderConfig{Batch: 128, Seed: m.Estimation.Seed, Shuffle: true, DropLast: true, Mean: data.Mean, Std: data.Std})
	if err != nil {
		t.Fatal(err)
	}
	batches := loader.Start(context.Background(), 0, 0)
	defer batches.Close()
	sums := make([]float64, len(params.Values))
	for range 2 {
		b, ok := batches.Next()
		if !ok {
			t.Fatal(batches.Err())
		}
		x := make([]float64, len(b.Images))
		for i, v := range b.Images {
			x[i] = float64(v)
		}
		step.Forward(x, b.Labels)
		step.Backward()
		for i, values := range step.Gradients().Values {
			for _, v := range values {
				sums[i] += math.Abs(v) / float64(2*len(values))
			}
		}
	}
	for i, l := range r.Layers {
		for kind, got := range map[arch.Kind]float64{arch.ConvWeight: l.Gradient.Convolution, arch.Gamma: l.Gradient.Gamma, arch.Beta: l.Gradient.Beta} {
			// Each unit has three tensors, ordered by kind.
			if want := sums[3*i+int(kind)]; math.Abs(got-want) > 1e-3*want {
				t.Errorf("the gradient of %v of %s is %v, want %v", kind, l.Name, got, want)
			}
		}
	}
	if g := r.Total.Gradient; g.Gamma <= 0 || g.Beta <= 0 || g.Convolution <= 0 {
		t.Errorf("total gradients are %+v, want numbers above 0", g)
	}
}

// TestSweep checks the results of a sweep, and that it does not change the model.
func TestSweep(t *testing.T) {
	data := tinyData(64, 32)
	m := trainedModel(t, data, true)
	before := snapshot(m)
	r, err := Run(context.Background(), m, data, Options{Threads: 1, GradientBatches: 1, Thresholds: []float64{1e9, 0, 0.3}})
	if err != nil {
		t.Fatal(err)
	}
	checkUnchanged(t, m, before)
	evaluator, err := m.Evaluator(data, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer evaluator.Close()
	stats, err := evaluator.Reestimate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want, err := evaluator.Evaluate(context.Background(), stats)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Sweep) != 3 || *r.Sweep[0].TestLoss != want.TestLoss || r.Sweep[0].TestAccuracy != want.TestAccuracy || r.Sweep[0].Clamped != 0 {
		t.Errorf("the sweep is %s, want 3 rows, the first with nothing clamped and the loss and accuracy of %+v", jsonOf(r.Sweep), want)
	}
	if s := m.Estimation; *r.Reestimated != (Scope{Split: "train", Examples: s.Batches * s.Batch, Batches: s.Batches, Statistics: engine.StatisticsBatch}) {
		t.Errorf("statistics were re-estimated over %+v, want %+v", *r.Reestimated, s)
	}
	small := 0
	for i := range m.Network.Units {
		for _, g := range m.Params.Of(i, arch.Gamma) {
			if math.Abs(float64(g)) < 0.3 {
				small++
			}
		}
	}
	if r.Sweep[1].Threshold != 0.3 || r.Sweep[1].Clamped != small || *r.Sweep[1].TestLoss == *r.Sweep[0].TestLoss {
		t.Errorf("the row of 0.3 is %s, want %d clamped γ and another loss than %v", jsonOf(r.Sweep[1]), small, *r.Sweep[0].TestLoss)
	}
	// If every γ is 0, the network gives all pictures the same class, which is right for a
	// quarter of them.
	if r.Sweep[2].Share != 1 || r.Sweep[2].TestAccuracy != 0.25 {
		t.Errorf("the row with every γ clamped is %s, want share 1 and accuracy 0.25", jsonOf(r.Sweep[2]))
	}
	if want := constantLoss(m, data.Test.Labels); math.Abs(*r.Sweep[2].TestLoss-want) > 1e-5*want {
		t.Errorf("the loss with every γ clamped is %v, want %v", *r.Sweep[2].TestLoss, want)
	}
	if want := clampedLoss(t, m.Source.Path, data, 0.3); *r.Sweep[1].TestLoss != want {
		t.Errorf("the loss at 0.3 is %v, want %v, as for a model whose γ this test clamps", *r.Sweep[1].TestLoss, want)
	}
	stored, err := evaluator.Evaluate(context.Background(), m.Stored)
	if err != nil || r.Stored == nil || *r.Stored.TestLoss != stored.TestLoss {
		t.Errorf("stored statistics give %s, want the loss of %+v (error %v)", jsonOf(r.Stored), stored, err)
	}
}

// clampedLoss loads a checkpoint again, sets its small γ to 0, and returns its test loss.
func clampedLoss(t *testing.T, path string, data *dataset.Data, threshold float64) float64 {
	t.Helper()
	m, err := engine.LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Params.Tensors {
		if m.Params.Tensors[i].Kind != arch.Gamma {
			continue
		}
		for c, g := range m.Params.Values[i] {
			if g > -float32(threshold) && g < float32(threshold) {
				m.Params.Values[i][c] = 0
			}
		}
	}
	e, err := m.Evaluator(data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	stats, err := e.Reestimate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Evaluate(context.Background(), stats)
	if err != nil {
		t.Fatal(err)
	}
	return r.TestLoss
}

// constantLoss returns the test loss of m with every γ set to 0. The output of each unit then
// depends only on β and the residual, and is the same at every position.
func constantLoss(m *engine.Model, labels []uint8) float64 {
	out := make([][]float64, len(m.Network.Units))
	for i := range m.Network.Units {
		u := &m.Network.Units[i]
		for c, b := range m.Params.Of(i, arch.Beta) {
			v := float64(b)
			if u.Add.Kind != arch.NoResidual {
				v += out[u.Add.From][c]
			}
			if u.ReLU {
				v = max(v, 0)
			}
			out[i] = append(out[i], v)
		}
	}
	features := out[len(out)-1]
	weight, bias := m.Params.Named("fc.weight"), m.Params.Named("fc.bias")
	var sum float64
	logits := make([]float64, len(bias))
	for k := range logits {
		logits[k] = float64(bias[k])
		for c, f := range features {
			logits[k] += float64(weight[k*len(features)+c]) * f
		}
		sum += math.Exp(logits[k])
	}
	var loss float64
	for _, l := range labels {
		loss += math.Log(sum) - logits[l]
	}
	return loss / float64(len(labels))
}

// TestThreads checks that the number of threads does not change any result.
func TestThreads(t *testing.T) {
	data := tinyData(300, 32)
	m := trainedModel(t, data, true)
	var first []byte
	for _, threads := range []int{1, 2, 3} {
		r, err := Run(context.Background(), m, data, Options{Threads: threads, GradientBatches: 2, Thresholds: []float64{0.2}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Errorf("the report with %d threads is %s, want that with 1 thread, %s", threads, b, first)
		}
	}
}

// TestKeys checks that all JSON keys of a report are in snake case, and that the listed keys are
// among them.
func TestKeys(t *testing.T) {
	data := tinyData(64, 32)
	r, err := Run(context.Background(), trainedModel(t, data, true), data, Options{Threads: 2, GradientBatches: 1, Thresholds: []float64{0.2}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for k, x := range v {
				if k != strings.ToLower(k) || strings.ContainsAny(k, " -") {
					t.Errorf("the report has the key %q, want one in snake case", k)
				}
				seen[k] = true
				walk(x)
			}
		}
	}
	walk(tree)
	for _, k := range strings.Fields(`classes near_zero_thresholds gamma_edges beta_edges layers shortcut height width total relu zero mostly_off always_on
		quantiles histogram convolution sweep threshold share test_accuracy test_loss stored_statistics
		reestimated_over sparsity_over gradients_over accuracy_over split examples batches statistics augmented`) {
		if !seen[k] {
			t.Errorf("the report lacks the key %q, want it", k)
		}
	}
}

// TestRunErrors checks the errors for invalid options, and that Run stops if its context is
// cancelled and leaves the model unchanged.
func TestRunErrors(t *testing.T) {
	data := tinyData(64, 32)
	m := trainedModel(t, data, false)
	for _, o := range []Options{{NearZero: []float64{0}}, {Thresholds: []float64{math.NaN()}}, {Thresholds: []float64{-1}}, {GradientBatches: -1}} {
		var bad *OptionError
		if _, err := Run(context.Background(), m, data, o); !errors.As(err, &bad) {
			t.Errorf("%+v: got error %v, want an *OptionError", o, err)
		}
	}
	before := snapshot(m)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Run(ctx, m, data, Options{Progress: func(what string, _, _ int) {
		if strings.Contains(what, "clamped") {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error after cancelling is %v, want context.Canceled", err)
	}
	checkUnchanged(t, m, before)
}
