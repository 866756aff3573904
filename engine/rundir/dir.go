package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"bnkit/checkpoint/durable"
)

// Dir is a run directory that this process owns: no other process writes the files of the
// run until Release.
type Dir struct {
	path  string
	files string // the directory that the run's files are written to: path, or .next in it
	lock  *os.File

	// NotLocked is nil if the directory is locked. Otherwise it is the reason why the file
	// system cannot lock it, and another process may write there too.
	NotLocked error
}

// Own takes ownership of a directory that holds a run. It first cleans up after an earlier
// owner that was killed: it finishes a replacement whose files were being moved, discards
// one that had not begun to move files, and removes temporary files. The error wraps ErrNoRun if there
// is no run, is a *LockedError if another process owns the directory, and wraps a
// *DamagedError if a replacement cannot be finished because .swap is not a directory.
func Own(path string) (*Dir, error) {
	hasRun, err := HasRun(path)
	if err != nil {
		return nil, err
	}
	if !hasRun {
		return nil, fmt.Errorf("%w: there is no %s", ErrNoRun, filepath.Join(path, ConfigFile))
	}
	return own(path)
}

// Create creates the directory if it does not exist and takes ownership like Own, but does
// not require that the directory holds a run.
func Create(path string) (*Dir, error) {
	if err := durable.MkdirAll(path); err != nil {
		return nil, err
	}
	return own(path)
}

// CreateNumbered creates a new directory and takes ownership of it. The directory is path
// or, if that exists, path-2, path-3 and so on. Concurrent callers get different directories.
func CreateNumbered(path string) (*Dir, error) {
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	for i := 1; ; i++ {
		numbered := path
		if i > 1 {
			numbered = fmt.Sprintf("%s-%d", path, i)
		}
		err := durable.Mkdir(numbered)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d, err := own(numbered)
		var locked *LockedError
		if errors.As(err, &locked) {
			continue // another process took the directory first
		}
		if err != nil {
			return nil, err
		}
		if hasRun, err := d.HasRun(); err != nil || hasRun {
			if err = errors.Join(err, d.Release()); err != nil {
				return nil, err
			}
			continue // another process used the directory and has finished
		}
		return d, nil
	}
}

// own takes ownership of an existing directory.
func own(path string) (*Dir, error) {
	lock, notLocked, err := acquire(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, files: path, lock: lock, NotLocked: notLocked}
	if err := d.cleanUp(); err != nil {
		return nil, errors.Join(err, d.Release())
	}
	return d, nil
}

// cleanUp cleans up after earlier owners that were killed.
func (d *Dir) cleanUp() error {
	if err := d.finishSwap(); err != nil {
		return fmt.Errorf("finish the replacement of the run in %s: %w", d.path, err)
	}
	if err := durable.RemoveAll(filepath.Join(d.path, nextDir)); err != nil {
		return err
	}
	return durable.RemoveTemporaries(d.path, append(slices.Clone(runFiles), ManifestFile)...)
}

// Release ends the ownership. It discards a replacement that has not completed an epoch,
// unless CheckOwned returns an error: the path may then lead to a replacement of another process.
func (d *Dir) Release() error {
	var err error
	if d.Replacing() {
		if err = d.CheckOwned(); err == nil {
			err = durable.RemoveAll(d.files)
		}
	}
	return errors.Join(err, d.lock.Close())
}

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// HasRun reports whether the directory holds a run, like the function HasRun.
func (d *Dir) HasRun() (bool, error) { return HasRun(d.path) }

// File returns the path at which the owner reads and writes a file of the run.
func (d *Dir) File(name string) string { return filepath.Join(d.files, name) }

// Begin prepares the directory for a new run and calls WriteDataPath with dataPath. The
// caller then writes the first files of the run, config.json last. If the directory already
// holds a run, the new one is written to a hidden subdirectory until Commit.
func (d *Dir) Begin(dataPath string) error {
	hasRun, err := d.HasRun()
	if err != nil {
		return err
	}
	if hasRun {
		d.files = filepath.Join(d.path, nextDir) // even if Mkdir fails, so that Release removes it
		if err := durable.Mkdir(d.files); err != nil {
			return err
		}
	}
	return d.WriteDataPath(dataPath)
}

// WriteConfig writes config.json.
func (d *Dir) WriteConfig(config []byte) error {
	return durable.WriteFile(d.File(ConfigFile), config)
}

// Replacing reports whether Begin found a run in the directory that Commit has not replaced
// yet.
func (d *Dir) Replacing() bool { return d.files != d.path }

// Commit replaces the run that Begin found in the directory with the new one, which must have
// completed an epoch. It does nothing if there was no run or Commit has already replaced it.
func (d *Dir) Commit() error {
	if !d.Replacing() {
		return nil
	}
	if err := durable.Rename(d.files, filepath.Join(d.path, swapDir)); err != nil {
		return fmt.Errorf("replace the run in %s: %w", d.path, err)
	}
	d.files = d.path
	if err := d.finishSwap(); err != nil {
		return fmt.Errorf("replace the run in %s: %w; the next command that trains there finishes the replacement", d.path, err)
	}
	return nil
}

// finishSwap moves the files of a run that has replaced another one to their final places.
// It can be interrupted at any point and repeated: the run had all files, so a file that is
// not in .swap has already been moved. The error is a *DamagedError, and nothing is changed,
// if .swap is not a directory.
func (d *Dir) finishSwap() error {
	swap := filepath.Join(d.path, swapDir)
	info, err := os.Lstat(swap)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir(): // a link could lead to a folder with files of another run
		return &DamagedError{swap, "it is a link or a file, not a folder; remove it"}
	}
	// Measurements and digests of the old run must not be mistaken for those of the new one.
	stale := []string{filepath.Join(d.path, ManifestFile)}
	if plots := filepath.Join(d.path, PlotsDir); isDir(plots) { // not a link to a folder, which may belong to another run
		stale = append(stale, filepath.Join(plots, ReportFile))
	}
	for _, path := range stale {
		if err := durable.RemoveAll(path); err != nil {
			return err
		}
	}
	for _, name := range runFiles {
		if file := filepath.Join(swap, name); isFile(file) {
			if err := durable.Rename(file, filepath.Join(d.path, name)); err != nil {
				return err
			}
		}
	}
	return durable.RemoveAll(swap)
}
