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
		t.Errorf("a diverging replacement: got error %v, want a *DivergedError", err)
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
			t.Errorf("OwnUnfinished: got error %v, want ErrNoRun while the run is trained", err)
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

// TestResumeAfterLock resumes a run whose lock file is missing, stale or damaged. The checkpoint
// must be that of an undisturbed run.
func TestResumeAfterLock(t *testing.T) {
	data, cfg := synthetic(32, 8), tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.Width = 2, nil, 0.25
	whole := mustTrain(t, cfg, data, TrainOptions{Dir: t.TempDir(), Threads: 1})
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Train(ctx, cfg, data, TrainOptions{Dir: dir, Threads: 1, Step: func(StepReport) { cancel() }}); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	stopped := snapshot(t, dir)
	if len(stopped[".lock"]) == 0 {
		t.Fatal("the run has no lock file, or an empty one")
	}
	for what, lock := range map[string][]byte{
		"missing": nil, "stale": stopped[".lock"], "empty": {}, "half written": stopped[".lock"][:9], "zeros": make([]byte, 200), "of another process": []byte("process 1 on here (init)\n"),
	} {
		dir := t.TempDir()
		restore(t, dir, stopped)
		path := filepath.Join(dir, ".lock")
		err := os.Remove(path)
		if lock != nil {
			err = os.WriteFile(path, lock, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true})
		if !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), readFile(t, whole.Dir, rundir.CheckpointFile)) {
			t.Errorf("with a lock file that is %s, the resumed run has another checkpoint than the undisturbed one, want the same bytes", what)
		}
	}
}
