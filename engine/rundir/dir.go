package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bnkit/checkpoint/durable"
)

// Dir is a run directory that this process owns: no other process writes the
// run's files until Release.
type Dir struct {
	path  string
	files string // the directory that the run's files are written to: path, or its .next
	lock  *os.File

	// NotLocked says why the file system could not lock the directory, so that
	// another process may write there too; nil where it is locked.
	NotLocked error
}

// Own takes ownership of a directory that holds a run. It first finishes what
// an earlier owner that was killed has left: it completes a replacement that
// had begun to move files, drops one that had not, and removes temporary files.
// The error is ErrNoRun where there is no run, *LockedError where another
// process owns it.
func Own(path string) (*Dir, error) {
	holds, err := Holds(path)
	if err != nil {
		return nil, err
	}
	if !holds {
		return nil, fmt.Errorf("%w: there is no %s", ErrNoRun, filepath.Join(path, ConfigFile))
	}
	return own(path)
}

// Create makes a directory where it is missing and takes ownership as Own does,
// whether it holds a run or not.
func Create(path string) (*Dir, error) {
	if err := durable.MkdirAll(path); err != nil {
		return nil, err
	}
	return own(path)
}

// CreateNumbered makes a new directory called path or, where something is there
// already, path-2, path-3 and so on, and takes ownership of it. Processes that
// do so at the same time get a directory each.
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
			continue // a process that was told this name was faster
		}
		if err != nil {
			return nil, err
		}
		if holds, err := d.Holds(); err != nil || holds {
			if err = errors.Join(err, d.Release()); err != nil {
				return nil, err
			}
			continue // and has finished by now
		}
		return d, nil
	}
}

func own(path string) (*Dir, error) {
	lock, notLocked, err := acquire(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, files: path, lock: lock, NotLocked: notLocked}
	if err := d.tidy(); err != nil {
		return nil, errors.Join(err, d.Release())
	}
	return d, nil
}

// tidy finishes what earlier owners have left.
func (d *Dir) tidy() error {
	if err := d.finishSwap(); err != nil {
		return fmt.Errorf("finish the replacement of the run in %s: %w", d.path, err)
	}
	if err := durable.RemoveAll(filepath.Join(d.path, nextDir)); err != nil {
		return err
	}
	return durable.RemoveTemporaries(d.path, runFiles...)
}

// Release ends the ownership. A replacement without a complete epoch is
// dropped.
func (d *Dir) Release() error {
	var err error
	if d.Replacing() {
		err = durable.RemoveAll(d.files)
	}
	return errors.Join(err, d.lock.Close())
}

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// Holds reports whether the directory holds any file of a run.
func (d *Dir) Holds() (bool, error) { return Holds(d.path) }

// File returns the path at which the owner reads and writes a file of the run.
func (d *Dir) File(name string) string { return filepath.Join(d.files, name) }

// Begin writes the first files of a new run: its settings, as config.json holds
// them, and where its data lies, as WritePlace takes it. Where the directory
// holds a run already, the new one is written to a hidden directory in it until
// Commit.
func (d *Dir) Begin(config []byte, place string) error {
	holds, err := d.Holds()
	if err != nil {
		return err
	}
	if holds {
		next := filepath.Join(d.path, nextDir)
		if err := durable.Mkdir(next); err != nil {
			return err
		}
		d.files = next
	}
	if err := d.WritePlace(place); err != nil {
		return err
	}
	return d.WriteConfig(config)
}

// WriteConfig writes config.json.
func (d *Dir) WriteConfig(config []byte) error {
	return durable.WriteFile(d.File(ConfigFile), config)
}

// Replacing reports whether Begin found a run in the directory that Commit has
// not replaced yet.
func (d *Dir) Replacing() bool { return d.files != d.path }

// Commit lets a run that has completed an epoch take the place of the one that
// was in the directory when it began. It does nothing where there was none or
// it has happened.
func (d *Dir) Commit() error {
	if !d.Replacing() {
		return nil
	}
	if err := durable.Rename(d.files, filepath.Join(d.path, swapDir)); err != nil {
		return fmt.Errorf("replace the run in %s: %w", d.path, err)
	}
	d.files = d.path
	if err := d.finishSwap(); err != nil {
		return fmt.Errorf("replace the run in %s: %w; the next start there finishes it", d.path, err)
	}
	return nil
}

// finishSwap moves the files of a run that has replaced another one to their
// places. It may be cut and repeated at any point: a file that is no longer in
// .swap is in its place already, because the run had them all.
func (d *Dir) finishSwap() error {
	swap := filepath.Join(d.path, swapDir)
	if _, err := os.Lstat(swap); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	// What was measured of the old run must not be taken for the new one's.
	if err := durable.RemoveAll(filepath.Join(d.path, PlotsDir, ReportFile)); err != nil {
		return err
	}
	for _, name := range runFiles {
		if from := filepath.Join(swap, name); isFile(from) {
			if err := durable.Rename(from, filepath.Join(d.path, name)); err != nil {
				return err
			}
		}
	}
	return durable.RemoveAll(swap)
}
