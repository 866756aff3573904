//go:build linux || darwin

package durable

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFileModeFollowsUmask checks that the umask determines the permissions of a file.
func TestFileModeFollowsUmask(t *testing.T) {
	for _, umask := range []int{0o022, 0o077} {
		path := filepath.Join(t.TempDir(), "f")
		old := syscall.Umask(umask)
		err := WriteFile(path, []byte("x"))
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := info.Mode().Perm(), os.FileMode(0o666&^umask); got != want {
			t.Errorf("umask %o: mode %o, want %o", umask, got, want)
		}
	}
}
