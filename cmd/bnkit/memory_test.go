package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/checkpoint"
)

func TestMemorySize(t *testing.T) {
	for text, want := range map[string]memorySize{"1": 1, "500MB": 5e8, "8 gb": 8e9, "1.5GiB": 3 << 29, "2k": 2000, "3B": 3, "1e9": 1e9} {
		var got memorySize
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%q: got %d (error %v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "MB", "1XB", "NaN", "Inf", "1e30", "9999999TB", "0.1"} {
		var got memorySize
		if err := got.Set(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

// TestMaxMemory checks that networks and batches that need more than --max-memory are refused
// in one line with exit code 2.
func TestMaxMemory(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.bnz") // 232 million parameters, none of them stored
	err := checkpoint.WriteFile(big, &checkpoint.File{Header: checkpoint.Header{
		Arch: "resnet152", Shortcut: "B", Input: [3]int{1, 28, 28}, Classes: 10, Trainable: "none", Variants: checkpoint.Variants{Width: 2},
		Initialisers: checkpoint.Initialisers{Generator: "philox4x32-10", Weights: "he-normal", Gamma: "uniform", Beta: "zero"},
		Data:         checkpoint.DataSet{Name: "sample"}, Normalisation: checkpoint.Normalisation{Eps: 1e-5},
	}})
	if err != nil {
		t.Fatal(err)
	}
	batch := filepath.Join(dir, "batch.bnz")
	err = checkpoint.WriteFile(batch, &checkpoint.File{Header: checkpoint.Header{
		Arch: "resnet-20", Shortcut: "B", Input: [3]int{1, 28, 28}, Classes: 10, Trainable: "none",
		Initialisers: checkpoint.Initialisers{Generator: "philox4x32-10", Weights: "he-normal", Gamma: "uniform", Beta: "zero"},
		Data:         checkpoint.DataSet{Name: "sample"}, Normalisation: checkpoint.Normalisation{Eps: 1e-5},
		Statistics: checkpoint.Statistics{Batch: 6000, Batches: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"eval", big, "--max-memory", "500MB"},
		{"eval", batch, "--max-memory", "500MB"},
		{"train", "--out", filepath.Join(dir, "run"), "--batch", "6000", "--max-memory", "200MB"},
		{"bench", "--batch", "60000", "--max-memory", "500MB"},
		{"bench", "--batch", "60000", "--eval", "--max-memory", "500MB"},
	} {
		var out, errs bytes.Buffer
		code := run(context.Background(), args, &out, &errs)
		if text := errs.String(); code != 2 || strings.Count(text, "\n") != 1 || !strings.Contains(text, "of memory, and the limit is") || !strings.Contains(text, "--max-memory") {
			t.Errorf("%v: exit code %d, %q; want 2 and one line with the limit and --max-memory", args, code, text)
		}
	}
}

// TestMaxMemoryOfForeignFiles checks that inspect, import, analyze, eval and prune refuse another
// program's file that needs more than --max-memory, that verify reports it as failed, and that
// verify and eval of such files print no result if they are interrupted.
func TestMaxMemoryOfForeignFiles(t *testing.T) {
	flags := foreignDir(t)
	mustRun(t, append([]string{"import", "models/resnet8.th", "--out", "m.bnz"}, flags...)...)
	mustRun(t, "export", "m.bnz", "--out", "m.safetensors")
	const limit, pt, st = "--max-memory=10kB", "models/resnet8.th", "m.safetensors"
	for _, args := range [][]string{
		{"inspect", pt}, {"import", pt, "--force"}, {"import", st, "--force"}, {"analyze", pt}, {"analyze", st}, {"eval", pt}, {"eval", st}, {"prune", pt}, {"prune", st}, {"verify", pt}, {"verify", st},
	} {
		more := []string{limit}
		want := 2
		switch args[0] {
		case "verify":
			want = 3
		case "inspect":
		default:
			more = append(more, flags...)
		}
		code, out, errs := bnkit(t, append(args, more...)...)
		if text := out + errs; code != want || !strings.Contains(text, "of memory, and the limit is") || !strings.Contains(text, "--max-memory") {
			t.Errorf("%v: exit code %d, %q; want %d, the limit and --max-memory", args, code, text, want)
		}
	}
	mustRun(t, "inspect", st, limit) // reads no values
	mustRun(t, "verify", pt, st, "--max-memory", "10MB")
	mustRun(t, "prune", "models/unknown.pt", "--dry-run", "--max-memory", "10MB") // a clamped copy

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, file := range []string{pt, st} {
		for _, args := range [][]string{{"verify", file}, append([]string{"eval", file}, flags...)} {
			var out, errs bytes.Buffer
			if code := run(ctx, args, &out, &errs); code != 130 || out.Len() > 0 {
				t.Errorf("%v, interrupted: exit code %d, %q, %q; want 130 and no result", args, code, out.String(), errs.String())
			}
		}
	}
}
