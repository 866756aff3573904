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
	return &Family[float32]{
		Name:  "avx2",
		Lanes: lanes,

		NewForward:        newAVX2Forward,
		NewBackward:       newAVX2Backward,
		NewWeightGradient: newDirectWeightGradient,

		Activate:          avx2Activate,
		Moments:           avx2Moments,
		MaskGradient:      avx2MaskGradient,
		BatchNormGradient: avx2BatchNormGradient,
		PlaneSums:         avx2PlaneSums,

		Dot:  avx2CheckedDot,
		Axpy: avx2CheckedAxpy,
		SGD:  avx2CheckedSGD,

		peak: avx2Peak,
	}
}

func newAVX2Forward(s ConvShape) Conv[float32] {
	if winogradIsFaster(s, s.In) {
		return newWinogradForward(s)
	}
	return newDirectForward(s)
}

func newAVX2Backward(s ConvShape) Conv[float32] {
	if winogradIsFaster(s, s.Out) {
		return newWinogradBackward(s)
	}
	return newDirectBackward(s)
}

// winogradIsFaster tells so of a direction that reads so many channels, as
// measured: its transforms pay off from 2 on, and on more than the 2×2 pixels
// for which it multiplies no less often.
func winogradIsFaster(s ConvShape, channels int) bool {
	return s.Kernel == 3 && s.Stride == 1 && s.Pad == 1 && channels > 1 && max(s.H, s.W) > 2
}
