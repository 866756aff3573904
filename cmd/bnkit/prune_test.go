package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestPlanThenApply writes a plan, edits it, applies it, and looks at what is
// printed for people and for machines.
func TestPlanThenApply(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
	ok(t, append([]string{"train", "--data", data, "--out", "r"}, small...)...)
	const ckpt = "r/ckpt.bnz"
	out := ok(t, "prune", ckpt, "--remove", "0.2", "--protect", "bn,blocks.2.*", "--max-per-layer", "0.75", "--plan-out", "plan.json")
	if !strings.Contains(out, "bnkit prune --plan plan.json") {
		t.Errorf("prune --plan-out prints:\n%s", out)
	}
	if _, err := os.Stat("r/ckpt-pruned.bnz"); err == nil {
		t.Error("prune --plan-out wrote a network")
	}
	text, err := os.ReadFile("plan.json")
	if err != nil {
		t.Fatal(err)
	}
	var plan struct {
		Clamped   int   `json:"clamped"`
		MACsAfter int64 `json:"macs_after"`
		Layers    []struct {
			Name string `json:"name"`
			Kept []int  `json:"kept"`
		} `json:"layers"`
	}
	decode(t, string(text), &plan)
	var result map[string]any
	decode(t, ok(t, "prune", ckpt, "--plan", "plan.json", "--data-dir", data, "--dry-run", "--json"), &result)
	for _, key := range []string{"beta", "clamped", "removed", "channels", "layers", "before", "after", "macs_before", "macs_after",
		"parameters_before", "parameters_after", "images_per_second_before", "images_per_second_after", "agreement", "bytes_before"} {
		if _, found := result[key]; !found {
			t.Errorf("prune --json has no %q", key)
		}
	}
	for _, key := range []string{"threshold", "remove", "bytes_after", "out"} {
		if v, found := result[key]; found {
			t.Errorf("a dry run by a plan has %q: %v", key, v)
		}
	}
	if result["clamped"] != float64(plan.Clamped) || result["macs_after"] != float64(plan.MACsAfter) || result["agreement"] != 1.0 {
		t.Errorf("the plan is %d channels and %d MACs, applied %v and %v, agreement %v", plan.Clamped, plan.MACsAfter, result["clamped"], result["macs_after"], result["agreement"])
	}

	// One more channel of a layer goes, by hand.
	line := -1
	for i, l := range plan.Layers {
		if len(l.Kept) > 2 {
			line = i
		}
	}
	kept, err := json.Marshal(plan.Layers[line].Kept)
	if err != nil {
		t.Fatal(err)
	}
	fewer, err := json.Marshal(plan.Layers[line].Kept[1:])
	if err != nil {
		t.Fatal(err)
	}
	before := `{"name":"` + plan.Layers[line].Name + `","channels":64,"kept":`
	edited := strings.Replace(string(text), before+string(kept), before+string(fewer), 1)
	if edited == string(text) {
		t.Fatalf("no layer %s%s in:\n%s", before, kept, text)
	}
	if err := os.WriteFile("plan.json", []byte(edited), 0o666); err != nil {
		t.Fatal(err)
	}
	decode(t, ok(t, "prune", ckpt, "--plan", "plan.json", "--data-dir", data, "--json"), &result)
	if result["clamped"] != float64(plan.Clamped+1) || result["out"] != "r/ckpt-pruned.bnz" {
		t.Errorf("edited: %v clamped, %d before; written to %v", result["clamped"], plan.Clamped, result["out"])
	}
	if out := ok(t, "prune", ckpt, "--threshold", "0.1", "--data-dir", data, "--dry-run"); !strings.Contains(out, "100.00% of them the same class") || !strings.Contains(out, "multiply-adds") {
		t.Errorf("prune prints:\n%s", out)
	}
}

// TestPruneRefuses checks exit codes, and that the source and a plan stay as they
// are.
func TestPruneRefuses(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
	ok(t, append([]string{"train", "--data", data, "--out", "r"}, small...)...)
	ok(t, append([]string{"train", "--data", data, "--out", "other", "--arch", "resnet-14"}, small[2:]...)...)
	ok(t, "prune", "other/ckpt.bnz", "--remove", "0.3", "--plan-out", "plan.json")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--remove 1", 2, "between 0 and 1"},
		{"--remove 0.999", 2, "share of at most"},
		{"--remove 0.3 --protect blocks.9.bn1", 2, "blocks.9.bn1"},
		{"--remove 0.3 --max-per-layer 2", 2, "up to 1"},
		{"--plan plan.json", 2, "the plan is for resnet-14, the model is resnet-8"},
		{"--plan r/config.json", 2, "not a plan"},
		{"--plan missing.json", 1, "missing.json"},
		{"--remove 0.3 --plan-out plan.json", 2, "--force"},
	} {
		args := append([]string{"prune", "r/ckpt.bnz"}, strings.Fields(c.args)...)
		if !strings.Contains(c.args, "--plan-out") {
			args = append(args, "--data-dir", data)
		}
		code, _, err := bnkit(t, args...)
		if code != c.code || !strings.Contains(err, c.says) || strings.Count(err, "\n") != 1 {
			t.Errorf("prune %s: exit code %d, %q; want %d and one line with %q", c.args, code, err, c.code, c.says)
		}
	}
	if _, err := os.Stat("r/ckpt-pruned.bnz"); err == nil {
		t.Error("a network was written")
	}
}
