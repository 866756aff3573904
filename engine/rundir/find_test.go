package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFindCheckpoint(t *testing.T) {
	dir := t.TempDir()
	if _, err := FindCheckpoint(dir); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("an empty folder: got error %v, want ErrNoCheckpoint", err)
	}
	now := time.Now()
	put := func(age time.Duration, elem ...string) string {
		path := filepath.Join(append([]string{dir}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put(3*time.Hour, "runs", "a", CheckpointFile)
	newest := put(time.Hour, "runs", "b", CheckpointFile)
	put(2*time.Hour, "runs", "c", CheckpointFile)
	put(0, "runs", "d", ResumeFile)
	if got, err := FindCheckpoint(dir); err != nil || got != newest {
		t.Errorf("several runs: got %s (error %v), want that of the newest, %s", got, err, newest)
	}
	direct := put(9*time.Hour, CheckpointFile)
	if got, err := FindCheckpoint(dir); err != nil || got != direct {
		t.Errorf("a checkpoint in the folder itself: got %s (error %v), want %s", got, err, direct)
	}
}
