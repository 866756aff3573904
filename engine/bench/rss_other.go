//go:build !unix

package bench

// peakRSS returns 0, because the value is unknown on this system.
func peakRSS() int64 { return 0 }
