//go:build unix

package convert_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bnkit/engine/convert"
)

// TestPipe checks that a pipe is refused and not opened, because that would wait for a
// writer.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if supported, err := convert.IsFile(path); supported || err != nil {
		t.Errorf("IsFile returns %v, %v; want false and no error", supported, err)
	}
	if _, err := convert.Open(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Open returns error %v, want one that says that it is not a regular file", err)
	}
}
