package kernel

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// testEnvironment is the variable that lists, separated by commas, the families
// that tests must cover: where this processor or build lacks one of them, tests
// fail rather than skip it.
const testEnvironment = "BNKIT_TEST_FAMILIES"

var familyNames = []string{"generic", "avx2", "avx512"}

// family returns the family of that name. Where it cannot run here, family skips
// the test, or fails it if the environment says that the family must be covered.
func family(t testing.TB, name string) *Family[float32] {
	t.Helper()
	f, err := Select(name)
	if err == nil {
		return f
	}
	if slices.Contains(strings.Split(os.Getenv(testEnvironment), ","), name) {
		t.Fatalf("%s requires the family %s: %v", testEnvironment, name, err)
	}
	t.Skipf("not tested: %v", err)
	return nil
}

// eachFamily runs a subtest for each family in float32.
func eachFamily(t *testing.T, test func(t *testing.T, f *Family[float32])) {
	t.Helper()
	for _, name := range familyNames {
		t.Run(name, func(t *testing.T) { test(t, family(t, name)) })
	}
}

// availableFamilies are the families in float32 that run here, the fastest last.
func availableFamilies() (all []*Family[float32]) {
	for _, name := range familyNames {
		if f, err := Select(name); err == nil {
			all = append(all, f)
		}
	}
	return all
}

// TestFamiliesAreKnown refuses a misspelt name in the environment, which would
// require nothing.
func TestFamiliesAreKnown(t *testing.T) {
	for _, name := range strings.Split(os.Getenv(testEnvironment), ",") {
		if name != "" && !slices.Contains(familyNames, name) {
			t.Errorf("%s: there is no family %q; want some of %v", testEnvironment, name, familyNames)
		}
	}
}
