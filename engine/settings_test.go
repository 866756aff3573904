package engine

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/nn"
	"bnkit/engine/rundir"
)

// prunedFile returns a model with pruned channels that was read from a file, and the run that
// trained it.
func prunedFile(t *testing.T) (*Model, *run) {
	t.Helper()
	m, r := prunedModel(t)
	path := filepath.Join(t.TempDir(), "pruned.bnz")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	read, err := LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	return read, r
}

// TestStartFromPruned checks runs that start from a pruned model: the file must be the same for
// any number of threads and after an interruption, a resume must not need the model, and the
// parameters of pruned channels must not change.
func TestStartFromPruned(t *testing.T) {
	m, r := prunedFile(t)
	before := cloneValues(m.Params)
	for _, set := range []string{"bn", "all", "output", "bn+random-2"} {
		cfg, err := m.Settings()
		if err != nil {
			t.Fatal(err)
		}
		cfg.Trainable, cfg.Epochs, cfg.Batch, cfg.LR, cfg.WithStats = set, 2, 16, 0.05, true
		if set == "bn+random-2" {
			cfg.Activations = config.BF16
		}
		if set == "all" {
			cfg.Optimizer, cfg.LR, cfg.ClipNorm, cfg.TrackGradients = config.Adam, 0.01, 1, true
		}
		dir := t.TempDir()
		mustTrain(t, cfg, r.data, TrainOptions{Dir: dir, Threads: 1, From: m})
		want := readFile(t, dir, rundir.CheckpointFile)
		steps := r.data.Train.Len() / cfg.Batch
		for _, stop := range []int{1, steps, steps + 2} {
			interrupted := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			taken := 0
			_, err := Train(ctx, cfg, r.data, TrainOptions{Dir: interrupted, Threads: 3, From: m, Step: func(StepReport) {
				if taken++; taken == stop {
					cancel()
				}
			}})
			if !errors.Is(err, ErrInterrupted) {
				t.Fatalf("%s: got error %v, want an interruption", set, err)
			}
			mustTrain(t, cfg, r.data, TrainOptions{Dir: interrupted, Threads: 2, Resume: true})
			if !bytes.Equal(readFile(t, interrupted, rundir.CheckpointFile), want) {
				t.Errorf("%s: the run that was interrupted after step %d ends with a different file than the uninterrupted one, want the same bytes", set, stop)
			}
		}
		if got, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile)); err != nil {
			t.Errorf("%s: LoadModel returns error %v, want none", set, err)
		} else {
			checkTrainedPruned(t, m, got, arch.TrainableSet(set))
		}
	}
	if !reflect.DeepEqual(before, m.Params.Values) {
		t.Error("training has changed the model that it started from, want no change")
	}
}

// checkTrainedPruned checks that training set, which turned m into got, changed only
// parameters of channels that are not pruned.
func checkTrainedPruned(t *testing.T, m, got *Model, set arch.TrainableSet) {
	t.Helper()
	small, c, err := m.Compact()
	if err != nil {
		t.Fatal(err)
	}
	trained, _, err := got.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(trained.Network.Units, small.Network.Units) {
		t.Fatalf("%s: training changed the units of the compacted network, want no change", set)
	}
	if last := len(got.History) - 1; last < 1 || got.History[last].Action != trainAction || got.History[last-1].Action != m.History[len(m.History)-1].Action {
		t.Errorf("%s: history %v, want that of the pruned model, %v, and then training", set, got.History, m.History)
	}
	free := c.Trained(m.Params, set, m.Origin.Seed)
	changed := 0
	for i := range small.Params.Values {
		moved := 0
		for j, v := range small.Params.Values[i] {
			if math.Float32bits(v) != math.Float32bits(trained.Params.Values[i][j]) {
				moved++
			}
		}
		if moved > len(free.Values[i]) {
			t.Errorf("%s: %d values of %s have changed, want at most the %d trained ones", set, moved, small.Params.Tensors[i].Name, len(free.Values[i]))
		}
		changed += moved
	}
	if changed == 0 {
		t.Errorf("%s: no value has changed, want some changes", set)
	}
	if set == arch.All {
		if got.Origin != nil || len(got.Origins) == 0 || arch.All.Parameters(got.Network) != arch.All.Parameters(small.Network) {
			t.Errorf("%s: the file holds %d parameters, with Origin %v and Origins %v; want the %d of the smaller network, no Origin, and some Origins", set,
				arch.All.Parameters(got.Network), got.Origin, got.Origins, arch.All.Parameters(small.Network))
		}
		return
	}
	if want := arch.BN.With(set); got.Origin.Trainable != want || !reflect.DeepEqual(got.Kept, m.Kept) {
		t.Errorf("%s: the file stores %s, want %s, and keeps %v, want %v", set, got.Origin.Trainable, want, got.Kept, m.Kept)
	}
	for i, kept := range m.Kept {
		before, after := m.Params.Of(i, arch.Beta), got.Params.Of(i, arch.Beta)
		for _, channel := range complement(len(before), kept) {
			if math.Float32bits(before[channel]) != math.Float32bits(after[channel]) || got.Params.Of(i, arch.Gamma)[channel] != 0 {
				t.Errorf("%s: γ and β of the pruned channel %d of unit %d are %v and %v, want 0 and %v", set, channel, i, got.Params.Of(i, arch.Gamma)[channel], after[channel], before[channel])
			}
		}
	}
}

