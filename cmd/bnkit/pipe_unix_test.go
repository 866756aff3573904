//go:build linux || darwin

package main

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestPipes checks that --config and --plan read pipes, that an interruption ends the wait for
// a pipe's writer, and that data is not read from a pipe.
func TestPipes(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	for _, name := range []string{"pipe", "silent"} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // end the waits for a writer
		if f, err := os.OpenFile("silent", os.O_RDWR, 0); err == nil {
			f.Close()
		}
	})
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	mustRun(t, "prune", "r", "--remove", "0.3", "--plan-out", "plan.json")
	plan, err := os.ReadFile("plan.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		content string
		args    []string
	}{
		{"arch: resnet-8\nepochs: 1\nbatch: 32\n", []string{"train", "--config", "pipe", "--data", data, "--out", "r2"}},
		{string(plan), []string{"prune", "r", "--plan", "pipe", "--dry-run"}},
	} {
		// Without a writer, the command waits until it is interrupted.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		args := slices.Clone(c.args)
		args[slices.Index(args, "pipe")] = "silent"
		var out, stderr bytes.Buffer
		if code := run(ctx, args, &out, &stderr); code != 130 {
			t.Errorf("%q, interrupted: exit code %d, want 130: %s", args, code, stderr.String())
		}

		written := make(chan error)
		go func() { written <- os.WriteFile("pipe", []byte(c.content), 0) }()
		mustRun(t, c.args...)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"silent", os.DevNull} {
		code, _, stderr := bnkit(t, "train", "--data", name)
		if code != 3 || !strings.Contains(stderr, name+": it is not a regular file or a folder") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("train --data %s: exit code %d, %q; want 3 and one line that says that it is not a regular file or a folder", name, code, stderr)
		}
	}
}

// TestPipesInRun checks that a pipe in a run directory does not make commands wait that search
// the directory for a model or verify its files.
func TestPipesInRun(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	mustRun(t, "prune", "r/ckpt.bnz", "--remove", "0.3", "--data-dir", data)
	if err := syscall.Mkfifo("r/a.bnz", 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, "inspect", "r/ckpt-pruned.bnz"); !strings.Contains(out, "bnkit prune r/ckpt.bnz") {
		t.Errorf("inspect prints the following, want the command bnkit prune r/ckpt.bnz:\n%s", out)
	}
	if err := os.WriteFile("r/SHA256SUMS", []byte(strings.Repeat("0", 64)+"  a.bnz\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, out, stderr := bnkit(t, "verify", "r"); code != 3 || !strings.Contains(out+stderr, "a.bnz: it is not a regular file") {
		t.Errorf("verify: exit code %d, %q, %q; want 3 and that a.bnz is not a regular file", code, out, stderr)
	}
}
