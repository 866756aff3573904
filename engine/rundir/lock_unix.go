//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package rundir

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

func lock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errHeld
		// Network file systems without a lock service, and some in user space.
		case errors.Is(err, syscall.ENOLCK), errors.Is(err, errors.ErrUnsupported):
			return fmt.Errorf("%w (%v)", errCannotLock, err)
		}
		return err
	}
}
