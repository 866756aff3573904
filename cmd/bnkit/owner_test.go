package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/rundir"
)

// cancelWriter cancels when something is written to it, like a user who presses Ctrl-C after
// the line of the first epoch.
type cancelWriter struct{ cancel func() }

func (c cancelWriter) Write(b []byte) (int, error) {
	c.cancel()
	return len(b), nil
}

// runInterrupted runs a command line, interrupts it after its first epoch, and returns what it
// prints to standard error.
func runInterrupted(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var e bytes.Buffer
	if code := run(ctx, args, cancelWriter{cancel}, &e); code != 130 {
		t.Fatalf("exit code %d, want 130: %s", code, e.String())
	}
	return e.String()
}

// TestInterruptedHint runs the command that an interrupted run prints, and checks that the
// checkpoint is that of a run without a break. Then it measures the run without flags for its
// data.
func TestInterruptedHint(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no sh to split the printed line")
	}
	data, dataCopy := writeIDX(t), writeIDX(t)
	train := append([]string{"train", "--no-augment"}, smallRun...)
	for name, flags := range map[string][]string{
		"data by path": {"--data", "pictures"},
		"data by name": {"--data", "fashion-mnist", "--data-dir", "pictures"},
	} {
		dir := chdirTemp(t)
		if err := os.CopyFS("pictures", os.DirFS(data)); err != nil {
			t.Fatal(err)
		}
		mustRun(t, append(append(train, flags...), "--out", "whole")...)
		out := filepath.Join("it's  a", "$run")
		stderr := runInterrupted(t, append(append(train, flags...), "--out", out)...)
		_, hint, found := strings.Cut(strings.TrimSpace(stderr), "continue with: bnkit ")
		if !found {
			t.Fatalf("%s: an interrupted run prints %q, want how to continue it", name, stderr)
		}
		words, err := exec.Command("sh", "-c", `set -- `+hint+`; printf '%s\n' "$@"`).Output()
		if err != nil {
			t.Fatal(err)
		}
		args := strings.Split(strings.TrimSuffix(string(words), "\n"), "\n")
		if !slices.Equal(args, []string{"train", "--resume", "--out", out}) {
			t.Errorf("%s: the shell splits %q into %q, want the arguments to resume %q", name, hint, args, out)
		}
		mustRun(t, args...)
		whole, err := os.ReadFile(filepath.Join("whole", "ckpt.bnz"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(out, "ckpt.bnz")); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: the checkpoint of the resumed run (%d bytes, error %v) differs from that of the run without a break (%d bytes), want equal ones", name, len(got), err, len(whole))
		}
		// The location is stored as an absolute path, so that it is found from any directory.
		t.Chdir(t.TempDir())
		ckpt := filepath.Join(dir, out, "ckpt.bnz")
		mustRun(t, "eval", ckpt)
		mustRun(t, "analyze", ckpt, "--batches", "1", "--thresholds", "0.1")
		mustRun(t, "prune", ckpt, "--threshold", "0.1")
		mustRun(t, "eval", filepath.Join(dir, out, "ckpt-pruned.bnz"))
		mustRun(t, "plot", ckpt, "--feature-maps", "conv", "--out", "maps")
		mustRun(t, "export", ckpt, "--out", "m.safetensors")
		// A flag overrides the location: a folder without pictures is refused, and a
		// copy of the pictures is accepted.
		if code, _, err := bnkit(t, "eval", ckpt, "--data-dir", t.TempDir()); code == 0 {
			t.Errorf("%s: eval with an empty --data-dir: exit code 0, want a failure: %s", name, err)
		}
		mustRun(t, "eval", ckpt, "--data-dir", dataCopy)
	}
}

// TestInterruptedForce checks that train --force leaves the old run unchanged if it is
// interrupted before its first step, and that the message says so and does not name --resume.
func TestInterruptedForce(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	before, err := os.ReadFile("r/ckpt.bnz")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var o, e bytes.Buffer
	cancel()
	code := run(ctx, append([]string{"train", "--data", data, "--out", "r", "--force", "--seed", "2", "--normalise", "none"}, smallRun...), &o, &e)
	if code != 130 || strings.Contains(e.String(), "--resume") || !strings.Contains(e.String(), "unchanged") {
		t.Errorf("exit code %d, %q; want 130, that the run is unchanged, and no --resume", code, e.String())
	}
	if after, err := os.ReadFile("r/ckpt.bnz"); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the checkpoint of the old run (%d bytes, error %v) differs from that before (%d bytes), want it unchanged", len(after), err, len(before))
	}
}

