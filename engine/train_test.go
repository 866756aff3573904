package engine

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bnkit/checkpoint"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// interruptAfter interrupts training after the given number of steps, and checks that it fails
// with ErrInterrupted and leaves resume.bnz.
func interruptAfter(t *testing.T, cfg config.Config, data *dataset.Data, o TrainOptions, steps int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	taken := 0
	o.Step = func(StepReport) {
		if taken++; taken == steps {
			cancel()
		}
	}
	_, err := Train(ctx, cfg, data, o)
	if !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v, want one that wraps ErrInterrupted and context.Canceled", err)
	}
	if taken != steps {
		t.Errorf("training took %d steps, want it to stop after %d", taken, steps)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, rundir.ResumeFile)); err != nil {
		t.Errorf("looking for resume.bnz returns error %v, want none", err)
	}
}

// TestLearning checks that a network learns the synthetic pictures with both trainable sets,
// and that the result, the metrics and the reports of steps agree.
func TestLearning(t *testing.T) {
	data := synthetic(256, 64)
	for _, set := range sets {
		cfg := tinyConfig()
		cfg.Trainable, cfg.Epochs, cfg.LRDrops, cfg.Augment = set, 6, []int{5}, false
		var epochs []rundir.EpochMetrics
		var steps []StepReport
		dir := t.TempDir()
		r := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2,
			Step: func(s StepReport) { steps = append(steps, s) }, Epoch: func(m rundir.EpochMetrics) { epochs = append(epochs, m) }})
		first, last := r.Epochs[0], r.Epochs[len(r.Epochs)-1]
		if !(last.TrainLoss < 0.6*first.TrainLoss) || last.TestAccuracy < 0.8 {
			t.Errorf("%s: loss %.3f to %.3f, test accuracy %.2f; want a loss that falls by at least 40%%, and an accuracy of at least 0.8", set, first.TrainLoss, last.TrainLoss, last.TestAccuracy)
		}
		rows, err := rundir.ReadMetrics(filepath.Join(dir, rundir.MetricsFile))
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != 6 || len(epochs) != 6 || len(steps) != 6*16 {
			t.Fatalf("%d rows, %d epochs and %d steps reported, want 6, 6 and 96", len(rows), len(epochs), len(steps))
		}
		for i, m := range rows {
			if m != epochs[i] || m != r.Epochs[i] {
				t.Errorf("epoch %d: the row %+v, the report %+v and the result %+v differ, want the same", i+1, m, epochs[i], r.Epochs[i])
			}
			wantRate := 0.1
			if i >= 5 {
				wantRate = 0.01
			}
			if m.Epoch != i+1 || m.LearningRate != wantRate || m.TrainExamples != 256 || m.TestExamples != 64 || m.TestStatistics != StatisticsRunning ||
				m.GeneralisationGap != m.TrainAccuracy-m.TestAccuracy || !(m.Seconds > 0) || !(m.ImagesPerSecond > 0) {
				t.Errorf("row %+v, want epoch %d at rate %v with 256 training and 64 test pictures, %s statistics, the gap of its accuracies, and times and speeds above 0", m, i+1, wantRate, StatisticsRunning)
			}
			s := steps[16*i+15]
			if s.Loss != m.TrainLoss || s.Accuracy != m.TrainAccuracy || s.Epoch != i+1 || s.Epochs != 6 || s.Step != 16 || s.Steps != 16 {
				t.Errorf("last step of epoch %d reports %+v, want step 16 of 16 in epoch %d of 6 with the training measurements of row %+v", i+1, s, i+1, m)
			}
		}
		if remaining := steps[len(steps)-1].Remaining; remaining < 0 || remaining > time.Minute {
			t.Errorf("the report after the last step estimates that %v remain, want at most a minute", remaining)
		}
		// The network has 336 channels of BatchNorm, convolutions with 432, 2·2304,
		// 4608+9216+512 and 18432+36864+2048 weights, and 64·4+4 parameters in the output
		// layer.
		if want := map[string]int{"bn": 672, "all": 77_652}[set]; r.Parameters != want {
			t.Errorf("%s: %d trained parameters, want %d", set, r.Parameters, want)
		}
		if written, err := ReadConfig(filepath.Join(dir, rundir.ConfigFile)); err != nil {
			t.Errorf("ReadConfig returns error %v, want none", err)
		} else if field, _, _ := cfg.Difference(&written); field != "" || written.Epochs != cfg.Epochs {
			t.Errorf("config.json differs in %q and has %d epochs, want no difference and %d", field, written.Epochs, cfg.Epochs)
		}
	}
}

