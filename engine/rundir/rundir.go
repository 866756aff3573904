// Package rundir knows a run directory: what its files are called, who may write
// them, and how they are found and read.
//
// A run directory holds
//
//	config.json    the run's settings
//	data.json      where its data lies
//	metrics.jsonl  a row for each epoch
//	ckpt.bnz       the model after the last epoch
//	resume.bnz     the state that training continues from
//	plots/         what was measured of the model, and pictures
//	.lock          locked by the process that trains there; never removed
//
// Whoever trains owns the directory: a [Dir] holds its lock. What only reads
// needs no lock, because each file is replaced in one step or grows by a line.
// What measures a finished model and adds files of its own (analyze, prune)
// needs none either: it never touches the files above.
//
// A run that replaces another one is written to the hidden directory .next
// until its first epoch is complete, so that the old run stays whole until
// then. One rename, of .next to .swap, makes the new run the directory's; its
// files then move out of .swap one by one. A process that is cut before that
// rename leaves the old run, one that is cut after it the new run: the next
// owner finishes the moves. Both directories are inside the run directory and
// not beside it, because a rename needs a single file system and a run
// directory may be a mount point or a link to another one.
package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of a run directory.
const (
	ConfigFile     = "config.json"
	MetricsFile    = "metrics.jsonl"
	CheckpointFile = "ckpt.bnz"
	ResumeFile     = "resume.bnz"
	PlotsDir       = "plots"         // of pictures and ReportFile
	ReportFile     = "analysis.json" // what analyze measured

	dataFile = "data.json"
	lockFile = ".lock"
	nextDir  = ".next" // of a run that replaces another one, before its first epoch's end
	swapDir  = ".swap" // of a run that has replaced another one: what has not moved yet
)

// runFiles are the files of a run, each of which a run that has completed an
// epoch has. Commit moves them in this order.
var runFiles = []string{CheckpointFile, ResumeFile, MetricsFile, ConfigFile, dataFile}

var (
	// ErrNoRun says that a directory holds no run.
	ErrNoRun = errors.New("no run here to resume")

	// ErrNoCheckpoint says that no checkpoint was named and none was found.
	ErrNoCheckpoint = errors.New("no checkpoint found")
)

// RunExistsError says that a directory already holds a run.
type RunExistsError struct{ Dir string }

func (e *RunExistsError) Error() string {
	return fmt.Sprintf("%s already holds a run: continue it with --resume, replace it with --force, or choose another --out", e.Dir)
}

// LockedError says that another process owns a run directory.
type LockedError struct {
	Dir    string
	Holder string // who it is, as the lock file says; may be ""
}

func (e *LockedError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another process"
	}
	return fmt.Sprintf("%s is in use: %s is training there; wait until it ends, or choose another directory", e.Dir, holder)
}

// DamagedError says that a run's file cannot be read as what it is.
type DamagedError struct {
	Path   string
	Reason string // what is wrong, and what to do
}

func (e *DamagedError) Error() string { return fmt.Sprintf("read %s: %s", e.Path, e.Reason) }

// Holds reports whether any file of a run is in dir.
func Holds(dir string) (bool, error) {
	for _, name := range []string{ConfigFile, MetricsFile, CheckpointFile, ResumeFile} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// File returns the path at which a reader finds a file of the run in dir. That
// is not always dir itself: after a replacement that was cut, the new run's
// file may still be in .swap.
func File(dir, name string) string {
	if path := filepath.Join(dir, swapDir, name); isFile(path) {
		return path
	}
	return filepath.Join(dir, name)
}

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}
