//go:build !windows

// Windows does not move a directory, or remove a file, that is open.

package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/checkpoint/durable/crashfs"
	"bnkit/engine/rundir"
)

// TestDirectoryMoved moves or replaces the directory of a run in training, or removes its lock
// file. The run must end with an error that says so, and must not change a file.
func TestDirectoryMoved(t *testing.T) {
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
