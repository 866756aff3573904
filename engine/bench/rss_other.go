//go:build !unix

package bench

// peakRSS returns 0, which means unknown.
func peakRSS() int64 { return 0 }
