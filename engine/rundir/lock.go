package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bnkit/checkpoint/durable"
)

// maxHolder is the number of bytes after which the description of a lock's holder is cut off.
const maxHolder = 400

// tryLock is durable.Lock. Tests replace it.
var tryLock = durable.Lock

// acquire locks the directory at path. The error is a *LockedError if another process holds
// the lock, or a *durable.FileError if the lock file is not a regular file. notLocked is not
// nil if the file system does not support locks.
//
// The operating system manages the lock, so that it ends when its holder ends. The lock file
// is never removed. Its text describes the holder and is only used in messages, so it does no
// harm if a loss of power damages it. This is why the file is not written through package
// durable.
func acquire(path string) (f *os.File, notLocked, err error) {
	name := filepath.Join(path, lockFile)
	for {
		// Opening would follow a link and overwrite the file to which it leads.
		if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
			return nil, nil, &durable.FileError{Path: name, Reason: "it is not a regular file; remove it"}
		}
		if f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
			return nil, nil, err
		}
		switch err := tryLock(f); {
		case errors.Is(err, durable.ErrLocked):
			defer f.Close()
			return nil, nil, &LockedError{path, readHolder(f)}
		case errors.Is(err, durable.ErrNoLocks):
			notLocked = fmt.Errorf("lock %s: %w; make sure that no other process trains there", path, err)
		case err != nil:
			f.Close()
			return nil, nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// If the lock file was removed in the meantime, the lock does not protect anything.
		locked, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, nil, err
		}
		if current, err := os.Lstat(name); err == nil && os.SameFile(locked, current) {
			break
		}
		f.Close()
	}
	writeHolder(f)
	return f, notLocked, nil
}

// CheckOwned returns an error if the directory's path no longer leads to the lock file that
// this process has locked: the directory was moved or replaced, or the lock file was removed,
// so another process may write there. The error wraps fs.ErrNotExist if there is nothing at the
// path. CheckOwned returns nil if the directory is not locked because of NotLocked. An owner that
// has not written for a while must call it before it writes.
func (d *Dir) CheckOwned() error {
	if d.NotLocked != nil {
		return nil
	}
	locked, err := d.lock.Stat()
	if err != nil {
		return err
	}
	if _, err := os.Stat(d.path); err != nil {
		return fmt.Errorf("find the run directory: %w", err)
	}
	current, err := os.Lstat(filepath.Join(d.path, lockFile))
	switch {
	case err == nil && os.SameFile(locked, current):
		return nil
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the run directory %s was moved or replaced while training, or its %s was removed; continue the run where its directory is now", d.path, lockFile)
	}
	return fmt.Errorf("check the lock of %s: %w", d.path, err)
}

// writeHolder writes a description of this process to the lock file. It ignores errors,
// because only messages use the description.
func writeHolder(f *os.File) {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	holder := fmt.Sprintf("process %d on %s (%s", os.Getpid(), host, strings.Join(os.Args, " "))
	if len(holder) > maxHolder {
		holder = holder[:maxHolder] + "..."
	}
	holder += ")\n"
	if _, err := f.WriteAt([]byte(holder), 0); err == nil {
		f.Truncate(int64(len(holder)))
	}
}

// readHolder returns the description of a lock's holder.
func readHolder(f *os.File) string {
	b := make([]byte, 2*maxHolder)
	n, _ := f.ReadAt(b, 0)
	return holderText(b[:n])
}

// holderText returns the text in a lock file as one line.
func holderText(b []byte) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(b), "?")), " ")
}
