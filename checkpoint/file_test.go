package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestReadRefusesOtherFiles reads files that are not .bnz files. The error must name the path, and
// the memory that is allocated must not grow with the size of the file.
func TestReadRefusesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	if _, err := ReadFile(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "ckpt.bnz") {
		t.Errorf("a missing file: got error %v, want fs.ErrNotExist, the path and a mention of ckpt.bnz", err)
	}
	if _, err := ReadFile(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "ckpt.bnz")) {
		t.Errorf("a folder: got error %v, want a mention of the ckpt.bnz in it", err)
	}
	whole := encoded(t, sample())
	for name, c := range map[string]struct {
		content []byte
		size    int64 // of the file; a hole follows the content
	}{
		"empty":                 {nil, 0},
		"a zip":                 {[]byte("PK\x03\x04"), 4},
		"only the magic number": {whole[:8], 8},
		"64 GB of other bytes":  {[]byte("something"), 64 << 30},
		"a .bnz grown to 64 GB": {whole, 64 << 30},
	} {
		path := filepath.Join(dir, "x.bnz")
		if err := os.WriteFile(path, c.content, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, c.size); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for reader, err := range map[string]error{"ReadFile": errorOf(ReadFile(path)), "ReadInfo": errorOf(ReadInfo(path))} {
			var format *FormatError
			if !errors.As(err, &format) || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s of file %q: got error %v, want a *FormatError and the path", reader, name, err)
			}
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("file %q: %d bytes were allocated, want at most %d", name, grown, 1<<20)
		}
	}
}

// TestReadFails checks that an error of the file system is wrapped, and that it does not blame the
// file.
func TestReadFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.bnz")
	if err := WriteFile(path, sample()); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(); !errors.Is(err, fs.ErrClosed) || errors.Is(err, ErrCorrupt) {
		t.Errorf("read after Close: got error %v, want fs.ErrClosed and not ErrCorrupt", err)
	}
}

// errorOf returns the error of a call with two results.
func errorOf[T any](_ T, err error) error { return err }
