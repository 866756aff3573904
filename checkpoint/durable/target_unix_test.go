//go:build linux || darwin

package durable

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestWriteThroughLinks checks that a symbolic link stays a link and that the file to which
// it leads is written, whether that file exists or not.
func TestWriteThroughLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"absolute": filepath.Join(dir, "one"), "relative": "two", "dangling": filepath.Join("a", "three"), "twice": "relative2", "relative2": "four",
		"folder":  filepath.Join("a", "b"),                          // a link to a folder
		"a/b/up":  filepath.Join("..", "five"),                      // leads to a/five
		"upwards": "folder" + string(filepath.Separator) + "../six", // leads to a/six, because folder leads to a/b
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"absolute": "one", "relative": "two", "dangling": "a/three", "twice": "four", "folder/up": "a/five", "upwards": "a/six",
	} {
		path := filepath.Join(dir, link)
		if err := WriteFile(path, []byte(link)); err != nil {
			t.Errorf("WriteFile of %s: got error %v, want none", link, err)
			continue
		}
		if err := Append(path, []byte("+")); err != nil {
			t.Errorf("Append to %s: got error %v, want none", link, err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is %v (error %v), want it to stay a link", link, info, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, to)); err != nil || string(got) != link+"+" {
			t.Errorf("%s: %s holds %q (error %v), want %q", link, to, got, err, link+"+")
		}
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "loop"), nil); !errors.As(err, new(*FileError)) {
		t.Errorf("a loop of links: got error %v, want a *FileError", err)
	}
}

// TestRefusesSpecialFiles checks that pipes, devices and folders are refused at once and are
// not replaced.
func TestRefusesSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]string{pipe: "a pipe", link: "a pipe", os.DevNull: "a device", dir: "a folder"} {
		_, errRead := ReadFile(path, 10)
		for function, err := range map[string]error{"WriteFile": WriteFile(path, []byte("x")), "Append": Append(path, []byte("x")), "ReadFile": errRead} {
			if !errors.As(err, new(*FileError)) || !strings.Contains(err.Error(), kind) {
				t.Errorf("%s of %s: got error %v, want a *FileError that says %q", function, path, err, kind)
			}
		}
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the path of the pipe holds %v (error %v), want the pipe", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v (error %v), want the pipe and the link", entries, err)
	}
}

// TestPermissionsAreKept checks that a file that is replaced keeps its permissions.
func TestPermissionsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o600, 0o640, 0o755, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(path, []byte("new")); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("the replaced file has mode %v, want %v", got, mode)
		}
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(path, 5); err != nil || string(b) != "12345" {
		t.Errorf("limit 5: got %q (error %v), want %q", b, err, "12345")
	}
	if _, err := ReadFile(path, 4); !errors.As(err, new(*FileError)) || !strings.Contains(err.Error(), "4 bytes") {
		t.Errorf("limit 4: got error %v, want a *FileError that says %q", err, "4 bytes")
	}
	if _, err := ReadFile(path+"x", 4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got error %v, want os.ErrNotExist", err)
	}
}

// TestReadUpTo reads a file and a pipe, and cancels reading pipes that have no writer or whose
// writer writes nothing.
func TestReadUpTo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int64]string{6: "12345", 5: "12345", 4: "1234"} {
		if b, err := ReadUpTo(t.Context(), path, n); err != nil || string(b) != want {
			t.Errorf("%d bytes of the file: got %q (error %v), want %q", n, b, err, want)
		}
		written := make(chan error)
		go func() { written <- os.WriteFile(pipe, []byte("12345"), 0) }()
		if b, err := ReadUpTo(t.Context(), pipe, n); err != nil || string(b) != want {
			t.Errorf("%d bytes of the pipe: got %q (error %v), want %q", n, b, err, want)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadUpTo(t.Context(), path+"x", 4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got error %v, want os.ErrNotExist", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadUpTo(ctx, pipe, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("a pipe without a writer: got error %v, want context.Canceled", err)
	}
	silent, err := os.OpenFile(pipe, os.O_RDWR, 0) // also ends the wait for a writer
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := ReadUpTo(ctx, pipe, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("a pipe whose writer is silent: got error %v, want context.Canceled", err)
	}
}