// TestCompactForFile checks that a model from compactForFile, written and read again, compacts
// to the same network and parameters as the original, and that the same parameters are trained.
func TestCompactForFile(t *testing.T) {
	m, _ := prunedModel(t)
	want, wantC, err := m.Compact()
	if err != nil {
		t.Fatal(err)
	}
	sliced, err := m.compactForFile()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sliced.bnz")
	if err := sliced.Save(path); err != nil {
		t.Fatal(err)
	}
	read, err := LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read.Origins, sliced.Origins) || !reflect.DeepEqual(read.Kept, sliced.Kept) {
		t.Errorf("read origins %v and kept %v, want %v and %v, as written", read.Origins, read.Kept, sliced.Origins, sliced.Kept)
	}
	got, gotC, err := read.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Network.Units, want.Network.Units) || weightsHash(got.Params) != weightsHash(want.Params) {
		t.Error("the model from the file compacts to another network or other parameters than the original, want the same")
	}
	for _, set := range []arch.TrainableSet{arch.All, arch.BN, arch.BNShortcut} {
		gotTrained, wantTrained := gotC.Trained(read.Params, set, 1), wantC.Trained(m.Params, set, 1)
		for i, x := range wantTrained.Tensors {
			// The output bias in the file includes the contributions of removed channels.
			if x.Kind != arch.OutputBias && !slices.Equal(gotTrained.Values[i], wantTrained.Values[i]) {
				t.Errorf("%s: the trained values of %s differ from those of the original, want the same", set, x.Name)
			}
		}
	}
	constant := 0
	for _, origins := range read.Origins {
		if slices.Contains(origins, nn.ConstantChannel) {
			constant++
		}
	}
	if constant == 0 {
		t.Error("no unit has a channel that carries constants, so the test does not cover them")
	}
}

// TestStartLike checks that a run that trains a pruned network from new parameters keeps its
// pruned channels and none of its parameters.
func TestStartLike(t *testing.T) {
	m, r := prunedFile(t)
	cfg, err := m.Settings()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Start, cfg.Seed, cfg.Epochs, cfg.Batch = config.StartLike+m.Source.SHA256, 5, 1, 16
	dir := t.TempDir()
	mustTrain(t, cfg, r.data, TrainOptions{Dir: dir, Threads: 2, From: m})
	got, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if got.Origin.Seed != 5 || !reflect.DeepEqual(got.Kept, m.Kept) || len(got.History) != 1 {
		t.Errorf("seed %d, kept %v, history %v; want seed 5, kept %v and one event", got.Origin.Seed, got.Kept, got.History, m.Kept)
	}
	fresh := nn.NewParams[float32](m.Network, nil)
	fresh.InitialiseBy(m.Origin.Initialisers, 5)
	for i := range m.Network.Units {
		if !slices.Equal(got.Params.Of(i, arch.ConvWeight), fresh.Of(i, arch.ConvWeight)) {
			t.Errorf("unit %d: the weights differ from those of seed 5, want the same", i)
		}
		for _, c := range complement(m.Network.Units[i].OutShape.C, m.Kept[i]) {
			if got.Params.Of(i, arch.Gamma)[c] != 0 || got.Params.Of(i, arch.Beta)[c] != 0 {
				t.Errorf("unit %d: γ and β of the pruned channel %d are %v and %v, want 0", i, c, got.Params.Of(i, arch.Gamma)[c], got.Params.Of(i, arch.Beta)[c])
			}
		}
	}
}

// TestStartErrors checks that settings that do not fit the model are refused before the run's
// directory is created.
func TestStartErrors(t *testing.T) {
	m, r := prunedFile(t)
	good, err := m.Settings()
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*config.Config)
		from   *Model
	}{
		"no model":        {func(*config.Config) {}, nil},
		"another seed":    {func(c *config.Config) { c.Seed++ }, m},
		"another model":   {func(c *config.Config) { c.Start = config.StartFrom + string(bytes.Repeat([]byte("0"), 64)) }, m},
		"no start":        {func(c *config.Config) { c.Start = "" }, m},
		"not a SHA-256":   {func(c *config.Config) { c.Start = config.StartFrom + "f00" }, m},
		"an unknown word": {func(c *config.Config) { c.Start = "to " + m.Source.SHA256 }, m},
	} {
		cfg := good
		c.change(&cfg)
		dir := filepath.Join(t.TempDir(), "run")
		var bad *config.Error
		if _, err := Train(t.Context(), cfg, r.data, TrainOptions{Dir: dir, From: c.from}); !errors.As(err, &bad) {
			t.Errorf("%s: got error %v, want a *config.Error", what, err)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: looking for the run's directory returns error %v, want os.ErrNotExist", what, err)
		}
	}
}
