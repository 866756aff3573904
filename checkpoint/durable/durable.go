// Package durable changes files and directories durably and atomically: once a function
// has returned without an error, its change survives a crash and a loss of power, and a
// file that is being replaced always holds either all of its old content or all of its
// new content. What is written to a [File] is durable once Sync has returned without an error.
//
// Directories are synced if the system can do that. Windows cannot, but its file systems
// write such changes in order. Windows also refuses to replace or rename a file that
// another process has open, and the error says so.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
)

// Operation is one step in changing a file or a directory.
type Operation struct {
	Kind string // "create" (which also opens an existing file), "chmod", "write", "empty", "sync", "rename", "remove" or "mkdir"
	Path string // of the file or directory; of a rename, the new path
	From string // of a rename, the old path
	Data []byte // of a write, which goes to the end of the file
}

// intercept, if not nil, is called instead of every operation.
var intercept atomic.Pointer[func(op Operation, do func() error) error]

// Intercept makes the package call f instead of performing each operation. do performs the
// operation, and the package takes the result of f as that of the operation. Tests use this to
// follow a program's changes, or to make any of them fail. The returned function ends the
// interception.
func Intercept(f func(op Operation, do func() error) error) (end func()) {
	intercept.Store(&f)
	return func() { intercept.Store(nil) }
}

// perform carries out one operation.
func perform(op Operation, do func() error) error {
	if f := intercept.Load(); f != nil {
		return (*f)(op, do)
	}
	return do()
}

// WriteFile writes data to a temporary file in the same directory, syncs it, and renames
// it to path. If path is a symbolic link, it writes the file to which the link leads. A
// file that is replaced keeps its permissions, but not its owner. The error is a *FileError
// if path exists and is not a regular file, such as a device or a pipe.
//
// Until the rename, and if it or an earlier step fails, path has its old content; after the
// rename it has all of data. The last step syncs the directory. If only this step fails, a
// loss of power may still undo the change. A process that is killed may leave the temporary
// file, which RemoveTemporaries removes.
func WriteFile(path string, data []byte) error {
	if err := writeFile(path, data); err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	return nil
}

// cause returns the cause of an error of package os, without the operation and the path, which may
// be that of a temporary file. It returns other errors unchanged.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

func writeFile(path string, data []byte) (err error) {
	path, old, err := target(path)
	if err != nil {
		return err
	}
	dir, base := filepath.Split(path)
	// os.CreateTemp would create a file that only its owner can read. This file gets
	// the permissions that the umask allows.
	temporary := filepath.Join(dir, temporaryPrefix(base)+rand.Text())
	f, err := open(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			perform(Operation{Kind: "remove", Path: temporary}, func() error { return os.Remove(temporary) })
		}
	}()
	if old != nil {
		chmod := func() error { return f.Chmod(old.Mode().Perm()) }
		if err := perform(Operation{Kind: "chmod", Path: temporary}, chmod); err != nil {
			return err
		}
	}
	if err := writeSynced(f, data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return Rename(temporary, path)
}

// Append appends data to the file at path, which it creates if necessary. A failure may
// leave a part of data in the file. The error is a *FileError if path exists and is not a
// regular file.
func Append(path string, data []byte) error {
	path, _, err := target(path)
	if err != nil {
		return err
	}
	f, err := open(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = writeSynced(f, data)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if info.Size() > 0 {
		return nil
	}
	return syncDir(filepath.Dir(path)) // the file may be new
}

// open opens or creates the file at path.
func open(path string, flag int) (f *os.File, err error) {
	err = perform(Operation{Kind: "create", Path: path}, func() error {
		f, err = os.OpenFile(path, flag, 0o666)
		return err
	})
	return f, err
}

// writeSynced writes data to f and syncs f.
func writeSynced(f *os.File, data []byte) error {
	err := perform(Operation{Kind: "write", Path: f.Name(), Data: data}, func() error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	return perform(Operation{Kind: "sync", Path: f.Name()}, f.Sync)
}

// Rename moves a file or directory to a path on the same file system. It replaces a file
// at that path.
func Rename(from, to string) error {
	if err := perform(Operation{Kind: "rename", Path: to, From: from}, func() error { return os.Rename(from, to) }); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(to)); err != nil || filepath.Dir(from) == filepath.Dir(to) {
		return err
	}
	return syncDir(filepath.Dir(from))
}

// RemoveAll removes path and, if it is a directory, everything in it. It returns nil if
// path does not exist.
func RemoveAll(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := perform(Operation{Kind: "remove", Path: path}, func() error { return os.RemoveAll(path) }); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Mkdir creates a directory. The error is fs.ErrExist if path exists, so that exactly one
// of several callers succeeds.
func Mkdir(path string) error {
	if err := perform(Operation{Kind: "mkdir", Path: path}, func() error { return os.Mkdir(path, 0o777) }); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// MkdirAll creates a directory and any parents that do not exist.
func MkdirAll(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	err := Mkdir(path)
	if info, statErr := os.Stat(path); errors.Is(err, fs.ErrExist) && statErr == nil && info.IsDir() {
		return nil // another process was faster
	}
	return err
}

// temporaryPrefix returns the beginning of the names of WriteFile's temporary files.
func temporaryPrefix(base string) string { return "." + base + "." }

// RemoveTemporaries removes the temporary files that WriteFile left in dir when processes
// were killed while they wrote files with the given names. No other process may be writing
// these files at the same time.
func RemoveTemporaries(dir string, names ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		temporary := slices.ContainsFunc(names, func(name string) bool {
			random, ok := strings.CutPrefix(e.Name(), temporaryPrefix(name))
			return ok && len(random) == len(rand.Text()) && strings.Trim(random, base32) == ""
		})
		if temporary && e.Type().IsRegular() {
			if err := RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// base32 is the alphabet of rand.Text.
const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// syncDir makes changes in a directory durable, if the system supports that and the user
// may open the directory.
func syncDir(dir string) error {
	return perform(Operation{Kind: "sync", Path: dir}, func() error {
		d, err := os.Open(dir)
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		defer d.Close()
		if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		return nil
	})
}
