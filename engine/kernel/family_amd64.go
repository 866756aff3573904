//go:build amd64 && !noasm

package kernel

import (
	"errors"

	"golang.org/x/sys/cpu"
)

func fastest() *Family[float32] {
	if hasAVX2 {
		return AVX2()
	}
	return Generic[float32]()
}

func selectAVX2() (*Family[float32], error) {
	if !hasAVX2 {
		return nil, errors.New("this processor lacks AVX2 or FMA, which the kernel family avx2 needs: use generic")
	}
	return AVX2(), nil
}

var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// AVX2 is the family in AVX2+FMA assembly. It runs only on a machine that has
// both; Best and Select check.
func AVX2() *Family[float32] {
	f := *Generic[float32]()
	f.Name = "avx2"
	f.NewForward = newAVX2Forward
	f.NewBackward = newAVX2Backward
	f.NewWeightGradient = newDirectWeightGradient
	return &f
}

func newAVX2Forward(s ConvShape) Conv[float32] {
	if s.Kernel == 3 && s.Stride == 1 && s.Pad == 1 {
		return newWinogradForward(s)
	}
	return newDirectForward(s)
}

func newAVX2Backward(s ConvShape) Conv[float32] {
	if s.Kernel == 3 && s.Stride == 1 && s.Pad == 1 {
		return newWinogradBackward(s)
	}
	return newDirectBackward(s)
}
