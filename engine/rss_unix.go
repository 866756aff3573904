//go:build unix

package engine

import (
	"runtime"
	"syscall"
)

// peakRSS is the most memory the process has held, in bytes.
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
