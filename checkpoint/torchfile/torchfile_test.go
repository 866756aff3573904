package torchfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// expected is an entry of expected.json, in which testdata/make.py describes the content of a
// file.
type expected struct {
	Form    string   `json:"form"`
	Path    string   `json:"path"`
	Ignored []string `json:"ignored"`
	Error   string   `json:"error"`
	Tensors []struct {
		Name   string `json:"name"`
		DType  string `json:"dtype"`
		Shape  []int  `json:"shape"`
		Values []any  `json:"values"`
	} `json:"tensors"`
}

// fixtures returns the expected contents of files that PyTorch wrote, by path.
func fixtures(t testing.TB) map[string]expected {
	all := map[string]expected{}
	for _, version := range []string{"torch1.13", "torch2.14"} {
		folder := filepath.Join("testdata", version)
		b, err := os.ReadFile(filepath.Join(folder, "expected.json"))
		if err != nil {
			t.Fatal(err)
		}
		var files map[string]expected
		if err := json.Unmarshal(b, &files); err != nil {
			t.Fatal(err)
		}
		for name, want := range files {
			all[filepath.Join(folder, name)] = want
		}
	}
	return all
}

// TestAgainstPyTorch reads files that two versions of PyTorch wrote, and compares the
// contents with those that PyTorch reads.
func TestAgainstPyTorch(t *testing.T) {
	all := fixtures(t)
	if len(all) < 100 {
		t.Fatalf("%d files, want at least 100", len(all))
	}
	for path, want := range all {
		t.Run(path, func(t *testing.T) { checkFile(t, path, want) })
	}
}

// checkFile opens the file at path and compares its content with want.
func checkFile(t *testing.T, path string, want expected) {
	f, err := Open(path)
	if want.Error != "" {
		if err == nil || !strings.Contains(err.Error(), want.Error) {
			t.Fatalf("got error %v, want one that says %q", err, want.Error)
		}
		checkBadInput(t, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if f.Form != want.Form || f.Path != want.Path {
		t.Errorf("got form %q and path %q, want %q and %q", f.Form, f.Path, want.Form, want.Path)
	}
	if !slices.Equal(f.Ignored, want.Ignored) {
		t.Errorf("ignored %q\nwant    %q", f.Ignored, want.Ignored)
	}
	if len(f.Tensors) != len(want.Tensors) {
		t.Fatalf("%d tensors, want %d", len(f.Tensors), len(want.Tensors))
	}
	for i, x := range f.Tensors {
		w := want.Tensors[i]
		if x.Name != w.Name || x.DType != w.DType || !slices.Equal(x.Shape, w.Shape) {
			t.Errorf("tensor %d is %s %s %v, want %s %s %v", i, x.Name, x.DType, x.Shape, w.Name, w.DType, w.Shape)
			continue
		}
		values, err := x.Float32()
		if err != nil || len(values) != len(w.Values) {
			t.Errorf("%s: got %d values, error %v; want %d values", x.Name, len(values), err, len(w.Values))
			continue
		}
		for j, v := range values {
			if n := parseNumber(t, w.Values[j]); math.Float32bits(v) != math.Float32bits(n) {
				t.Errorf("%s[%d] = %v, want %v", x.Name, j, v, n)
			}
		}
	}
}

// parseNumber returns a number of expected.json, which writes an infinity as a string.
func parseNumber(t *testing.T, v any) float32 {
	x, err := strconv.ParseFloat(fmt.Sprint(v), 32)
	if err != nil {
		t.Fatal(err)
	}
	return float32(x)
}

// checkBadInput checks that err is a bad-input error of one line.
func checkBadInput(t *testing.T, err error) {
	t.Helper()
	var bad interface{ BadInput() bool }
	if !errors.As(err, &bad) || !bad.BadInput() {
		t.Errorf("got error %v, want a bad-input error", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("got error %q, want one line", err)
	}
}