// TestDirectoryInUse checks that train refuses a run directory that is in use, and that
// train --resume chooses another one.
func TestDirectoryInUse(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	for _, dir := range []string{"runs/a", "runs/b"} {
		runInterrupted(t, append([]string{"train", "--data", data, "--out", dir}, smallRun...)...)
	}
	b, err := rundir.Own("runs/b")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	for _, flag := range []string{"--resume", "--force"} {
		code, _, err := bnkit(t, append([]string{"train", "--data", data, "--out", "runs/b", flag}, smallRun...)...)
		if code != 2 || !strings.Contains(err, "runs/b is in use: process ") || strings.Count(err, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q; want 2 and one line with the process", flag, code, err)
		}
	}
	if _, _, err := bnkit(t, "train", "--resume"); !strings.Contains(err, "in runs/a\n") {
		t.Errorf("train --resume prints %q, want that it resumes runs/a, which is not in use", err)
	}
	if code, _, err := bnkit(t, "train", "--resume"); code != 2 || !strings.Contains(err, "being trained (1)") {
		t.Errorf("train --resume when all runs are finished or in use: exit code %d, %q; want 2 and one run in use", code, err)
	}
}

// TestDamagedRun checks that damaged files lead to exit code 3, that train --resume names the
// lost rows, and that the run can be compared and drawn without these rows.
func TestDamagedRun(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, "train", "--data", data, "--out", "r", "--arch", "resnet-8", "--epochs", "3", "--lr-drops", "1", "--batch", "32")
	metrics, err := os.ReadFile("r/metrics.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.SplitAfter(string(metrics), "\n")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join("r", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("metrics.jsonl", rows[0]+rows[0]+rows[2])
	for _, command := range []string{"compare", "plot"} {
		if code, _, err := bnkit(t, command, "r"); code != 3 || !strings.Contains(err, "metrics.jsonl: line 2") {
			t.Errorf("%s: exit code %d, %q; want 3 and line 2", command, code, err)
		}
	}
	code, _, stderr := bnkit(t, "train", "--resume", "--out", "r")
	if code != 0 || !strings.Contains(stderr, "lost the rows of epochs 2;") {
		t.Errorf("resume: exit code %d, %q; want 0 and that the row of epoch 2 is lost", code, stderr)
	}
	mustRun(t, "plot", "r")
	var c comparison
	out := mustRun(t, "compare", "r", "--json")
	decode(t, out, &c)
	if c.Runs[0].Epochs != 3 || c.Runs[0].Result == nil || c.Runs[0].Result.Seconds != nil {
		t.Errorf("compare prints the following, want 3 epochs and a result without seconds:\n%s", out)
	}

	write("metrics.jsonl", rows[0])
	if out := mustRun(t, "train", "--resume", "--out", "r"); strings.Contains(out, "test accuracy") || !strings.Contains(out, "checkpoint: r/ckpt.bnz") {
		t.Errorf("resuming a run that lost its last row prints %q, want the checkpoint and no test accuracy", out)
	}
	mustRun(t, "compare", "r")

	write("config.json", `{"arch":"resnet-9"}`)
	for _, args := range [][]string{{"compare", "r"}, {"train", "--resume", "--out", "r"}} {
		if code, _, err := bnkit(t, args...); code != 3 || !strings.Contains(err, "config.json") {
			t.Errorf("%v: exit code %d, %q; want 3 and config.json", args, code, err)
		}
	}
}

func TestShellQuote(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the shells of Windows quote in other ways")
	}
	for path, want := range map[string]string{
		"runs/a-1.2": "runs/a-1.2", "/tmp/x y": "'/tmp/x y'", "it's": `'it'\''s'`, "-r": "./-r", "~/r": "'~/r'", "a;b": "'a;b'",
	} {
		if got := shellQuote(path); got != want {
			t.Errorf("%s is quoted as %s, want %s", path, got, want)
		}
	}
}
