package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bnkit/checkpoint/durable/crashfs"
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

// TestDirectoryMoved moves or replaces the directory of a run in training, or removes its lock
// file. The run must end with an error that says so, and must not change a file.
func TestDirectoryMoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not move a directory or remove a file that is open")
	}
	data, cfg := synthetic(32, 8), tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.Width = 2, nil, 0.25
	other := cfg
	other.Epochs = 1
	unlock := func(dir string) error { return os.Remove(filepath.Join(dir, ".lock")) }
	move := func(dir string) error { return os.Rename(dir, dir+"-moved") }
	replace := func(dir string) error {
		if err := move(dir); err != nil {
			return err
		}
		_, err := Train(t.Context(), other, data, TrainOptions{Dir: dir, Threads: 1})
		return err
	}
	replaceByReplacement := func(dir string) error { // of another process, in its first epoch
		if err := replace(dir); err != nil {
			return err
		}
		next := filepath.Join(dir, ".next")
		if err := os.Mkdir(next, 0o777); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(next, rundir.ConfigFile), []byte("{}"), 0o666)
	}
	for name, c := range map[string]struct {
		disturb   func(dir string) error
		at        int // the step after which disturb is called, counted over all epochs
		interrupt bool
		force     bool // replace a run
	}{
		"moved":                              {move, 1, false, false},
		"replaced":                           {replace, 1, false, false},
		"replaced in the second epoch":       {replace, 3, false, false},
		"replaced, then interrupted":         {replace, 1, true, false},
		"a replacement, replaced":            {replaceByReplacement, 1, false, true},
		"a replacement, in the second epoch": {replaceByReplacement, 3, false, true},
		"its lock removed":                   {unlock, 1, false, false},
		"its lock removed, then interrupted": {unlock, 3, true, false},
	} {
		root := t.TempDir()
		dir := filepath.Join(root, "run")
		if c.force {
			mustTrain(t, other, data, TrainOptions{Dir: dir, Threads: 1})
		}
		ctx, cancel := context.WithCancel(t.Context())
		var before crashfs.State
		steps := 0
		_, err := Train(ctx, cfg, data, TrainOptions{Dir: dir, Threads: 1, Force: c.force, Step: func(StepReport) {
			if steps++; steps != c.at {
				return
			}
			if err := c.disturb(dir); err != nil {
				t.Fatal(err)
			}
			var err error
			if before, err = crashfs.Read(root); err != nil {
				t.Fatal(err)
			}
			if c.interrupt {
				cancel()
			}
		}})
		cancel()
		want := "the run directory " + dir + " was moved or replaced while training"
		if name == "moved" { // nothing is at the path, as if the disk had vanished
			want = "find the run directory: stat " + dir
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got error %v, want one line with %q", name, err, want)
		}
		after, err := crashfs.Read(root)
		if paths := after.Changed(before); err != nil || paths != nil {
			t.Errorf("%s: the run changed %s afterwards (error %v), want no change", name, strings.Join(paths, ", "), err)
		}
	}
}

// TestDirectoryMovedBeforeTraining replaces the directory of a run after its owner has locked it,
// and before the owner trains.
func TestDirectoryMovedBeforeTraining(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not move a directory with a file that is open")
	}
	data, cfg := synthetic(32, 8), tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.Width = 1, nil, 0.25
	for _, resume := range []bool{true, false} {
		root := t.TempDir()
		dir := filepath.Join(root, "run")
		mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
		owned, err := rundir.Own(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir, dir+"-moved"); err != nil {
			t.Fatal(err)
		}
		mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1})
		if _, err := rundir.WriteManifest(dir); err != nil { // training would remove it
			t.Fatal(err)
		}
		before, err := crashfs.Read(root)
		if err != nil {
			t.Fatal(err)
		}
		further := cfg
		further.Epochs = 2
		if _, err := Train(t.Context(), further, data, TrainOptions{Dir: dir, Owned: owned, Threads: 1, Resume: resume, Force: !resume}); err == nil || !strings.Contains(err.Error(), "was moved or replaced") {
			t.Errorf("resume %t: got error %v, want one that says that the directory was moved or replaced", resume, err)
		}
		if err := owned.Release(); err != nil {
			t.Error(err)
		}
		after, err := crashfs.Read(root)
		if paths := after.Changed(before); err != nil || paths != nil {
			t.Errorf("resume %t: the run changed %s afterwards (error %v), want no change", resume, strings.Join(paths, ", "), err)
		}
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
