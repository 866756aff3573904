//go:build !amd64 || noasm

package kernel

import "errors"

// fastest returns the fastest family of this build.
func fastest() *Family[float32] { return Generic[float32]() }

// fastestReason returns the reason for the choice of fastest.
func fastestReason() string { return "this build has no assembly" }

// features returns an empty list, because families of this build use no processor
// features.
func features() []string { return []string{} }

func selectAVX2() (*Family[float32], error) {
	return nil, errors.New("this build does not include the kernel family avx2: use generic")
}

func selectAVX512() (*Family[float32], error) {
	return nil, errors.New("this build does not include the kernel family avx512: use generic")
}
