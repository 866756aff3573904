package durable

import (
	"errors"
	"os"
)

var (
	// ErrLocked reports that another process has locked a file.
	ErrLocked = errors.New("another process has locked it")

	// ErrNoLocks reports that the file system, or this package on the operating system, does
	// not support locks.
	ErrNoLocks = errors.New("its file system or this operating system does not support locks")
)

// Lock locks a file for this process until the file is closed or the process ends. It does
// not wait. The error wraps ErrLocked or ErrNoLocks, or is an error of the file system.
func Lock(f *os.File) error { return lock(f) }
