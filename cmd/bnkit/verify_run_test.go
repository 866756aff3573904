package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/engine/rundir"
)

// copyRun copies the run in testdata, which has 2 epochs, to the new directory dir.
func copyRun(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "run"))); err != nil {
		t.Fatal(err)
	}
}

// mustFail checks that verify finds the problem want in the run in dir.
func mustFail(t *testing.T, dir, want string) {
	t.Helper()
	for _, args := range [][]string{{"verify", dir}, {"verify", dir, "--manifest"}} {
		code, out, _ := bnkit(t, args...)
		found := false
		for line := range strings.Lines(out) {
			found = found || strings.Contains(line, ": FAILED: ") && strings.Contains(line, want)
		}
		if code != 3 || !found {
			t.Errorf("%v: exit code %d and the following, want 3 and the failure %q:\n%s", args, code, want, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, rundir.ManifestFile)); err == nil {
		t.Errorf("verify --manifest wrote %s for a run that does not pass, want none", rundir.ManifestFile)
	}
}

// TestVerifyForeignCheckpoint checks that a run whose ckpt.bnz is another program's file does not pass.
func TestVerifyForeignCheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	copyRun(t, dir)
	foreign, err := os.ReadFile("testdata/resnet8.th")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, rundir.CheckpointFile), foreign)
	mustFail(t, dir, "ckpt.bnz: FAILED: ")
}

// TestVerifyNamesOfDirectories checks that verify finds every .bnz file of a run whose directory has
// a name with characters of patterns.
func TestVerifyNamesOfDirectories(t *testing.T) {
	for _, name := range []string{"r[1]", "r[", "r*", "r?"} {
		dir := filepath.Join(t.TempDir(), name)
		copyRun(t, dir)
		if out := mustRun(t, "verify", dir); strings.Count(out, ": ok: ") != 4 {
			t.Errorf("verify %s prints the following, want 4 files that are ok:\n%s", dir, out)
		}
		writeFile(t, filepath.Join(dir, "pruned.bnz"), []byte("damaged"))
		mustFail(t, dir, "pruned.bnz: FAILED: ")
	}
}

// TestVerifyMissingConfig checks that a run without config.json does not pass, even though resume.bnz
// has the same settings, and that a resume writes it again.
func TestVerifyMissingConfig(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	copyRun(t, dir)
	if err := os.Remove(filepath.Join(dir, rundir.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	mustFail(t, dir, "config.json: the file is missing")
	mustRun(t, "train", "--resume", "--out", dir)
	mustRun(t, "verify", dir)
}
