//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package durable

import "os"

func lock(*os.File) error { return ErrNoLocks }
