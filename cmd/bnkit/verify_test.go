package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/engine/rundir"
)

// TestVerify checks that an intact run passes, and that verify names each file that is
// damaged or belongs to another run.
func TestVerify(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	train := func(dir string, flags ...string) {
		mustRun(t, append([]string{"train", "--data", data, "--out", dir, "--arch", "resnet-8", "--epochs", "2", "--batch", "32"}, flags...)...)
	}
	train("a")
	train("b", "--seed", "2")
	mustRun(t, "prune", "a", "--remove", "0.2")
	if out := mustRun(t, "verify", "a", "b/ckpt.bnz"); strings.Count(out, ": ok: ") != 6 || !strings.Contains(out, "seed 1, bn trained") || !strings.Contains(out, "was found and matches") {
		t.Errorf("verify prints the following, want 6 files that are ok, the trained set and its data:\n%s", out)
	}
	// resnet-8 has 9 BatchNorms, including those of shortcuts, with 336 channels and so 672 γ and β; 0.2
	// of the channels are 67.
	mustRun(t, "prune", "a", "--remove", "0.2", "--recover", "3", "--out", "pruned.bnz")
	mustRun(t, "train", "--from", "pruned.bnz", "--data", data, "--epochs", "1", "--batch", "32", "--out", "c")
	for path, want := range map[string]string{
		"a/ckpt.bnz":        "bn trained (672 parameters), 2 epochs;",
		"a/ckpt-pruned.bnz": "bn trained (538 parameters), 67 pruned channels held constant, 2 epochs, pruned;",
		"pruned.bnz":        "bn trained (538 parameters), 67 pruned channels held constant, 2 epochs, pruned, 3 epochs of recovery;",
		"c/ckpt.bnz":        "bn trained (538 parameters), 67 pruned channels held constant, 2 epochs, pruned, 3 epochs of recovery, 1 epoch;",
	} {
		if out := mustRun(t, "verify", path); !strings.Contains(out, want) {
			t.Errorf("verify %s prints %q, want %q", path, out, want)
		}
	}

	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 4
		return b
	}
	// checkChanged replaces the content of a file, checks that verify fails with the text want,
	// and restores the file.
	checkChanged := func(name string, changed []byte, want string) {
		t.Helper()
		path := filepath.Join("a", name)
		before := read(path)
		write(path, changed)
		code, out, _ := bnkit(t, "verify", "a")
		failed := ""
		for line := range strings.Lines(out) {
			if strings.Contains(line, ": FAILED: ") {
				failed += line
			}
		}
		if code != 3 || !strings.Contains(failed, want) {
			t.Errorf("%s changed: exit code %d, failures %q; want 3 and %q", name, code, failed, want)
		}
		write(path, before)
	}
	checkChanged("ckpt.bnz", flip(read("a/ckpt.bnz")), "a/ckpt.bnz: FAILED")
	checkChanged("ckpt-pruned.bnz", flip(read("a/ckpt-pruned.bnz")), "a/ckpt-pruned.bnz: FAILED")
	checkChanged("resume.bnz", flip(read("a/resume.bnz")), "a/resume.bnz: FAILED")
	checkChanged("resume.bnz", read("b/resume.bnz"), "its seed is 2")
	checkChanged("config.json", bytes.Replace(read("a/config.json"), []byte(`"lr": 0.1`), []byte(`"lr": 0.2`), 1), "lr is 0.2")
	checkChanged("metrics.jsonl", bytes.SplitAfter(read("a/metrics.jsonl"), []byte("\n"))[0], "the row of epoch 2 is missing")
	checkChanged("metrics.jsonl", flip(read("a/metrics.jsonl"))[1:], "a/metrics.jsonl: FAILED")

	// A manifest covers every byte of every file, and sha256sum reads it.
	mustRun(t, "verify", "a", "--manifest")
	if sum, err := exec.LookPath("sha256sum"); err == nil {
		c := exec.Command(sum, "-c", "--strict", rundir.ManifestFile)
		c.Dir = "a"
		if out, err := c.CombinedOutput(); err != nil || bytes.Count(out, []byte(": OK")) != 6 {
			t.Errorf("sha256sum prints the following (error %v), want 6 files that are OK:\n%s", err, out)
		}
	}
	for _, name := range []string{"data.json", "config.json", "metrics.jsonl"} {
		checkChanged(name, append(read(filepath.Join("a", name)), ' '), rundir.ManifestFile+": "+name)
	}
	checkChanged(rundir.ManifestFile, flip(read(filepath.Join("a", rundir.ManifestFile))), rundir.ManifestFile)
	if err := os.Remove("a/data.json"); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := bnkit(t, "verify", "a"); code != 3 || !strings.Contains(out, "data.json, which it lists, is missing") {
		t.Errorf("a missing file: exit code %d, want 3 and that data.json is missing:\n%s", code, out)
	}

	// A resumed run removes its manifest, because the files change.
	mustRun(t, "train", "--resume", "--out", "a", "--epochs", "3", "--data-dir", data)
	if _, err := os.Stat(filepath.Join("a", rundir.ManifestFile)); err == nil {
		t.Error("a resumed run kept its manifest, want it removed")
	}
	mustRun(t, "verify", "a")
	if code, _, err := bnkit(t, "verify", "missing"); code != 1 || !strings.Contains(err, "name a file or a run directory") {
		t.Errorf("a missing run: exit code %d, %q; want 1 and what to name", code, err)
	}
}
