package engine

import (
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
	"bnkit/engine/rundir"
)

// TestFirstConvolutionStatistics computes the statistics of the first convolution by plain
// loops in float64, and compares the re-estimated and the running statistics with them.
func TestFirstConvolutionStatistics(t *testing.T) {
	cfg := tinyConfig()
	cfg.Epochs, cfg.Batch, cfg.Augment, cfg.WithStats = 1, 75, false, true
	r, dir := trainedRun(t, cfg) // 2 steps
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Estimation; s.Seed != 1 || s.Batch != 128 || s.Batches != 1 {
		t.Fatalf("the header records estimation %+v, want seed 1 and one batch of 128", s)
	}
	e, err := m.Evaluator(r.data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Reestimate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, _ := e.estimationLoader.Start(t.Context(), 0, 0).Next()
	compareFirst(t, "re-estimated", m, got, func(c int) (mean, variance float64) {
		return convolutionMoments(m, b.Images, b.N, c)
	})

	// The stem's weights are frozen, so both steps saw the same convolution.
	compareFirst(t, "running", m, m.Stored, func(c int) (mean, variance float64) {
		mean, variance = 0, 1
		batches := r.loader.Start(t.Context(), 0, 0)
		defer batches.Close()
		for b, ok := batches.Next(); ok; b, ok = batches.Next() {
			bm, bv := convolutionMoments(m, b.Images, b.N, c)
			mean, variance = 0.9*mean+0.1*bm, 0.9*variance+0.1*bv
		}
		return mean, variance
	})
}

// compareFirst compares the statistics of the first unit with those that want returns.
func compareFirst(t *testing.T, what string, m *Model, got *nn.Statistics, want func(c int) (mean, variance float64)) {
	t.Helper()
	for c := range m.Network.Units[0].OutShape.C {
		mean, variance := want(c)
		if !closeTo(got.Mean[0][c], mean, 1e-5) || !closeTo(got.Var[0][c], variance, 1e-5) {
			t.Errorf("%s, channel %d: mean %v and variance %v, want %v and %v", what, c, got.Mean[0][c], got.Var[0][c], mean, variance)
		}
	}
}

// convolutionMoments returns the mean and unbiased variance of channel k of the first
// convolution over n pictures.
func convolutionMoments(m *Model, x []float32, n, k int) (mean, variance float64) {
	in, w := m.Network.Input, m.Params.Named("conv.weight")
	var values []float64
	for i := range n {
		for y := range in.H {
			for z := range in.W {
				sum := 0.0
				for c := range in.C {
					for dy := -1; dy <= 1; dy++ {
						for dz := -1; dz <= 1; dz++ {
							if y+dy < 0 || y+dy >= in.H || z+dz < 0 || z+dz >= in.W {
								continue
							}
							sum += float64(w[((k*in.C+c)*3+dy+1)*3+dz+1]) * float64(x[((i*in.C+c)*in.H+y+dy)*in.W+z+dz])
						}
					}
				}
				values = append(values, sum)
			}
		}
	}
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		variance += (v - mean) * (v - mean) / float64(len(values)-1)
	}
	return mean, variance
}

