//go:build amd64 && !noasm

package kernel

import (
	"errors"

	"golang.org/x/sys/cpu"
)

// fastest returns the fastest family that this processor runs.
func fastest() *Family[float32] {
	if hasAVX512 {
		return AVX512()
	}
	if hasAVX2 {
		return AVX2()
	}
	return Generic[float32]()
}

// fastestReason returns the reason for the choice of fastest.
func fastestReason() string {
	switch {
	case hasAVX512:
		return "the fastest that this processor and operating system support"
	case hasAVX2:
		return "this processor or operating system lacks AVX-512 (F, DQ, VL)"
	}
	return "this processor or operating system lacks AVX2 or FMA"
}

// features returns the processor features that the families use and this machine has.
func features() []string {
	usable := []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"AVX2", cpu.X86.HasAVX2}, {"FMA", cpu.X86.HasFMA},
		{"AVX512F", cpu.X86.HasAVX512F}, {"AVX512DQ", cpu.X86.HasAVX512DQ}, {"AVX512VL", cpu.X86.HasAVX512VL},
	} {
		if f.has {
			usable = append(usable, f.name)
		}
	}
	return usable
}

func selectAVX2() (*Family[float32], error) {
	if !hasAVX2 {
		return nil, errors.New("this processor or operating system lacks AVX2 or FMA, which the kernel family avx2 needs: use generic")
	}
	return AVX2(), nil
}

func selectAVX512() (*Family[float32], error) {
	if !hasAVX512 {
		return nil, errors.New("this processor or operating system lacks AVX-512 (F, DQ, VL), which the kernel family avx512 needs: use avx2 or generic")
	}
	return AVX512(), nil
}

// hasAVX2 and hasAVX512 report whether this machine runs the families. Package cpu reports a
// feature only if the operating system saves its registers.
var (
	hasAVX2   = cpu.X86.HasAVX2 && cpu.X86.HasFMA
	hasAVX512 = hasAVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
)

// AVX2 returns the family in AVX2+FMA assembly. It runs only on a machine that has
// both, which Best and Select check.
func AVX2() *Family[float32] { return amd64Family("avx2", false, avx2Peak) }

// AVX512 returns the AVX2 family with convolutions that compute 16 floats at a time. It
// has the same layout and gives the same bits. It runs only on a machine with AVX-512
// F, DQ and VL, which Best and Select check.
func AVX512() *Family[float32] { return amd64Family("avx512", true, avx512Peak) }

func amd64Family(name string, wide bool, peak func() float64) *Family[float32] {
	return &Family[float32]{
		Name:  name,
		Lanes: lanes,

		NewForward: func(s ConvShape) Conv[float32] {
			if winogradIsFaster(s, s.In) {
				return newWinogradForward(s, wide)
			}
			return newDirectForward(s, wide)
		},
		NewBackward: func(s ConvShape) Conv[float32] {
			if winogradIsFaster(s, s.Out) {
				return newWinogradBackward(s, wide)
			}
			return newDirectBackward(s, wide)
		},
		NewWeightGradient: func(s ConvShape) WeightGradient[float32] {
			if winogradGradientIsFaster(s) {
				return newWinogradGradient(s, wide)
			}
			return newDirectWeightGradient(s, wide)
		},

		Activate:          avx2Activate,
		Moments:           avx2Moments,
		MaskGradient:      avx2MaskGradient,
		BatchNormGradient: avx2BatchNormGradient,
		PlaneSums:         avx2PlaneSums,
		SubsampleGradient: avx2SubsampleGradient,
		Totals:            avx2CheckedTotals,
		TotalSquares:      avx2CheckedTotalSquares,

		Dot:  avx2CheckedDot,
		Axpy: avx2CheckedAxpy,
		SGD:  avx2CheckedSGD,

		RoundBF16:  avx2CheckedRoundBF16,
		ExpandBF16: avx2CheckedExpandBF16,

		peak: peak,
	}
}

// winogradIsFaster reports whether Winograd's convolution is faster than direct
// convolution for a direction that reads the given number of channels. By measurement,
// its transforms pay off from 2 channels on. It saves no multiplications on 2×2 pixels
// or fewer.
func winogradIsFaster(s ConvShape, channels int) bool {
	return s.Kernel == 3 && s.Stride == 1 && s.Pad == 1 && channels > 1 && max(s.H, s.W) > 2
}

// winogradGradientIsFaster reports whether Winograd's filter gradient is faster than the
// direct one. By measurement, it is slower if less than one block of channels is used, because
// it transforms whole blocks, and with many filters, because its sums at 36 positions then
// pass through memory for the few tiles of a call.
func winogradGradientIsFaster(s ConvShape) bool {
	return winogradIsFaster(s, s.In) && s.In >= lanes && winogradPositions*s.In*s.Out <= winogradManyFilters
}
