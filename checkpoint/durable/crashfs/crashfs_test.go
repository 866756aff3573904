package crashfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bnkit/checkpoint/durable"
)

// follow records on a disk what change does to the folder at dir. wrap returns the function that
// intercepts the operations. follow checks that the disk ends up with the content of the folder.
func follow(t *testing.T, dir string, wrap func(d *Disk) func(durable.Operation, func() error) error, change func() error) *Disk {
	t.Helper()
	d, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	end := durable.Intercept(wrap(d))
	err = change()
	end()
	if err != nil {
		t.Fatal(err)
	}
	if missed, err := d.Missed(); err != nil || len(missed) > 0 {
		t.Fatalf("the disk differs from the folder at %v (error %v), want no difference", missed, err)
	}
	return d
}

// followAll returns the function that records all operations on d.
func followAll(d *Disk) func(durable.Operation, func() error) error { return d.Follow }

// contents returns the contents that the file at path has in the states of all cuts, each once and
// sorted. It contains "missing" if a state does not have the file.
func contents(d *Disk, path string) []string {
	var all []string
	for _, c := range d.Cuts {
		for _, s := range c.States {
			content := "missing"
			if b, there := s[path]; there {
				content = string(b)
			}
			if !slices.Contains(all, content) {
				all = append(all, content)
			}
		}
	}
	slices.Sort(all)
	return all
}

// writeOld writes a file f with the content "old" to a new folder.
func writeOld(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// TestWriteFile checks that a loss of power leaves the old file or the new one, and that the
// model would show a damaged or a lost file if WriteFile did not sync.
func TestWriteFile(t *testing.T) {
	dir, path := writeOld(t)
	write := func() error { return durable.WriteFile(path, []byte("new!")) }
	d := follow(t, dir, followAll, write)
	if got := contents(d, "f"); !slices.Equal(got, []string{"new!", "old"}) || len(d.Cuts) != 7 {
		t.Errorf("%d cuts leave %q, want 7 that leave the old or the new file", len(d.Cuts), got)
	}
	if last := d.Cuts[6].States; len(last) != 1 || string(last[0]["f"]) != "new!" {
		t.Errorf("after WriteFile has returned, a cut leaves %q, want only the new file", last)
	}

	dir, path = writeOld(t)
	d = follow(t, dir, func(d *Disk) func(durable.Operation, func() error) error {
		return func(op durable.Operation, do func() error) error {
			if op.Kind == "sync" {
				return nil
			}
			return d.Follow(op, do)
		}
	}, write)
	if got, want := contents(d, "f"), []string{"", "\x00\x00\x00\x00", "ne", "new!", "old"}; !slices.Equal(got, want) {
		t.Errorf("without syncs, cuts leave %q, want %q", got, want)
	}
}

// TestAppend checks that a loss of power leaves what was in a file, and none, a part or all of what
// is appended, or zeros in its place.
func TestAppend(t *testing.T) {
	dir, path := writeOld(t)
	d := follow(t, dir, followAll, func() error { return durable.Append(path, []byte("+new")) })
	if got, want := contents(d, "f"), []string{"old", "old\x00\x00\x00\x00", "old+n", "old+new"}; !slices.Equal(got, want) {
		t.Errorf("cuts leave %q, want %q", got, want)
	}
	d = follow(t, dir, followAll, func() error { return durable.Append(filepath.Join(dir, "g"), []byte("new")) })
	if got, want := contents(d, "g"), []string{"", "\x00\x00\x00", "missing", "n", "new"}; !slices.Equal(got, want) {
		t.Errorf("cuts leave %q of a new file, want %q", got, want)
	}
}

// TestEmpty checks that a loss of power leaves the old content of a file that was emptied, or none,
// a part or all of the new content, or zeros in its place.
func TestEmpty(t *testing.T) {
	dir, path := writeOld(t)
	d := follow(t, dir, followAll, func() error {
		f, err := durable.OpenFile(path)
		if err != nil {
			return err
		}
		err = f.Empty()
		_, writeErr := f.Write([]byte("newer!"))
		return errors.Join(err, writeErr, f.Sync(), f.Close())
	})
	if got, want := contents(d, "f"), []string{"", "\x00\x00\x00\x00\x00\x00", "new", "newer!", "old"}; !slices.Equal(got, want) {
		t.Errorf("cuts leave %q, want %q", got, want)
	}
}

// TestNames counts the cuts while directories are made, checks that a loss of power during renames
// does not lose a file, and checks the cuts while a directory is removed.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	d := follow(t, dir, followAll, func() error {
		return errors.Join(durable.MkdirAll(filepath.Join(a, "deep")), durable.WriteFile(filepath.Join(a, "deep", "f"), []byte("x")), durable.WriteFile(filepath.Join(a, "g"), []byte("y")))
	})
	if want := 1 + 4 + 5 + 5; len(d.Cuts) != want {
		t.Errorf("%d cuts, want %d", len(d.Cuts), want)
	}
	d = follow(t, dir, followAll, func() error {
		return errors.Join(durable.Rename(a, b), durable.Rename(filepath.Join(b, "g"), filepath.Join(dir, "g")))
	})
	for _, c := range d.Cuts {
		for _, s := range c.States {
			_, before := s["a/g"]
			_, between := s["b/g"]
			_, after := s["g"]
			if !before && !between && !after {
				t.Errorf("a cut after %s loses g, want it at a/g, b/g or g", c.After)
			}
		}
	}
	d = follow(t, dir, followAll, func() error { return durable.RemoveAll(b) })
	var after []string
	for _, c := range d.Cuts[1:] {
		after = append(after, c.After)
	}
	const wantCuts = "remove deep/f, remove b/deep, remove b, sync ."
	if got := strings.Join(after, ", "); got != wantCuts {
		t.Errorf("RemoveAll has cuts after %s, want %s", got, wantCuts)
	}
}

