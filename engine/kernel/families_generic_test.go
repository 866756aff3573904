//go:build !amd64 || noasm

package kernel

import "testing"

// families are the implementations in float32 that this machine runs.
func families(testing.TB) []*Family[float32] {
	return []*Family[float32]{Generic[float32]()}
}
