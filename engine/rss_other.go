//go:build !unix

package engine

// peakRSS is unknown on this system.
func peakRSS() int64 { return 0 }
