//go:build !amd64 || noasm

package kernel

import "errors"

func fastest() *Family[float32] { return Generic[float32]() }

// fastestReason says why fastest returns what it does.
func fastestReason() string { return "this build has no assembly" }

// features are those that families depend on: none.
func features() []string { return []string{} }

func selectAVX2() (*Family[float32], error) {
	return nil, errors.New("this build has no kernel family avx2: use generic")
}

func selectAVX512() (*Family[float32], error) {
	return nil, errors.New("this build has no kernel family avx512: use generic")
}