// TestValidation checks that held-out pictures are measured in each epoch like the test split,
// and that OpenData finds the data of the checkpoint again, including its random labels.
func TestValidation(t *testing.T) {
	data, err := dataset.Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.SubsetPerClass, cfg.Validation, cfg.RandomLabels = 1, nil, 2, 50, true
	dir := t.TempDir()
	r := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2})
	if m := r.Epochs[0]; m.ValidationExamples != 50 || m.TrainExamples != 16 || m.TestExamples != 1000 || !(m.ValidationLoss > 0) {
		t.Errorf("row %+v, want 50 validation, 16 training and 1000 test pictures and a validation loss above 0", m)
	}
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	found, err := m.OpenData("")
	if err != nil {
		t.Fatal(err)
	}
	// Measured as a test split, the held-out split gives the same numbers.
	state, err := LoadModel(filepath.Join(dir, rundir.ResumeFile))
	if err != nil {
		t.Fatal(err)
	}
	swapped := *found
	swapped.Test = found.Validation
	e, err := state.Evaluator(&swapped, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Evaluate(t.Context(), state.Stored)
	if err != nil || got.TestLoss != r.Epochs[0].ValidationLoss || got.TestAccuracy != r.Epochs[0].ValidationAccuracy || got.Examples != 50 {
		t.Errorf("evaluation %+v, %v; want the validation measurements of %+v", got, err, r.Epochs[0])
	}
	m.Data.Selection.RandomLabels = false
	var other *DataError
	if _, err := m.OpenData(""); !errors.As(err, &other) {
		t.Errorf("true labels: got error %v, want a *DataError", err)
	}
	cfg.Validation = 6000
	var bad *config.Error
	if _, err := Train(t.Context(), cfg, data, TrainOptions{Dir: t.TempDir()}); !errors.As(err, &bad) || bad.Key != "validation" {
		t.Errorf("all pictures held out: got error %v, want a *config.Error that names validation", err)
	}
}

// TestNormalisationIsStored checks that a checkpoint records how pictures are normalised, and
// that measurements use it.
func TestNormalisationIsStored(t *testing.T) {
	data, err := dataset.Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	for normalise, want := range map[string]int{"channel": 1, "pixel": 28 * 28, "none": 1} {
		cfg := tinyConfig()
		cfg.Epochs, cfg.LRDrops, cfg.Subset, cfg.Normalise, cfg.Brightness = 1, nil, 32, normalise, 0.25
		dir := t.TempDir()
		r := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2})
		m, err := LoadModel(filepath.Join(dir, rundir.ResumeFile))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Preprocessing.Mean) != want || normalise == "none" && m.Preprocessing.Mean[0] != 0 {
			t.Errorf("%s: the model's mean is %v, want %d numbers, which are 0 for none", normalise, m.Preprocessing.Mean, want)
		}
		found, err := m.OpenData("")
		if err != nil {
			t.Fatal(err)
		}
		e, err := m.Evaluator(found, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if got, err := e.Evaluate(t.Context(), m.Stored); err != nil || got.TestLoss != r.Epochs[0].TestLoss {
			t.Errorf("%s: evaluation %+v, %v; want loss %v, as the run measured", normalise, got, err, r.Epochs[0].TestLoss)
		}
		m.Preprocessing.Mean = make([]float32, 5)
		var bad *ModelError
		if found, err = m.OpenData(""); err == nil {
			_, err = m.Evaluator(found, 1)
		}
		if !errors.As(err, &bad) {
			t.Errorf("%s, a mean of 5 values: got error %v, want a *ModelError", normalise, err)
		}
	}
}

