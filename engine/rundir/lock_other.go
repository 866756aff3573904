//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package rundir

import "os"

func lock(*os.File) error { return errCannotLock }
