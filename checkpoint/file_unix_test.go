//go:build linux || darwin

package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestWriteFailsHalfway limits files to the size of the old one, so that writing a larger one
// fails halfway, as on a full disk. The old file must stay, and no other file may be left.
func TestWriteFailsHalfway(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ckpt.bnz")
	if err := WriteFile(path, sample()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	larger := &File{Header: sample().Header, Tensors: resNetTensors(20, false)}

	limitFileSize(t, len(before), func() {
		if err := WriteFile(path, larger); err == nil {
			t.Error("writing beyond the limit returned no error, want one")
		}
	})
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file has %d bytes, error %v; want the %d bytes of the old file", len(after), err, len(before))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, error %v; want one file", entries, err)
	}

	// The same write succeeds without the limit, so the limit made it fail.
	if err := WriteFile(path, larger); err != nil {
		t.Error(err)
	}
}

// limitFileSize calls f while files of the process cannot grow beyond size bytes.
func limitFileSize(t *testing.T, size int, f func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = uint64(size)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}
