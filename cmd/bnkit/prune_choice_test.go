package main

import (
	"os"
	"strings"
	"testing"
)

// TestPruneToTarget prunes with a policy to a target in two steps with recoveries. It checks the
// JSON, and that eval of the file gives the accuracy in it. It also checks what --max-drop prints,
// and that --plan takes what --plan-out wrote.
func TestPruneToTarget(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	var result map[string]any
	decode(t, mustRun(t, "prune", "r/ckpt.bnz", "--data-dir", data, "--policy", "taylor", "--scope", "stage", "--policy-batches", "1",
		"--target-macs", "0.6", "--recover", "1", "--recover-lr", "0.02", "--iterate", "2", "--out", "p.bnz", "--json"), &result)
	for key, want := range map[string]any{"policy": "taylor", "scope": "stage", "policy_batches": 1.0, "target_macs": 0.6,
		"recover_epochs": 1.0, "recover_lr": 0.02, "iterations": 2.0} {
		if result[key] != want {
			t.Errorf("prune --json has %q: %v, want %v", key, result[key], want)
		}
	}
	if share := result["macs_after"].(float64) / result["macs_before"].(float64); share < 0.588 || share > 0.612 {
		t.Errorf("%v of the multiply-adds remain, want 0.6 within 2%%", share)
	}
	var eval map[string]any
	decode(t, mustRun(t, "eval", "p.bnz", "--data-dir", data, "--json"), &eval)
	if recovered := result["recovered"].(map[string]any); recovered["test_accuracy"] != eval["test_accuracy"] {
		t.Errorf("prune measures the accuracy %v after the recovery, want %v, as eval does", recovered["test_accuracy"], eval["test_accuracy"])
	}
	out := mustRun(t, "prune", "r/ckpt.bnz", "--data-dir", data, "--max-drop", "20", "--recover", "1", "--dry-run")
	out = strings.Join(strings.Fields(out), " ") // lines are wrapped
	for _, text := range []string{"least important channels (policy gamma, scope global), for a drop of at most 20", "γ and β trained for 1 epoch ", "warning: the drop was limited on the test split"} {
		if !strings.Contains(out, text) {
			t.Errorf("prune --max-drop prints the following, want %q in it:\n%s", text, out)
		}
	}
	if out := mustRun(t, "prune", "r/ckpt.bnz", "--data-dir", data, "--target-macs", "0.7", "--mean-beta", "--plan-out", "plan.json"); !strings.Contains(out, "removed") {
		t.Errorf("prune --plan-out prints the following, want the number of removed channels:\n%s", out)
	}
	mustRun(t, "prune", "r/ckpt.bnz", "--data-dir", data, "--plan", "plan.json", "--dry-run")
}

// TestComparePolicies checks the rows, the table and the picture of prune --compare-policies,
// and that wrong flags are refused.
func TestComparePolicies(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	type accuracy struct {
		Accuracy float64    `json:"test_accuracy"`
		Interval [2]float64 `json:"test_accuracy_interval"`
		Examples int
	}
	var result struct {
		Rows []struct {
			Policy      string
			Target      float64 `json:"target_macs"`
			MACs        float64
			Time        float64
			Clamped     accuracy
			Reestimated accuracy
			Recovered   accuracy
		}
	}
	args := []string{"prune", "r/ckpt.bnz", "--data-dir", data, "--compare-policies", "--policy", "change", "--target-macs", ".8,.6", "--pictures", "20", "--recover", "1"}
	decode(t, mustRun(t, append(args, "--json")...), &result)
	if len(result.Rows) != 4 {
		t.Fatalf("%d rows, want 2 policies at 2 sizes", len(result.Rows))
	}
	for i, row := range result.Rows {
		want := []float64{0.8, 0.6}[i%2]
		policy := []string{"change", "random"}[i/2]
		if row.Policy != policy || row.Target != want || row.MACs < 0.98*want || row.MACs > 1.02*want || row.Time <= 0 {
			t.Errorf("row %d is %+v, want the policy %s, a target of %v, reached within 2%%, and a time above 0", i, row, policy, want)
		}
		for _, a := range []accuracy{row.Clamped, row.Reestimated, row.Recovered} {
			if !(a.Interval[0] <= a.Accuracy && a.Accuracy <= a.Interval[1] && a.Interval[1]-a.Interval[0] > 0.05 && a.Examples == 20) {
				t.Errorf("row %d has the accuracy %+v, want one on 20 pictures inside its interval, which is wider than 0.05", i, a)
			}
		}
	}
	if out := mustRun(t, append(args, "--plot", "p.png")...); !strings.Contains(out, "random") || !strings.Contains(out, "recovered") {
		t.Errorf("prune --compare-policies prints the following, want random and recovered in it:\n%s", out)
	}
	if picture, err := os.ReadFile("p.png"); err != nil || len(picture) < 10_000 {
		t.Errorf("p.png has %d bytes (error %v), want at least 10,000", len(picture), err)
	}
	for _, c := range []struct{ args, want string }{
		{"--policy best --remove 0.3", "use gamma, gamma-reads"},
		{"--policy gamma", "exactly one of"},
		{"--target-macs 0.5,0.4", "use one, or --compare-policies"},
		{"--target-macs 0.001", "cannot be reached"},
		{"--target-macs 0", "above 0"},
		{"--max-drop 0", "above 0"},
		{"--target-macs 0.5 --pictures 5", "--compare-policies"},
		{"--remove 0.3 --dry-run --plot p.gif", "png or svg"},
		{"--remove 0.3 --plan-out plan2.json --plot q.png", "plan-out"},
		{"--remove 0.3 --dry-run --plot p.png", "exists"},
		{"--compare-policies --pictures -1", "at least 1"},
		{"--target-macs 0.5 --iterate 2", "epochs of training between"},
	} {
		code, _, err := bnkit(t, append([]string{"prune", "r/ckpt.bnz", "--data-dir", data}, strings.Fields(c.args)...)...)
		if code != 2 || !strings.Contains(err, c.want) {
			t.Errorf("prune %s: exit code %d, %q; want 2 and %q", c.args, code, err, c.want)
		}
	}
}
