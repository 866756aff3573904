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
	available := families(t)
	if want := available[len(available)-1].Name; fastest.Name != want {
		t.Errorf("the fastest is %s, want %s", fastest.Name, want)
	}
	generic, err := Select("generic")
	if err != nil || generic.Name != "generic" {
		t.Errorf("generic: %v, %v", generic, err)
	}
	avx2, err := Select("avx2")
	if len(available) > 1 {
		if err != nil || avx2.Name != "avx2" {
			t.Errorf("avx2: %v, %v", avx2, err)
		}
	} else if err == nil || !strings.Contains(err.Error(), "use generic") {
		t.Errorf("avx2 where there is none: %v, %v", avx2, err)
	}
	avx512, err := Select("avx512")
	if len(available) > 2 {
		if err != nil || avx512.Name != "avx512" {
			t.Errorf("avx512: %v, %v", avx512, err)
		}
	} else if err == nil || !strings.Contains(err.Error(), "generic") {
		t.Errorf("avx512 where there is none: %v, %v", avx512, err)
	}
	if _, err := Select("avx"); err == nil || !strings.Contains(err.Error(), `"avx"`) {
		t.Errorf("avx: error %v", err)
	}
}

func TestBestIsConfigured(t *testing.T) {
	configured, err := Configured()
	if err != nil {
		t.Fatal(err)
	}
	if best := Best(); best != configured || best != Best() {
		t.Errorf("Best changes")
	}
}

func TestPeak(t *testing.T) {
	for threads := 1; threads <= 2; threads++ {
		if rate := PeakGFLOPS(threads); !(rate > 0) || math.IsInf(rate, 0) {
			t.Errorf("peak of %v GFLOP/s on %d threads", rate, threads)
		}
	}
}
