package kernel

import (
	"fmt"
	"os"
	"sync"
)

// Environment is the variable that names the family to compute with, instead
// of the fastest that the machine runs.
const Environment = "BNKIT_KERNEL"

// Best is the family that this machine computes with, chosen once: the one
// that BNKIT_KERNEL names, else the fastest. Where Configured reports an
// error, it is the fastest.
func Best() *Family[float32] {
	family, err := Configured()
	if err != nil {
		return fastest()
	}
	return family
}

// Configured is Select of the environment's BNKIT_KERNEL, read once. A program
// calls it before it computes anything, to tell its user of a mistake in it.
func Configured() (*Family[float32], error) { return configured() }

var configured = sync.OnceValues(func() (*Family[float32], error) {
	family, err := Select(os.Getenv(Environment))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Environment, err)
	}
	return family, nil
})

// chosen reports whether the environment, not the machine, decides what Best returns.
func chosen() bool {
	_, err := Configured()
	return err == nil && os.Getenv(Environment) != ""
}

// Select returns the family of that name, "avx512", "avx2" or "generic", or the
// fastest where the name is empty. It fails where there is none, or this machine or
// this build cannot run it.
func Select(name string) (*Family[float32], error) {
	switch name {
	case "":
		return fastest(), nil
	case "generic":
		return Generic[float32](), nil
	case "avx2":
		return selectAVX2()
	case "avx512":
		return selectAVX512()
	}
	return nil, fmt.Errorf("there is no kernel family %q: use avx512, avx2 or generic", name)
}
