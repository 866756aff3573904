package kernel

import (
	"fmt"
	"os"
	"sync"
)

// Environment is the environment variable that names the family to use instead of the
// fastest one.
const Environment = "BNKIT_KERNEL"

// Best returns the family that this process uses: the one that BNKIT_KERNEL names, or
// the fastest if the variable is empty or Configured fails. The choice is made once.
func Best() *Family[float32] {
	family, err := Configured()
	if err != nil {
		return fastest()
	}
	return family
}

// Configured selects the family that BNKIT_KERNEL names, or the fastest if the variable is
// empty. It reads the variable once. Programs call it first, so that they can report a wrong
// value to their users.
func Configured() (*Family[float32], error) { return configured() }

var configured = sync.OnceValues(func() (*Family[float32], error) {
	family, err := Select(os.Getenv(Environment))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Environment, err)
	}
	return family, nil
})

// environmentSelects reports whether the environment variable selects the family that Best
// returns.
func environmentSelects() bool {
	_, err := Configured()
	return err == nil && os.Getenv(Environment) != ""
}

// Select returns the family with the given name, "avx512", "avx2" or "generic", or the
// fastest if the name is empty. It fails if the name is unknown or this machine or
// build cannot run the family.
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
	return nil, fmt.Errorf("unknown kernel family %q: use avx512, avx2 or generic", name)
}
