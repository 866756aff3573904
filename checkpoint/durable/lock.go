package durable

import (
	"errors"
	"os"
)

var (
	// ErrLocked reports that a file is locked already, usually by another process.
	ErrLocked = errors.New("another process has locked it")

	// ErrNoLocks reports that the file system does not support locks, or that this package does
	// not implement them on the operating system.
	ErrNoLocks = errors.New("locks are not supported for its file system or this operating system")
)

// Lock locks a file until it is closed or the process ends. It does
// not wait. The error wraps ErrLocked or ErrNoLocks, or is an error of the file system.
func Lock(f *os.File) error { return lock(f) }
