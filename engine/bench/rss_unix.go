//go:build unix

package bench

import (
	"runtime"
	"syscall"
)

// peakRSS returns the most memory that the process has held, in bytes, or 0 if unknown.
func peakRSS() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	switch runtime.GOOS {
	case "darwin", "ios":
		return int64(u.Maxrss) // already in bytes
	}
	return int64(u.Maxrss) * 1024
}
