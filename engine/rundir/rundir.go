// Package rundir manages run directories: the names of their files, who may write them, and
// how to find and read them.
//
// A run directory holds
//
//	config.json    the run's settings
//	data.json      the location of its data
//	metrics.jsonl  a row for each epoch
//	ckpt.bnz       the model after the last epoch
//	resume.bnz     the state that training continues from
//	plots/         measurements of the model, and pictures
//	SHA256SUMS     the digests of the other files, if they were requested
//	.lock          locked by the process that trains there; never removed
//
// A process that trains owns the directory: its [Dir] holds the lock. Readers do not need
// the lock, because each file is replaced in one step or grows by a line. Programs that
// measure a finished model and add files of their own (analyze, prune) do not need it
// either: of the files above, they only write those in plots/.
//
// A run that replaces another one is written to the hidden directory .next until its first
// epoch is complete, so that the old run stays intact until then. Renaming .next to .swap
// replaces the old run in one step; the files are then moved out of .swap one by one. A
// process that is killed before the rename leaves the old run, and one that is killed after
// it leaves the new run, whose files the next owner finishes moving. Both directories are
// inside the run directory, because a rename needs a single file system and the run
// directory may be a mount point or a link.
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
	DataFile       = "data.json"     // the location of the run's data
	PlotsDir       = "plots"         // holds pictures and ReportFile
	ReportFile     = "analysis.json" // measurements by analyze

	lockFile = ".lock"
	nextDir  = ".next" // holds a run that is to replace another one, until its first epoch is complete
	swapDir  = ".swap" // holds the files of such a run that have not been moved yet
)

// MaxConfigBytes is the limit for the size of config.json and data.json. Real files are far
// smaller.
const MaxConfigBytes = 1 << 20

// runFiles are the files that every run has once it has completed an epoch. Commit moves
// them in this order.
var runFiles = []string{CheckpointFile, ResumeFile, MetricsFile, ConfigFile, DataFile}

var (
	// ErrNoRun reports that a directory does not hold a run.
	ErrNoRun error = missingError("no run here to resume")

	// ErrNoCheckpoint reports that no checkpoint was named and none was found.
	ErrNoCheckpoint error = missingError("no checkpoint found")
)

// missingError reports that the run or checkpoint that the caller asked for does not exist.
type missingError string

func (e missingError) Error() string { return string(e) }

// WrongUsage reports that the caller's choice is at fault.
func (e missingError) WrongUsage() bool { return true }

// NoneUnfinishedError reports that no run in a directory of runs can be continued.
// It wraps ErrNoRun.
type NoneUnfinishedError struct {
	Runs     string // the directory
	Finished int    // runs in it that have completed all their epochs
	Training int    // runs in it that other processes are training
}

func (e *NoneUnfinishedError) Error() string {
	switch {
	case e.Finished+e.Training == 0:
		return fmt.Sprintf("%v: there are no runs under %s", ErrNoRun, e.Runs)
	case e.Training > 0:
		return fmt.Sprintf("%v: every run under %s is finished, or is being trained (%d)", ErrNoRun, e.Runs, e.Training)
	}
	return fmt.Sprintf("%v: every run under %s is finished", ErrNoRun, e.Runs)
}

// Unwrap returns ErrNoRun.
func (e *NoneUnfinishedError) Unwrap() error { return ErrNoRun }

// WrongUsage reports that the caller's choice is at fault.
func (e *NoneUnfinishedError) WrongUsage() bool { return true }

// RunExistsError reports that a directory already holds a run.
type RunExistsError struct{ Dir string }

func (e *RunExistsError) Error() string { return e.Dir + " already holds a run" }

// WrongUsage reports that the choice of the directory is at fault.
func (e *RunExistsError) WrongUsage() bool { return true }

// LockedError reports that another process owns a run directory.
type LockedError struct {
	Dir    string
	Holder string // the process, as the lock file describes it; may be ""
}

// WrongUsage reports that the choice of the directory is at fault.
func (e *LockedError) WrongUsage() bool { return true }

func (e *LockedError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another process"
	}
	return fmt.Sprintf("%s is in use: %s is training there; wait until it ends, or choose another directory", e.Dir, holder)
}

// DamagedError reports that a file of a run has invalid content.
type DamagedError struct {
	Path   string
	Reason string // what is wrong, and what to do
}

// BadInput reports that the file is at fault.
func (e *DamagedError) BadInput() bool { return true }

func (e *DamagedError) Error() string { return fmt.Sprintf("read %s: %s", e.Path, e.Reason) }

// HasRun reports whether dir holds config.json, metrics.jsonl, ckpt.bnz or resume.bnz.
func HasRun(dir string) (bool, error) {
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

// File returns the path at which a reader finds a file of the run in dir. The file may still
// be in .swap if a replacement was interrupted. A .swap that is a link is ignored.
func File(dir, name string) string {
	swap := filepath.Join(dir, swapDir)
	if path := filepath.Join(swap, name); isDir(swap) && isFile(path) {
		return path
	}
	return filepath.Join(dir, name)
}

// isFile reports whether path names a regular file.
func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// isDir reports whether path names a directory, and not a link to one.
func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}
