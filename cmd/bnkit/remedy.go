package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// remedy returns what to do about an error of the operating system that concerns disks,
// permissions or the number of open files. It returns "" for other errors.
func remedy(err error) string {
	is := func(causes ...syscall.Errno) bool {
		for _, cause := range causes {
			if errors.Is(err, cause) {
				return true
			}
		}
		return false
	}
	switch {
	case is(syscall.ENOSPC):
		return "free some space, or write to another disk"
	case is(syscall.EDQUOT):
		return "free some of your quota, or write to another disk"
	case is(syscall.EROFS):
		return "make the disk writable, or write to another one"
	case is(syscall.EMFILE):
		return "let this process open more files (ulimit -n)"
	case is(syscall.ENFILE):
		return "end other programs that hold files open"
	case is(syscall.EIO, syscall.ESTALE, syscall.ENXIO, syscall.ENODEV, syscall.ENOTCONN, syscall.EHOSTDOWN):
		return "check the disk or the connection to it"
	case errors.Is(err, fs.ErrPermission):
		return "change the permissions, or name another file or folder"
	}
	return ""
}

// runFaultError reports an error of the operating system that ended a run which can be
// continued.
type runFaultError struct {
	err error
	dir string // of the run
}

func (e *runFaultError) Error() string {
	what := remedy(e.err)
	switch {
	case what == "" && errors.Is(e.err, fs.ErrNotExist):
		what = "check that the folder and its disk are still there"
	case what == "":
		what = "remedy that"
	}
	return fmt.Sprintf("%v; %s, then continue with: bnkit train --resume --out %s", e.err, what, shellQuote(e.dir))
}

func (e *runFaultError) Unwrap() error { return e.err }
