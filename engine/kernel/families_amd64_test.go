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
		all = append(all, AVX2())
		if hasAVX512 {
			all = append(all, AVX512())
		}
		return all
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no AVX2+FMA here, so nothing would test the assembly")
	}
	return all
}

// convolutions are the constructors for one width of registers.
type convolutions struct {
	name                              string
	winogradForward, winogradBackward func(ConvShape) Conv[float32]
	directForward, directBackward     func(ConvShape) Conv[float32]
	directGradient, winogradGradient  func(ConvShape) WeightGradient[float32]
	peak                              func() float64
}

// widths are the widths of registers that this machine has.
func widths(t testing.TB) []convolutions {
	t.Helper()
	var all []convolutions
	for _, f := range families(t)[1:] {
		wide := f.Name == "avx512"
		all = append(all, convolutions{
			name:             f.Name,
			winogradForward:  func(s ConvShape) Conv[float32] { return newWinogradForward(s, wide) },
			winogradBackward: func(s ConvShape) Conv[float32] { return newWinogradBackward(s, wide) },
			directForward:    func(s ConvShape) Conv[float32] { return newDirectForward(s, wide) },
			directBackward:   func(s ConvShape) Conv[float32] { return newDirectBackward(s, wide) },
			directGradient:   func(s ConvShape) WeightGradient[float32] { return newDirectWeightGradient(s, wide) },
			winogradGradient: func(s ConvShape) WeightGradient[float32] { return newWinogradGradient(s, wide) },
			peak:             f.peak,
		})
	}
	return all
}
