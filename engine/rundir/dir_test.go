package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bnkit/checkpoint"
	"bnkit/checkpoint/durable"
)

// TestCreateNumbered checks that concurrent callers get different directories, and none that
// existed before.
func TestCreateNumbered(t *testing.T) {
	base := filepath.Join(t.TempDir(), "runs", "a")
	if err := os.MkdirAll(base, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(base+"-3", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	const n = 20
	dirs := make(chan *Dir, n)
	for range n {
		go func() {
			d, err := CreateNumbered(base)
			if err != nil {
				t.Error(err)
			}
			dirs <- d
		}()
	}
	seen := map[string]bool{base: true, base + "-3": true}
	for range n {
		d := <-dirs
		if seen[d.Path()] {
			t.Errorf("%s was returned twice or existed before, want new directories", d.Path())
		}
		seen[d.Path()] = true
		defer d.Release()
	}
	if !seen[base+"-2"] || !seen[base+"-22"] {
		t.Errorf("the directories are %v, want those that end in -2 to -22", seen)
	}
}

// TestLock checks that a directory has one owner at a time, and that the error names the owner.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "run")
	if _, err := Own(path); !errors.Is(err, ErrNoRun) {
		t.Errorf("a missing directory: got error %v, want ErrNoRun", err)
	}
	d, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Own(path); !errors.Is(err, ErrNoRun) {
		t.Errorf("an empty directory: got error %v, want ErrNoRun", err)
	}
	if err := d.Begin(""); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteConfig([]byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := Create(path); !errors.As(err, &locked) || !strings.Contains(locked.Holder, "process ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a locked directory: got error %v, want a *LockedError of one line that names a process", err)
	}
	if err := d.Release(); err != nil {
		t.Fatal(err)
	}
	if d, err = Own(path); err != nil {
		t.Fatal(err)
	}
	defer d.Release()

	// If the lock file is removed, the directory is not locked any more, but the next
	// owner's lock works.
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not remove a file that is open")
	}
	if err := os.Remove(filepath.Join(path, lockFile)); err != nil {
		t.Fatal(err)
	}
	next, err := Own(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Release()
	if err := d.CheckOwned(); err == nil {
		t.Error("CheckOwned returned no error after the next owner had locked the directory, want one")
	}
	if err := next.CheckOwned(); err != nil {
		t.Errorf("CheckOwned of the next owner: got error %v, want none", err)
	}
	if _, err := Own(path); !errors.As(err, &locked) {
		t.Errorf("a directory that the next owner has locked: got error %v, want a *LockedError", err)
	}
}

// TestTextOfLockFile takes ownership of directories whose lock files hold what a killed process, a
// full disk or a loss of power may leave there. The error of a second owner must then name this
// process and no other.
func TestTextOfLockFile(t *testing.T) {
	long := "process 1 on another (bnkit " + strings.Repeat("x", maxHolder) + "...)\n"
	for what, text := range map[string]string{
		"nothing": "", "a process that does not run": "process 999999999 on here (bnkit train)\n", "this process": fmt.Sprintf("process %d on here (bnkit)\n", os.Getpid()),
		"half of a text": long[:20], "zeros": strings.Repeat("\x00", 100), "a long text": long, "a megabyte": strings.Repeat("\xff", 1<<20),
	} {
		path := t.TempDir()
		if err := os.WriteFile(filepath.Join(path, lockFile), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		d, err := Create(path)
		if err != nil {
			t.Errorf("the lock file holds %s: got error %v, want none", what, err)
			continue
		}
		host, err := os.Hostname()
		if err != nil {
			t.Fatal(err)
		}
		var locked *LockedError
		want := fmt.Sprintf("process %d on %s (", os.Getpid(), host)
		if _, err := Create(path); !errors.As(err, &locked) || !strings.HasPrefix(locked.Holder, want) || strings.Count(locked.Holder, "process ") != 1 || len(locked.Holder) > maxHolder+4 {
			t.Errorf("the lock file held %s: got error %v, want a *LockedError that names %s alone", what, err, want)
		}
		if err := d.Release(); err != nil {
			t.Error(err)
		}
	}
}

// TestLockFileLinkRefused checks that a lock file that is a link is refused, and that the file to
// which it leads is neither created nor changed.
func TestLockFileLinkRefused(t *testing.T) {
	for _, to := range []string{"precious", "missing", "."} {
		path, elsewhere := t.TempDir(), t.TempDir()
		if err := os.WriteFile(filepath.Join(elsewhere, "precious"), []byte("precious"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(elsewhere, to), filepath.Join(path, lockFile)); err != nil {
			t.Skipf("links cannot be made here: %v", err)
		}
		var file *durable.FileError
		if _, err := Create(path); !errors.As(err, &file) || !strings.Contains(err.Error(), filepath.Join(path, lockFile)) {
			t.Errorf("a link to %s: got error %v, want a *durable.FileError that names the lock file", to, err)
		}
		if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 1 {
			t.Errorf("a link to %s: the other folder holds %v (error %v), want only the file precious", to, entries, err)
		}
		if got, err := os.ReadFile(filepath.Join(elsewhere, "precious")); err != nil || string(got) != "precious" {
			t.Errorf("a link to %s: the file precious holds %q (error %v), want it unchanged", to, got, err)
		}
	}
}

// TestFileSystemWithoutLocks checks that Create succeeds and sets NotLocked if the file system
// does not support locks.
func TestFileSystemWithoutLocks(t *testing.T) {
	defer func() { tryLock = durable.Lock }()
	tryLock = func(*os.File) error { return durable.ErrNoLocks }
	path := t.TempDir()
	d, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Release()
	if !errors.Is(d.NotLocked, durable.ErrNoLocks) || !strings.Contains(d.NotLocked.Error(), path) {
		t.Errorf("NotLocked is %v, want ErrNoLocks and the directory", d.NotLocked)
	}
	if runtime.GOOS != "windows" { // which does not remove a file that is open
		if err := os.Remove(filepath.Join(path, lockFile)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.CheckOwned(); err != nil {
		t.Errorf("CheckOwned without a lock: got error %v, want none", err)
	}
	tryLock = func(*os.File) error { return os.ErrInvalid }
	if _, err := Create(path); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("another error: got error %v, want %v", err, os.ErrInvalid)
	}
}

// TestOwnCleansUp checks that a new owner removes the temporary files and the unfinished
// replacement of an owner that was killed, and nothing else.
func TestOwnCleansUp(t *testing.T) {
	path := t.TempDir()
	random := strings.Repeat("A2", 13) // as in the name of a temporary file of package durable
	stale := []string{".ckpt.bnz." + random, ".metrics.jsonl." + random, filepath.Join(nextDir, ConfigFile)}
	kept := []string{ConfigFile, CheckpointFile, ".mine", ".ckpt.bnz.old", ".ckpt-pruned.bnz." + random, filepath.Join(PlotsDir, ReportFile)}
	for _, name := range append(stale, kept...) {
		file := filepath.Join(path, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Own(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Release()
	for _, name := range stale {
		if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
			t.Errorf("%s still exists, want it removed", name)
		}
	}
	for _, name := range kept {
		if b, err := os.ReadFile(filepath.Join(path, name)); err != nil || string(b) != name {
			t.Errorf("%s holds %q (error %v), want it unchanged", name, b, err)
		}
	}
}

// TestSwapMustBeFolder checks that Own refuses a .swap that is a link or a file, and that
// File ignores it. No file may change, neither of the run nor of the folder to which the link leads.
func TestSwapMustBeFolder(t *testing.T) {
	for _, linked := range []bool{true, false} {
		path, elsewhere := t.TempDir(), t.TempDir()
		files := map[string]string{filepath.Join(path, ManifestFile): "manifest", filepath.Join(elsewhere, "other"): "other"}
		for _, name := range runFiles {
			files[filepath.Join(path, name)], files[filepath.Join(elsewhere, name)] = "here", "elsewhere"
		}
		swap := filepath.Join(path, swapDir)
		if linked {
			if err := os.Symlink(elsewhere, swap); err != nil {
				t.Skipf("links cannot be made here: %v", err)
			}
		} else {
			files[swap] = "a file"
		}
		for file, content := range files {
			if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := File(path, ConfigFile), filepath.Join(path, ConfigFile); got != want {
			t.Errorf("linked %t: File returns %s, want %s", linked, got, want)
		}
		var damaged *DamagedError
		d, err := Own(path)
		if err == nil {
			d.Release()
		}
		if !errors.As(err, &damaged) || damaged.Path != swap || !strings.Contains(err.Error(), "remove it") || strings.Contains(err.Error(), "\n") {
			t.Errorf("linked %t: got error %v, want a *DamagedError of one line that says to remove %s", linked, err, swap)
		}
		for file, want := range files {
			if got, err := os.ReadFile(file); err != nil || string(got) != want {
				t.Errorf("linked %t: %s holds %q (error %v), want %q", linked, file, got, err, want)
			}
		}
		if _, err := os.Lstat(swap); err != nil {
			t.Errorf("linked %t: got error %v, want %s to stay", linked, err, swap)
		}
	}
}

// TestReplacementAndReport checks that a replacement removes the report in the folder plots,
// but not the one in another folder to which a link of this name leads.
func TestReplacementAndReport(t *testing.T) {
	for _, linked := range []bool{false, true} {
		path, elsewhere := t.TempDir(), t.TempDir()
		plots := filepath.Join(path, PlotsDir)
		if linked {
			if err := os.Symlink(elsewhere, plots); err != nil {
				t.Skipf("links cannot be made here: %v", err)
			}
		} else if err := os.Mkdir(plots, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{filepath.Join(plots, ReportFile), filepath.Join(path, ConfigFile)} {
			if err := os.WriteFile(file, []byte("{}"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		d, err := Own(path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Release()
		if err := errors.Join(d.Begin(""), d.WriteConfig([]byte(`{"new":1}`)), d.Commit()); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(path, ConfigFile)); err != nil || string(b) != `{"new":1}` {
			t.Errorf("linked %t: config.json holds %q (error %v), want that of the replacement", linked, b, err)
		}
		if _, err := os.Stat(filepath.Join(plots, ReportFile)); linked != (err == nil) {
			t.Errorf("linked %t: the report after the replacement: got error %v, want one only if the folder is not linked", linked, err)
		}
	}
}

// TestDataPath checks that the path of the data is stored as an absolute path, and that a damaged
// data.json is an error.
func TestDataPath(t *testing.T) {
	path := t.TempDir()
	if got, err := ReadDataPath(path); got != "" || err != nil {
		t.Errorf("without a run: got %q (error %v), want no path", got, err)
	}
	d, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Release()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dataPath, want := range map[string]string{"": "", "data": filepath.Join(here, "data"), path: path} {
		if err := d.WriteDataPath(dataPath); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadDataPath(path); got != want || err != nil {
			t.Errorf("%q is read as %q (error %v), want %q", dataPath, got, err, want)
		}
	}
	for _, bad := range []string{"{", `{"path":"a","path":"b"}`, `{"PATH":"a"}`} {
		if err := os.WriteFile(d.File(DataFile), []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := ReadDataPath(path); !errors.As(err, &damaged) {
			t.Errorf("%s: got error %v, want a *DamagedError", bad, err)
		}
	}
}

// TestOwnUnfinished checks that OwnUnfinished takes the newest run that is unfinished and has
// no owner, and one with broken settings only after all others.
func TestOwnUnfinished(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	if _, err := OwnUnfinished(runs); !errors.Is(err, ErrNoRun) {
		t.Errorf("without runs: got error %v, want ErrNoRun", err)
	}
	now := time.Now()
	put := func(name, config string, age time.Duration) string {
		t.Helper()
		dir := filepath.Join(runs, name)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, ConfigFile)
		if err := os.WriteFile(path, []byte(config), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	write := func(dir, name string, h checkpoint.Header) {
		t.Helper()
		if err := checkpoint.WriteFile(filepath.Join(dir, name), &checkpoint.File{Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	state := func(json string) checkpoint.Header { return checkpoint.Header{State: []byte(json)} }
	trained := checkpoint.Header{Provenance: []checkpoint.Event{{Action: "train", Parameters: json.RawMessage(`{"epochs":3}`)}}}
	const config = `{"epochs":3}`
	write(put("finished", config, 0), ResumeFile, state(`{"Epochs":3}`))
	write(put("finished without state", config, 0), CheckpointFile, trained)
	broken := put("broken settings", "{", 0)
	second := put("second", config, 2*time.Hour)
	first := put("first", config, time.Hour)
	write(first, ResumeFile, state(`{"Epochs":2}`))
	third := put("third", config, 3*time.Hour)
	if err := os.WriteFile(filepath.Join(third, ResumeFile), []byte("broken"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{first, second, third, broken} {
		d, err := OwnUnfinished(runs)
		if err != nil || d.Path() != want {
			t.Fatalf("got %+v (error %v), want %s", d, err, want)
		}
		defer d.Release() // not before the end of the test, so that later calls skip the run
	}
	if err := os.RemoveAll(broken); err != nil {
		t.Fatal(err)
	}
	if _, err := OwnUnfinished(runs); !errors.Is(err, ErrNoRun) || !strings.Contains(err.Error(), "being trained (3)") {
		t.Errorf("all runs have owners: got error %v, want ErrNoRun and the number of runs in training, 3", err)
	}
}