// TestFault checks the errors, and what WriteFile leaves if one of its operations fails.
func TestFault(t *testing.T) {
	for failing := 1; failing <= 6; failing++ { // the number of an operation
		dir, path := writeOld(t)
		fault := Fault{At: failing, Err: syscall.ENOSPC}
		var written int64
		end := durable.Intercept(func(op durable.Operation, do func() error) error {
			err := fault.Inject(op, do)
			if op.Kind == "write" {
				info, statErr := os.Stat(op.Path)
				if statErr != nil {
					t.Error(statErr)
					return err
				}
				written = info.Size()
			}
			return err
		})
		err := durable.WriteFile(path, []byte("new!"))
		end()
		if want := "write " + path + ": " + syscall.ENOSPC.Error(); err == nil || err.Error() != want || !errors.Is(err, syscall.ENOSPC) || fault.Failed == "" {
			t.Errorf("operation %d fails: got error %v, want %q", failing, err, want)
		}
		if want := []int64{0, 0, 2, 4, 4, 4}[failing-1]; written != want {
			t.Errorf("operation %d fails: %d bytes were written, want %d", failing, written, want)
		}
		want := "old"
		if failing == 6 { // after the rename
			want = "new!"
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("operation %d fails: the file holds %q (error %v), want %q", failing, got, err, want)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("operation %d fails: the folder holds %v (error %v), want only f", failing, entries, err)
		}
	}
	// A lasting fault also keeps WriteFile from removing its temporary file.
	dir, path := writeOld(t)
	fault := Fault{At: 4, Lasting: true, Err: syscall.EIO}
	end := durable.Intercept(fault.Inject)
	err := durable.WriteFile(path, []byte("new!"))
	end()
	if entries, readErr := os.ReadDir(dir); !errors.Is(err, syscall.EIO) || readErr != nil || len(entries) != 2 || !strings.HasPrefix(fault.Failed, "sync ") {
		t.Errorf("all operations from %q on fail: got error %v, and the folder holds %v (error %v); want a failed sync, error %v, and f and a temporary file", fault.Failed, err, entries, readErr, syscall.EIO)
	}
	if err := durable.WriteFile(filepath.Join(t.TempDir(), "missing", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a missing folder: got error %v, want fs.ErrNotExist", err)
	}
}