// TestReestimate compares the statistics of every unit with those of the float64 reference
// network on batches that the test assembles, and checks that the number of threads and
// repetition do not matter.
func TestReestimate(t *testing.T) {
	cfg := tinyConfig()
	cfg.Epochs = 1
	r, dir := trainedRun(t, cfg)
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	m.Estimation = Estimation{Seed: 5, Batch: 32, Batches: 3}
	var all []*nn.Statistics
	for _, threads := range []int{1, 3} {
		e, err := m.Evaluator(r.data, threads)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for range 2 {
			s, err := e.Reestimate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
	}
	want := naiveStatistics(t, m, r, 5, 32, 3)
	for u := range want.Mean {
		for i, s := range all {
			if !slices.Equal(s.Mean[u], all[0].Mean[u]) || !slices.Equal(s.Var[u], all[0].Var[u]) {
				t.Errorf("unit %d: estimate %d differs from estimate 0, want the same bits", u, i)
			}
		}
		for c := range want.Mean[u] {
			if !closeTo(all[0].Mean[u][c], want.Mean[u][c], 1e-4) || !closeTo(all[0].Var[u][c], want.Var[u][c], 1e-4) {
				t.Errorf("unit %d, channel %d: mean %v, variance %v; want %v, %v", u, c, all[0].Mean[u][c], all[0].Var[u][c], want.Mean[u][c], want.Var[u][c])
			}
		}
	}
	m.Estimation.Batches = 5
	var e *ModelError
	if _, err := m.Evaluator(r.data, 1); !errors.As(err, &e) {
		t.Errorf("5 batches of 32 from 150 pictures: got error %v, want a *ModelError", err)
	}
}

// naiveStatistics averages float64 batch statistics over pictures in the order that the seed
// draws.
func naiveStatistics(t *testing.T, m *Model, r *run, seed uint64, batch, batches int) *nn.Statistics {
	t.Helper()
	params := nn.NewParams[float64](m.Network, nil)
	for i, values := range m.Params.Values {
		for j, v := range values {
			params.Values[i][j] = float64(v)
		}
	}
	plan, err := nn.NewTraining(m.Network, kernel.Generic[float64](), params, nn.TrainingOptions{Batch: batch, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	split := r.data.Train
	order := make([]int32, split.Len())
	stream := rng.NewStream(seed, "shuffle/epoch/0")
	stream.Permutation(order)
	mean := nn.NewStatistics(m.Network)
	mapValues(mean.Mean, func(float64) float64 { return 0 })
	mapValues(mean.Var, func(float64) float64 { return 0 })
	for b := range batches {
		var x []float64
		labels := make([]int32, batch)
		for _, picture := range order[b*batch : (b+1)*batch] {
			for i, v := range split.Image(int(picture)) {
				c := i / (split.Height * split.Width)
				x = append(x, (float64(v)/255-float64(r.data.Mean[c]))/float64(r.data.Std[c]))
			}
		}
		plan.Forward(x, labels)
		s := plan.BatchStatistics()
		for u := range mean.Mean {
			for c := range mean.Mean[u] {
				mean.Mean[u][c] += s.Mean[u][c] / float64(batches)
				mean.Var[u][c] += s.Var[u][c] / float64(batches)
			}
		}
	}
	return mean
}

// TestEvaluate checks that an evaluation covers the whole test split, names the statistics that
// it used, works for a variant, and can be written as JSON.
func TestEvaluate(t *testing.T) {
	cfg := tinyConfig()
	cfg.WithStats = true
	r, dir := trainedRun(t, cfg)
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Evaluator(r.data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Evaluate(t.Context(), m.Stored)
	if err != nil {
		t.Fatal(err)
	}
	last := r.metrics[len(r.metrics)-1]
	low, high := Wilson(int(math.Round(40*last.TestAccuracy)), 40)
	want := Evaluation{last.TestAccuracy, [2]float64{low, high}, last.TestLoss, 40, StatisticsStored}
	if got != want {
		t.Errorf("evaluation %+v, want %+v, as training measured", got, want)
	}
	stats, err := e.Reestimate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err = e.Evaluate(t.Context(), stats); err != nil || got.Statistics != StatisticsReestimated || got.TestLoss == want.TestLoss {
		t.Errorf("with re-estimated statistics: %+v, %v; want %q statistics and a loss other than %v", got, err, StatisticsReestimated, want.TestLoss)
	}

	// Without γ and β every picture has the same logits, the bias of the output layer.
	flat := m.Variant()
	for u := range m.Network.Units {
		clear(flat.Params.Of(u, arch.Gamma))
		clear(flat.Params.Of(u, arch.Beta))
	}
	flatEvaluator, err := e.ForVariant(flat)
	if err != nil {
		t.Fatal(err)
	}
	bias := m.Params.Named("fc.bias")
	loss := nn.Loss{}
	for _, label := range r.data.Test.Labels {
		loss.Add(nn.CrossEntropy(bias, []int32{int32(label)}, len(bias)))
	}
	if got, err = flatEvaluator.Evaluate(t.Context(), m.Stored); err != nil || !closeTo(got.TestLoss, loss.Mean(), 1e-12) || got.TestAccuracy != loss.Accuracy() {
		t.Errorf("without γ and β: %+v, %v; want loss %v and accuracy %v", got, err, loss.Mean(), loss.Accuracy())
	}
	if got, err = e.Evaluate(t.Context(), m.Stored); err != nil || got != want {
		t.Errorf("measuring the model after its variant gives %+v, %v; want %+v", got, err, want)
	}

	b, err := json.Marshal(Evaluation{0.5, [2]float64{0.25, 0.75}, 1.25, 40, StatisticsStored})
	const wantJSON = `{"test_accuracy":0.5,"test_accuracy_interval":[0.25,0.75],"test_loss":1.25,"examples":40,"statistics":"stored"}`
	if err != nil || string(b) != wantJSON {
		t.Errorf("an evaluation is encoded as %s, %v; want %s", b, err, wantJSON)
	}
	other := *r.data
	other.Classes = other.Classes[:3]
	var me *ModelError
	if _, err := m.Evaluator(&other, 1); !errors.As(err, &me) {
		t.Errorf("data of 3 classes: got error %v, want a *ModelError", err)
	}
}
