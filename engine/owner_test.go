package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/checkpoint/durable"
	"bnkit/engine/rundir"
)

// TestForceIsAtomic stops a replacement at each operation that changes a file or a directory.
// The directory must then hold either the complete old run or, after the first epoch of the
// new run, the complete new run, which can be resumed.
func TestForceIsAtomic(t *testing.T) {
	data, old := synthetic(32, 8), tinyConfig()
	old.Epochs, old.LRDrops, old.Batch = 1, nil, 16
	source := t.TempDir()
	mustTrain(t, old, data, TrainOptions{Dir: source, Threads: 1})
	oldFiles := snapshot(t, source)
	replacement := old
	replacement.Seed, replacement.Epochs = 2, 2
	whole := t.TempDir()
	mustTrain(t, replacement, data, TrainOptions{Dir: whole, Threads: 1, DataPath: whole})
	newModel := readFile(t, whole, rundir.CheckpointFile)

	errStopped := errors.New("stopped")
	found := map[string]int{}
	for stop := 1; ; stop++ { // the number of the operation at which the replacement stops
		dir := t.TempDir()
		restore(t, dir, oldFiles)
		report := filepath.Join(dir, rundir.PlotsDir, rundir.ReportFile)
		if err := os.MkdirAll(filepath.Dir(report), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(report, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		ops := 0
		stopIntercepting := durable.Intercept(func(op, path string) error {
			if ops++; ops >= stop { // also stop all later operations, as in a process that is killed
				return errStopped
			}
			return nil
		})
		_, err := Train(context.Background(), replacement, data, TrainOptions{Dir: dir, Threads: 1, Force: true, DataPath: whole})
		stopIntercepting()
		if err == nil {
			t.Logf("stopped at each of %d operations; runs found: %v", stop-1, found)
			if found["old"] == 0 || found["new"] == 0 {
				t.Errorf("found %v, want some old and some new runs", found)
			}
			return
		}
		if !errors.Is(err, errStopped) {
			t.Fatalf("stopped at operation %d: %v", stop, err)
		}

		// Read the directory first without ownership, and then as its next owner.
		reader, err := ReadConfig(rundir.File(dir, rundir.ConfigFile))
		if err != nil {
			t.Fatalf("stopped at operation %d: %v", stop, err)
		}
		d, err := rundir.Own(dir)
		if err != nil {
			t.Fatalf("stopped at operation %d: %v", stop, err)
		}
		if err := d.Release(); err != nil {
			t.Fatal(err)
		}
		cfg, err := ReadConfig(filepath.Join(dir, rundir.ConfigFile))
		if err != nil || cfg.Seed != reader.Seed {
			t.Fatalf("stopped at operation %d: %v; a reader finds seed %d, but the owner finds seed %d", stop, err, reader.Seed, cfg.Seed)
		}
		var names []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if want := append(slices.Collect(maps.Keys(oldFiles)), rundir.PlotsDir); len(names) != len(want) {
			t.Errorf("stopped at operation %d: the directory holds %v, want %v", stop, names, want)
		}
		_, reportErr := os.Stat(report)
		dataPath, err := rundir.ReadDataPath(dir)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Seed == old.Seed {
			found["old"]++
			for name, content := range oldFiles {
				if name != ".lock" && !bytes.Equal(readFile(t, dir, name), content) {
					t.Errorf("stopped at operation %d: the old run's %s has changed", stop, name)
				}
			}
			if reportErr != nil || dataPath != "" {
				t.Errorf("stopped at operation %d: the old run has data path %q and report error %v, want neither", stop, dataPath, reportErr)
			}
			continue
		}
		found["new"]++
		if reportErr == nil {
			t.Errorf("stopped at operation %d: the new run has the old run's report", stop)
		}
		if dataPath != whole {
			t.Errorf("stopped at operation %d: the new run has data path %q, want %q", stop, dataPath, whole)
		}
		if done, err := rundir.Epochs(dir); err != nil || done < 1 {
			t.Errorf("stopped at operation %d: the new run has %d complete epochs, %v; want at least 1", stop, done, err)
		}
		r := mustTrain(t, replacement, data, TrainOptions{Dir: dir, Threads: 1, Resume: true})
		if len(r.Epochs) != 2 || !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), newModel) {
			t.Errorf("stopped at operation %d: resuming the new run gives %d rows, want 2 and the model of an uninterrupted run", stop, len(r.Epochs))
		}
	}
}

