//go:build amd64 && !noasm

package kernel

import (
	"os"
	"testing"
)

// families are the implementations in float32 that this machine runs.
func families(t testing.TB) []*Family[float32] {
	t.Helper()
	all := []*Family[float32]{Generic[float32]()}
	if hasAVX2 {
		return append(all, AVX2())
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no AVX2+FMA here, so nothing would test the assembly")
	}
	return all
}
