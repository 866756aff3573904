package kernel

import (
	"math"
	"strings"
	"testing"
)

func TestSelect(t *testing.T) {
	fastest, err := Select("")
	if err != nil {
		t.Fatal(err)
	}
	available := availableFamilies()
	if want := available[len(available)-1].Name; fastest.Name != want {
		t.Errorf("the fastest family is %s, want %s", fastest.Name, want)
	}
	for _, name := range familyNames {
		f, err := Select(name)
		if err == nil && f.Name != name {
			t.Errorf("Select(%q) returns the family %s, want %[1]s", name, f.Name)
		}
		if err != nil && (name == "generic" || !strings.Contains(err.Error(), "generic")) {
			t.Errorf("Select(%q): got error %v, want none or, except for generic, one that advises generic", name, err)
		}
	}
	if _, err := Select("avx"); err == nil || !strings.Contains(err.Error(), `"avx"`) {
		t.Errorf("Select(%q): got error %v, want one that quotes the name", "avx", err)
	}
}

func TestBestIsConfigured(t *testing.T) {
	configured, err := Configured()
	if err != nil {
		t.Fatal(err)
	}
	if best := Best(); best != configured || best != Best() {
		t.Errorf("Best returns the family %s, want the same as Configured, %s, at every call", best.Name, configured.Name)
	}
}

func TestPeak(t *testing.T) {
	for threads := 1; threads <= 2; threads++ {
		if rate := PeakGFLOPS(threads); !(rate > 0) || math.IsInf(rate, 0) {
			t.Errorf("peak of %v GFLOP/s on %d threads, want a finite number above 0", rate, threads)
		}
	}
}