// TestDivergence checks that a rate that is far too large stops the run with a
// *DivergedError, and that no checkpoint is written.
func TestDivergence(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.Trainable, cfg.LR = 1, nil, "all", 1e38
	var e *DivergedError
	dir := t.TempDir()
	_, err := Train(t.Context(), cfg, data, TrainOptions{Dir: dir, Threads: 1})
	if !errors.As(err, &e) || e.Epoch != 1 || e.Step < 1 || e.LearningRate != 1e38 {
		t.Fatalf("got error %v, want a *DivergedError in epoch 1 at rate 1e38", err)
	}
	if _, err := os.Stat(filepath.Join(dir, rundir.CheckpointFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking for the checkpoint of a first epoch that diverged returns error %v, want os.ErrNotExist", err)
	}
}

// TestDivergedTestLoss checks that a run fails with a *DivergedError if the losses of its steps
// are finite but its test loss or its running statistics are not, and that it keeps the files of
// the last epoch.
func TestDivergedTestLoss(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs, cfg.LRDrops = 1, nil
	dir := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
	want := map[string][]byte{}
	for _, name := range []string{rundir.CheckpointFile, rundir.MetricsFile, rundir.ResumeFile} {
		want[name] = readFile(t, dir, name)
	}
	cfg.Epochs = 2
	for what, spoil := range map[string]func(r *run){
		"the test loss":  func(r *run) { r.trainer.running.Mean[2][1] = -1e300 },
		"bn.running_var": func(r *run) { r.trainer.running.Var[0][3] = math.NaN() },
		"bn.running_mean": func(r *run) {
			r.trainer.running.Mean[0][3] = math.Inf(-1)
		},
	} {
		o := TrainOptions{Dir: dir, Threads: 1, Resume: true}
		owned, err := ownExisting(&o)
		if err != nil {
			t.Fatal(err)
		}
		r, err := newRun(t.Context(), cfg, data, o, owned)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.resume(); err != nil {
			t.Fatal(err)
		}
		r.options.Step = func(s StepReport) {
			if s.Step == s.Steps {
				spoil(r)
			}
		}
		var e *DivergedError
		if err := r.epoch(t.Context()); !errors.As(err, &e) || e.What != what || e.Epoch != 2 {
			t.Errorf("%s is not finite: got error %v, want a *DivergedError that names it and epoch 2", what, err)
		}
		r.trainer.Close()
		owned.Release()
		for name, b := range want {
			if !bytes.Equal(readFile(t, dir, name), b) {
				t.Errorf("%s: %s has changed, want no change", what, name)
			}
		}
	}
}

// TestStepAllocatesNothing checks that steps and the preparation of their batches do not
// allocate after the first one.
func TestStepAllocatesNothing(t *testing.T) {
	data := synthetic(64*16, 20)
	for settings, change := range resumable {
		cfg := tinyConfig()
		change(&cfg)
		r, err := newRun(t.Context(), cfg, data, TrainOptions{Threads: 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		batches := r.loader.Start(t.Context(), 0, 0)
		allocations := testing.AllocsPerRun(50, func() {
			b, ok := batches.Next()
			if !ok {
				t.Fatalf("%s: the batches end with error %v, want at least 51", settings, batches.Err())
			}
			if loss := r.trainer.Step(b.Images, b.Labels, 0.1); math.IsNaN(loss.Sum) {
				t.Fatalf("%s: the loss is NaN, want a number", settings)
			}
		})
		if allocations != 0 {
			t.Errorf("%s: %v allocations in a step, want 0", settings, allocations)
		}
		batches.Close()
		r.trainer.Close()
	}
}

// TestBatchNormSettings checks that training and its measurements on the test split use the
// configured eps and momentum, and that the checkpoint and the loaded model have the same eps.
func TestBatchNormSettings(t *testing.T) {
	data, cfg := synthetic(64, 40), tinyConfig()
	cfg.Epochs, cfg.WithStats, cfg.BNEps, cfg.BNMomentum = 1, true, 0.25, 1
	dir := t.TempDir()
	r := mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2})
	m, err := LoadModel(r.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if m.Preprocessing.Eps != 0.25 {
		t.Errorf("the checkpoint's eps is %v, want 0.25", m.Preprocessing.Eps)
	}
	evaluate := func() Evaluation {
		e, err := m.Evaluator(data, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		got, err := e.Evaluate(t.Context(), m.Stored)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got, want := evaluate(), r.Epochs[0]; got.TestLoss != want.TestLoss || got.TestAccuracy != want.TestAccuracy {
		t.Errorf("evaluation %+v, want %+v, as the run measured", got, want)
	}
	m.Preprocessing.Eps = 1e-5
	if got := evaluate(); got.TestLoss == r.Epochs[0].TestLoss {
		t.Errorf("with eps 1e-5, the test loss is %v, as with eps 0.25; want another", got.TestLoss)
	}

	// With a momentum of 1, the running statistics are those of the last batch.
	lastBatch, err := newRun(t.Context(), cfg, data, TrainOptions{Threads: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lastBatch.trainer.Close()
	batches := lastBatch.loader.Start(t.Context(), 0, 0)
	defer batches.Close()
	for range 2 {
		b, ok := batches.Next()
		if !ok {
			t.Fatalf("the batches end with error %v, want at least 2", batches.Err())
		}
		lastBatch.trainer.Step(b.Images, b.Labels, 0.1)
	}
	if batch := lastBatch.trainer.training.BatchStatistics(); !slices.EqualFunc(lastBatch.trainer.running.Mean, batch.Mean, slices.Equal) ||
		!slices.EqualFunc(lastBatch.trainer.running.Var, batch.Var, slices.Equal) {
		t.Errorf("with a momentum of 1, the running statistics are %+v, want those of the last batch, %+v", lastBatch.trainer.running, batch)
	}
}

// TestLossSettings checks that each setting of the loss, the penalties and the gradients' norm
// changes the trained parameters, but not the reported loss of the first step.
func TestLossSettings(t *testing.T) {
	data := synthetic(32, 20)
	train := func(change func(*config.Config)) (firstLoss float64, ckpt []byte) {
		cfg := tinyConfig()
		cfg.Epochs, cfg.LRDrops = 1, nil
		change(&cfg)
		dir := t.TempDir()
		mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 2, Step: func(s StepReport) {
			if s.Step == 1 {
				firstLoss = s.Loss
			}
		}})
		m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
		if err != nil {
			t.Fatal(err)
		}
		m.Config = nil
		var b bytes.Buffer
		file, err := m.File()
		if err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.Encode(&b, file); err != nil {
			t.Fatal(err)
		}
		return firstLoss, b.Bytes()
	}
	wantLoss, plain := train(func(*config.Config) {})
	for name, change := range map[string]func(*config.Config){
		"label_smoothing": func(c *config.Config) { c.LabelSmoothing = 0.1 },
		"clip_norm":       func(c *config.Config) { c.ClipNorm = 0.1 },
		"bn_weight_decay": func(c *config.Config) { c.BNWeightDecay = false },
		"gamma_l1":        func(c *config.Config) { c.GammaL1 = 1e-3 },
		"beta_l2":         func(c *config.Config) { c.BetaL2 = 1e-3 },
	} {
		loss, got := train(change)
		if loss != wantLoss {
			t.Errorf("%s: first loss %v, want %v, the loss without the setting", name, loss, wantLoss)
		}
		if bytes.Equal(got, plain) {
			t.Errorf("with and without %s, the checkpoint is the same, want a change", name)
		}
	}
}
