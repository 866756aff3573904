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

// follow returns the disk after change has changed the folder at dir. It checks that the disk
// holds at last what the folder does.
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
		t.Fatalf("the disk differs from the folder at %v, %v", missed, err)
	}
	return d
}

func everything(d *Disk) func(durable.Operation, func() error) error { return d.Follow }

// contents returns what the states of all cuts hold at path, each content once.
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
	d := follow(t, dir, everything, write)
	if got := contents(d, "f"); !slices.Equal(got, []string{"new!", "old"}) || len(d.Cuts) != 6 {
		t.Errorf("%d cuts leave %q, want 6 that leave the old or the new file", len(d.Cuts), got)
	}
	if last := d.Cuts[5].States; len(last) != 1 || string(last[0]["f"]) != "new!" {
		t.Errorf("after WriteFile has returned, a cut leaves %q", last)
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
	if got := contents(d, "f"); !slices.Equal(got, []string{"", "\x00\x00\x00\x00", "ne", "new!", "old"}) {
		t.Errorf("without syncs, cuts leave %q", got)
	}
}

// TestAppend checks that a loss of power leaves what was in a file, and any part of what is
// appended.
func TestAppend(t *testing.T) {
	dir, path := writeOld(t)
	d := follow(t, dir, everything, func() error { return durable.Append(path, []byte("+new")) })
	if got := contents(d, "f"); !slices.Equal(got, []string{"old", "old\x00\x00\x00\x00", "old+n", "old+new"}) {
		t.Errorf("cuts leave %q", got)
	}
	d = follow(t, dir, everything, func() error { return durable.Append(filepath.Join(dir, "g"), []byte("new")) })
	if got := contents(d, "g"); !slices.Equal(got, []string{"", "\x00\x00\x00", "missing", "n", "new"}) {
		t.Errorf("cuts leave %q of a new file", got)
	}
}

// TestEmpty checks that a loss of power leaves the old content of a file that was emptied, or a
// part of the new content.
func TestEmpty(t *testing.T) {
	dir, path := writeOld(t)
	d := follow(t, dir, everything, func() error {
		f, err := durable.OpenFile(path)
		if err != nil {
			return err
		}
		err = f.Empty()
		_, writeErr := f.Write([]byte("newer!"))
		return errors.Join(err, writeErr, f.Sync(), f.Close())
	})
	if got := contents(d, "f"); !slices.Equal(got, []string{"", "\x00\x00\x00\x00\x00\x00", "new", "newer!", "old"}) {
		t.Errorf("cuts leave %q", got)
	}
}

// TestNames follows changes of directories.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	d := follow(t, dir, everything, func() error {
		return errors.Join(durable.MkdirAll(filepath.Join(a, "deep")), durable.WriteFile(filepath.Join(a, "deep", "f"), []byte("x")), durable.WriteFile(filepath.Join(a, "g"), []byte("y")))
	})
	if len(d.Cuts) != 1+4+5+5 {
		t.Errorf("%d cuts, want 15", len(d.Cuts))
	}
	d = follow(t, dir, everything, func() error {
		return errors.Join(durable.Rename(a, b), durable.Rename(filepath.Join(b, "g"), filepath.Join(dir, "g")))
	})
	for _, c := range d.Cuts {
		for _, s := range c.States {
			_, before := s["a/g"]
			_, between := s["b/g"]
			_, after := s["g"]
			if !before && !between && !after {
				t.Errorf("after %s, g is lost", c.After)
			}
		}
	}
	d = follow(t, dir, everything, func() error { return durable.RemoveAll(b) })
	var after []string
	for _, c := range d.Cuts[1:] {
		after = append(after, c.After)
	}
	if got := strings.Join(after, ", "); got != "remove deep/f, remove b/deep, remove b, sync ." {
		t.Errorf("RemoveAll has the cuts %s", got)
	}
}

// TestFault checks the errors, and what a write that fails leaves.
func TestFault(t *testing.T) {
	for at := 1; at <= 5; at++ {
		dir, path := writeOld(t)
		fault := Fault{At: at, Err: syscall.ENOSPC}
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
			t.Errorf("operation %d fails: %v, want %q", at, err, want)
		}
		if want := map[int]int64{1: 0, 2: 2}; at <= 2 && written != want[at] || at > 2 && written != 4 {
			t.Errorf("operation %d fails: %d bytes were written", at, written)
		}
		want := "old"
		if at == 5 {
			want = "new!"
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("operation %d fails: the file holds %q, %v; want %q", at, got, err, want)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("operation %d fails: left behind %v, %v", at, entries, err)
		}
	}
	// A lasting fault also keeps WriteFile from removing its temporary file.
	dir, path := writeOld(t)
	fault := Fault{At: 3, Lasting: true, Err: syscall.EIO}
	end := durable.Intercept(fault.Inject)
	err := durable.WriteFile(path, []byte("new!"))
	end()
	if entries, readErr := os.ReadDir(dir); !errors.Is(err, syscall.EIO) || readErr != nil || len(entries) != 2 || !strings.HasPrefix(fault.Failed, "sync ") {
		t.Errorf("all operations from %q on fail: %v, left %v, %v", fault.Failed, err, entries, readErr)
	}
	if err := durable.WriteFile(filepath.Join(t.TempDir(), "missing", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}
