//go:build unix

package bench

import (
	"runtime"
	"syscall"
)

// peakRSS returns the peak memory use of the process in bytes, or 0 if it is unknown.
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
