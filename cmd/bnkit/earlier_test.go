package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine/rundir"
)

// TestEarlierRun checks that this version verifies, evaluates, plots and resumes a run of an
// earlier version. Its state does not say which kernels trained it. The files in testdata/run
// were written by the commit 10ef06f with
//
//	bnkit train --arch resnet-8 --subset 64 --batch 32 --epochs 2 --schedule constant --lr 0.05 --track-gradients
//
// and run-3-epochs.bnz is the ckpt.bnz of the same command with --epochs 3.
func TestEarlierRun(t *testing.T) {
	want, err := checkpoint.ReadFile("testdata/run-3-epochs.bnz")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Abs("testdata/run")
	if err != nil {
		t.Fatal(err)
	}
	chdirTemp(t)
	if err := os.CopyFS("r", os.DirFS(files)); err != nil {
		t.Fatal(err)
	}
	if info, err := checkpoint.ReadInfo("r/resume.bnz"); err != nil || strings.Contains(string(info.Header.State), "rithmetic") {
		t.Fatalf("the state is %s (error %v), want one that does not name the kernels", info.Header.State, err)
	}
	if out := mustRun(t, "verify", "r"); strings.Count(out, ": ok: ") != 4 || !strings.Contains(out, "resnet-8, seed 1, bn trained (672 parameters), 2 epochs") {
		t.Errorf("verify prints the following, want 4 files that are ok, and the network, seed and epochs:\n%s", out)
	}
	rows, err := rundir.ReadMetrics("r/metrics.jsonl")
	if err != nil || len(rows) != 2 || rows[1].Gradients == nil {
		t.Fatalf("metrics.jsonl is read as %+v (error %v), want 2 rows with gradients", rows, err)
	}
	var e struct {
		TestLoss float64 `json:"test_loss"`
		Examples int     `json:"examples"`
	}
	if err := json.Unmarshal([]byte(mustRun(t, "eval", "r", "--json")), &e); err != nil || e.Examples != 1000 || !(e.TestLoss > 2 && e.TestLoss < 3) {
		t.Errorf("eval gives %+v (error %v), want a loss from 2 to 3 on 1000 examples", e, err)
	}
	mustRun(t, "plot", "r")

	mustRun(t, "train", "--resume", "--out", "r", "--epochs", "3")
	got, err := checkpoint.ReadFile("r/ckpt.bnz")
	if err != nil || len(got.Tensors) != len(want.Tensors) {
		t.Fatalf("%d tensors (error %v), want %d", len(got.Tensors), err, len(want.Tensors))
	}
	maxDifference := 0.0
	for i := range want.Tensors {
		for j, w := range want.Tensors[i].Float32 {
			maxDifference = max(maxDifference, math.Abs(float64(got.Tensors[i].Float32[j]-w)))
		}
	}
	// Other kernels round differently.
	t.Logf("after resuming, γ and β differ by at most %g from those of the earlier version", maxDifference)
	if !(maxDifference < 1e-4) {
		t.Errorf("γ and β differ by %g, want less than 1e-4", maxDifference)
	}
	if out := mustRun(t, "verify", "r"); strings.Count(out, ": ok: ") != 4 {
		t.Errorf("after resuming, verify prints the following, want 4 files that are ok:\n%s", out)
	}
}
