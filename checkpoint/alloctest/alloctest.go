// Package alloctest helps tests to check that reading a file takes no more memory than its
// size justifies.
package alloctest

import (
	"runtime/metrics"
	"testing"
)

// Bytes returns the number of bytes that f allocates, including memory that is freed again.
// Allocations of goroutines that run at the same time are counted too.
func Bytes(f func()) uint64 {
	before := total()
	f()
	return total() - before
}

// AtMost runs f and reports an error if f allocates more than limit bytes.
func AtMost(t testing.TB, limit int, f func()) {
	t.Helper()
	if allocated := Bytes(f); allocated > uint64(limit) {
		t.Errorf("%d bytes were allocated, want at most %d", allocated, limit)
	}
}

// total returns the number of bytes that the process has allocated so far.
func total() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
