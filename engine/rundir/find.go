package rundir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bnkit/checkpoint"
	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/strictjson"
)

// FindCheckpoint returns the checkpoint to use if the user does not name one: dir/ckpt.bnz
// or, if that does not exist, the newest dir/runs/*/ckpt.bnz. The error wraps ErrNoCheckpoint
// if neither exists.
func FindCheckpoint(dir string) (string, error) {
	direct := filepath.Join(dir, CheckpointFile)
	if info, err := os.Stat(direct); err == nil && info.Mode().IsRegular() {
		return direct, nil
	}
	runs := filepath.Join(dir, "runs")
	found, err := newestFirst(runs, CheckpointFile)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%w: neither %s nor %s exists", ErrNoCheckpoint, direct, filepath.Join(runs, "*", CheckpointFile))
	}
	return filepath.Join(found[0], CheckpointFile), nil
}

// OwnUnfinished takes ownership, like Own, of the newest run under runs that has not
// completed all its epochs and that no other process owns. The error is a
// *NoneUnfinishedError if there is none. A run whose config.json cannot be read is taken
// only if no other run is left, so that resuming it reports what is wrong.
func OwnUnfinished(runs string) (*Dir, error) {
	dirs, err := newestFirst(runs, ConfigFile)
	if err != nil {
		return nil, err
	}
	running := 0
	var unreadable []string
	for _, dir := range dirs {
		remaining, err := unfinished(dir)
		if err != nil {
			unreadable = append(unreadable, dir)
		}
		if !remaining {
			continue
		}
		d, err := Own(dir)
		var locked *LockedError
		if errors.As(err, &locked) {
			running++
			continue
		}
		if err != nil {
			return nil, err
		}
		// Another process may have finished the run before it was locked.
		if remaining, err := unfinished(dir); remaining || err != nil {
			return d, nil
		}
		if err := d.Release(); err != nil {
			return nil, err
		}
	}
	if len(unreadable) > 0 {
		return Own(unreadable[0])
	}
	return nil, &NoneUnfinishedError{Runs: runs, Finished: len(dirs) - running, Training: running}
}

// newestFirst returns the directories under runs that hold a file of the given name,
// ordered by the time at which the file was last written, newest first.
func newestFirst(runs, name string) ([]string, error) {
	entries, err := os.ReadDir(runs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	type found struct {
		dir      string
		modified time.Time
	}
	var all []found
	for _, e := range entries {
		dir := filepath.Join(runs, e.Name())
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			all = append(all, found{dir, info.ModTime()})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return b.modified.Compare(a.modified) })
	dirs := make([]string, len(all))
	for i, f := range all {
		dirs[i] = f.dir
	}
	return dirs, nil
}

// unfinished reports whether the run in dir has not completed all its epochs. If its
// resume.bnz cannot be read, it counts as unfinished, so that resuming it reports
// what is wrong. If it has no resume.bnz, the epochs in ckpt.bnz count. The error reports
// that config.json cannot be read.
func unfinished(dir string) (bool, error) {
	var config struct {
		Epochs int `json:"epochs"`
	}
	b, err := durable.ReadFile(File(dir, ConfigFile), MaxConfigBytes)
	if err != nil {
		return false, err
	}
	if err := strictjson.Unmarshal(b, &config); err != nil {
		return false, err
	}
	done, err := Epochs(dir)
	if errors.Is(err, fs.ErrNotExist) {
		done, _ = CheckpointEpochs(dir)
	}
	return done < config.Epochs, nil
}

// Epochs returns the number of epochs that the run in dir has completed, according to
// resume.bnz. The error wraps fs.ErrNotExist if the run has no resume.bnz, because it has
// not completed an epoch or the file was removed; otherwise it is a *DamagedError or an
// error of package checkpoint.
func Epochs(dir string) (int, error) {
	info, err := checkpoint.ReadInfo(File(dir, ResumeFile))
	if err != nil {
		return 0, err
	}
	var state struct{ Epochs int }
	if err := strictjson.Unmarshal(info.Header.State, &state); err != nil {
		return 0, &DamagedError{File(dir, ResumeFile), "it is not a resume state: " + err.Error()}
	}
	return state.Epochs, nil
}

// CheckpointEpochs returns the number of epochs of the most recent training that the
// checkpoint in dir records, or 0 if there is no checkpoint or it records none.
func CheckpointEpochs(dir string) (int, error) {
	info, err := checkpoint.ReadInfo(File(dir, CheckpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	epochs := 0
	for _, event := range info.Header.Provenance {
		var training struct {
			Epochs int `json:"epochs"`
		}
		if event.Action == "train" && strictjson.Unmarshal(event.Parameters, &training) == nil {
			epochs = cmp.Or(training.Epochs, epochs)
		}
	}
	return epochs, nil
}
