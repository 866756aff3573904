package kernel

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// testEnvironment is the environment variable that lists, separated by commas, the
// families that tests must cover. If this processor or build lacks one of them, tests
// fail instead of skipping it.
const testEnvironment = "BNKIT_TEST_FAMILIES"

// familyNames lists all families, with the fastest last.
var familyNames = []string{"generic", "avx2", "avx512"}

// family returns the family of that name. If this machine cannot run it, family skips
// the test, or fails it if the environment requires the family.
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

// availableFamilies returns the families in float32 that this machine runs, with the
// fastest last.
func availableFamilies() (all []*Family[float32]) {
	for _, name := range familyNames {
		if f, err := Select(name); err == nil {
			all = append(all, f)
		}
	}
	return all
}

// TestFamiliesAreKnown fails if a name in the environment is misspelt, because such a
// name would otherwise have no effect.
func TestFamiliesAreKnown(t *testing.T) {
	for _, name := range strings.Split(os.Getenv(testEnvironment), ",") {
		if name != "" && !slices.Contains(familyNames, name) {
			t.Errorf("%s names the family %q, want one of %q", testEnvironment, name, familyNames)
		}
	}
}