// TestForceLeavesOldRun checks that a replacement that diverges or is interrupted within its
// first epoch leaves the old run unchanged.
func TestForceLeavesOldRun(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs = 1
	dir := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
	before := snapshot(t, dir)

	diverging := cfg
	diverging.Trainable, diverging.LR = "all", 1e38
	var diverged *DivergedError
	if _, err := Train(t.Context(), diverging, data, TrainOptions{Dir: dir, Threads: 1, Force: true}); !errors.As(err, &diverged) {
		t.Errorf("%v, want a *DivergedError", err)
	}
	if !sameSnapshot(snapshot(t, dir), before) {
		t.Error("a diverging replacement changed files")
	}

	other := cfg
	other.Seed = 2
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Train(ctx, other, data, TrainOptions{Dir: dir, Threads: 1, Force: true, Step: func(StepReport) { cancel() }})
	var stopped *InterruptedError
	if !errors.As(err, &stopped) || stopped.Resumable || !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want an *InterruptedError that cannot be resumed", err)
	}
	if !sameSnapshot(snapshot(t, dir), before) {
		t.Error("an interrupted replacement changed files")
	}

	// After its first epoch the new run has replaced the old one and can be resumed.
	other.Epochs = 2
	ctx, cancel = context.WithCancel(t.Context())
	_, err = Train(ctx, other, data, TrainOptions{Dir: dir, Threads: 1, Force: true, Epoch: func(rundir.EpochMetrics) { cancel() }})
	if !errors.As(err, &stopped) || !stopped.Resumable {
		t.Errorf("%v, want an *InterruptedError that can be resumed", err)
	}
	mustTrain(t, other, data, TrainOptions{Dir: dir, Threads: 1, Resume: true})
}

// TestDirectoryInUse checks that no second run can train in a directory in use, and that a run
// that asks for a numbered directory gets the next one.
func TestDirectoryInUse(t *testing.T) {
	data, cfg := synthetic(64, 20), tinyConfig()
	cfg.Epochs, cfg.LRDrops = 2, nil
	base := filepath.Join(t.TempDir(), "runs", "a")
	tried := false
	first := mustTrain(t, cfg, data, TrainOptions{Dir: base, Numbered: true, Threads: 1, Step: func(s StepReport) {
		if tried {
			return
		}
		tried = true
		for name, o := range map[string]TrainOptions{
			"resume": {Dir: base, Resume: true}, "force": {Dir: base, Force: true}, "a new run": {Dir: base},
		} {
			var locked *rundir.LockedError
			if _, err := Train(t.Context(), cfg, data, o); !errors.As(err, &locked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
				t.Errorf("%s: %v, want a *rundir.LockedError that names the process", name, err)
			}
		}
		if _, err := rundir.OwnUnfinished(filepath.Dir(base)); !errors.Is(err, rundir.ErrNoRun) {
			t.Errorf("%v, want ErrNoRun while the run is trained", err)
		}
		second := mustTrain(t, cfg, data, TrainOptions{Dir: base, Numbered: true, Threads: 1})
		if second.Dir != base+"-2" {
			t.Errorf("the second run is in %s, want %s", second.Dir, base+"-2")
		}
	}})
	if first.Dir != base {
		t.Errorf("the first run is in %s, want %s", first.Dir, base)
	}
	if !bytes.Equal(readFile(t, base, rundir.CheckpointFile), readFile(t, base+"-2", rundir.CheckpointFile)) {
		t.Error("the checkpoints of the two runs differ")
	}
}
