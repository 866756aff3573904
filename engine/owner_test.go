package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/engine/rundir"
)

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
		t.Errorf("got error %v, want a *DivergedError", err)
	}
	if !sameSnapshot(snapshot(t, dir), before) {
		t.Error("a diverging replacement changed files, want no change")
	}

	other := cfg
	other.Seed = 2
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Train(ctx, other, data, TrainOptions{Dir: dir, Threads: 1, Force: true, Step: func(StepReport) { cancel() }})
	var stopped *InterruptedError
	if !errors.As(err, &stopped) || stopped.Resumable || !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want an *InterruptedError that cannot be resumed", err)
	}
	if !sameSnapshot(snapshot(t, dir), before) {
		t.Error("an interrupted replacement changed files, want no change")
	}

	// After its first epoch the new run has replaced the old one and can be resumed.
	other.Epochs = 2
	ctx, cancel = context.WithCancel(t.Context())
	_, err = Train(ctx, other, data, TrainOptions{Dir: dir, Threads: 1, Force: true, Epoch: func(rundir.EpochMetrics) { cancel() }})
	if !errors.As(err, &stopped) || !stopped.Resumable {
		t.Errorf("got error %v, want an *InterruptedError that can be resumed", err)
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
				t.Errorf("%s: got error %v, want a *rundir.LockedError that names the process", name, err)
			}
		}
		if _, err := rundir.OwnUnfinished(filepath.Dir(base)); !errors.Is(err, rundir.ErrNoRun) {
			t.Errorf("got error %v, want ErrNoRun while the run is trained", err)
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
		t.Error("the checkpoints of the two runs differ, want the same bytes")
	}
}
