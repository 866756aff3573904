package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestWriteFile checks the content of the file, the errors, and that a failure leaves no temporary
// file.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, content := range []string{"first", "second, longer", ""} {
		if err := WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("the file holds %q (error %v), want %q", got, err, content)
		}
	}
	if err := WriteFile(filepath.Join(dir, "missing", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a missing folder: got error %v, want fs.ErrNotExist", err)
	}
	// A folder that is not empty cannot be replaced by a file.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(taken, []byte("x")); err == nil {
		t.Error("WriteFile to a folder returned no error, want one")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v (error %v), want f and taken", entries, err)
	}
}

// errStopped is the error of an operation that a test stops.
var errStopped = errors.New("stopped")

// TestWriteFileStopped makes one operation of WriteFile and all later ones fail, beginning with each
// operation in turn. The file must then have the old content, or the new content if only the last
// operation failed, and RemoveTemporaries must remove the temporary file and nothing else.
func TestWriteFileStopped(t *testing.T) {
	for stop := 1; ; stop++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		// Files with names similar to those of temporary files, which must stay.
		others := []string{".f.short", ".g." + strings.Repeat("A", 26), ".f." + strings.Repeat("a", 26)}
		for _, name := range append([]string{"f"}, others...) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		var ops []string
		end := Intercept(func(op Operation, do func() error) error {
			if ops = append(ops, op.Kind); len(ops) >= stop {
				return errStopped
			}
			return do()
		})
		err := WriteFile(path, []byte("new"))
		end()
		if err == nil {
			const wantOps = "create chmod write sync rename sync"
			if got := strings.Join(ops, " "); got != wantOps {
				t.Errorf("WriteFile performed the operations %s, want %s", got, wantOps)
			}
			return
		}
		want := "old"
		if stop == 6 { // after the rename
			want = "new"
		}
		got, readErr := os.ReadFile(path)
		if !errors.Is(err, errStopped) || readErr != nil || string(got) != want {
			t.Errorf("stopped at operation %d: got error %v, and the file holds %q (error %v); want error %v and content %q", stop, err, got, readErr, errStopped, want)
		}
		if err := RemoveTemporaries(dir, "f"); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1+len(others) {
			t.Errorf("stopped at operation %d: RemoveTemporaries leaves %v (error %v), want f and %v", stop, entries, err, others)
		}
	}
}

// TestAppend appends to a file, and checks that the directory of a new file is synced.
func TestAppend(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var synced []string
	defer Intercept(func(op Operation, do func() error) error {
		if op.Kind == "sync" {
			synced = append(synced, op.Path)
		}
		return do()
	})()
	for _, line := range []string{"one\n", "two\n"} {
		if err := Append(path, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "one\ntwo\n" {
		t.Errorf("the file holds %q (error %v), want both lines", got, err)
	}
	if got := strings.Join(synced, " "); got != strings.Join([]string{path, dir, path}, " ") {
		t.Errorf("Append synced %s; want the file, its directory, and the file again", got)
	}
}

// TestMkdir checks that exactly one of several callers of Mkdir creates a directory, that MkdirAll
// syncs the parent of each new directory, and that RemoveAll accepts a missing path.
func TestMkdir(t *testing.T) {
	root := t.TempDir()
	var mutex sync.Mutex
	synced := map[string]bool{}
	defer Intercept(func(op Operation, do func() error) error {
		mutex.Lock()
		synced[op.Path] = synced[op.Path] || op.Kind == "sync"
		mutex.Unlock()
		return do()
	})()
	deep := filepath.Join(root, "a", "b")
	if err := MkdirAll(deep); err != nil {
		t.Fatal(err)
	}
	if !synced[root] || !synced[filepath.Join(root, "a")] {
		t.Errorf("MkdirAll synced the paths that are true in %v, want %s and its subfolder a", synced, root)
	}
	errs := make(chan error)
	for range 8 {
		go func() { errs <- Mkdir(filepath.Join(deep, "c")) }()
	}
	created := 0
	for range 8 {
		if err := <-errs; err == nil {
			created++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Errorf("Mkdir: got error %v, want none or fs.ErrExist", err)
		}
	}
	if created != 1 {
		t.Errorf("%d of 8 callers created the directory, want 1", created)
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(root, "file")); err == nil {
		t.Error("MkdirAll of a file returned no error, want one")
	}
	if err := RemoveAll(filepath.Join(root, "a")); err != nil {
		t.Error(err)
	}
	if err := RemoveAll(filepath.Join(root, "a")); err != nil {
		t.Errorf("RemoveAll of a missing path: got error %v, want none", err)
	}
}

// TestFile checks the content of a file that is written piece by piece, and the operations that this
// takes.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	var ops []string
	defer Intercept(func(op Operation, do func() error) error {
		if op.Path != path {
			t.Errorf("the operation %s is on %s, want it on %s", op.Kind, op.Path, path)
		}
		ops = append(ops, op.Kind+string(op.Data))
		return do()
	})()
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("the file holds %q (error %v), want %q", got, err, want)
		}
	}
	write := func(data string) {
		t.Helper()
		if n, err := f.Write([]byte(data)); n != len(data) || err != nil {
			t.Errorf("Write of %q returns %d (error %v), want %d", data, n, err, len(data))
		}
	}
	write("1")
	write("2")
	content("old12")
	if err := f.Empty(); err != nil {
		t.Error(err)
	}
	content("")
	write("3")
	content("3")
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
	const wantOps = "create write1 write2 empty write3 sync"
	if got := strings.Join(ops, " "); got != wantOps {
		t.Errorf("performed the operations %s, want %s", got, wantOps)
	}
}
