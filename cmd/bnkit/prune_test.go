package main

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestPlanThenApply writes a plan, edits it, applies it, and checks the table and the JSON
// that prune prints.
func TestPlanThenApply(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	const ckpt = "r/ckpt.bnz"
	out := mustRun(t, "prune", ckpt, "--remove", "0.2", "--protect", "bn,blocks.2.*", "--max-per-layer", "0.75", "--plan-out", "plan.json")
	if !strings.Contains(out, "bnkit prune --plan plan.json") {
		t.Errorf("prune --plan-out prints the following, want the command that applies the plan:\n%s", out)
	}
	if _, err := os.Stat("r/ckpt-pruned.bnz"); err == nil {
		t.Error("prune --plan-out wrote a network, want only a plan")
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
	decode(t, mustRun(t, "prune", ckpt, "--plan", "plan.json", "--data-dir", data, "--dry-run", "--json"), &result)
	for _, key := range []string{"beta", "clamped", "removed", "channels", "layers", "before", "after", "after_original_statistics",
		"predictions_changed", "agreement", "macs_before", "macs_after", "parameters_before", "parameters_after", "trained_before", "trained_after",
		"buffer_bytes_before", "buffer_bytes_after", "images_per_second_before", "images_per_second_after",
		"images_per_second_single_before", "images_per_second_single_after", "images_per_second_training_before", "images_per_second_training_after",
		"inference_batch", "training_batch", "bytes_before"} {
		if _, found := result[key]; !found {
			t.Errorf("prune --json prints %v, want %q in it", result, key)
		}
	}
	for _, key := range []string{"threshold", "remove", "bytes_after", "out"} {
		if v, found := result[key]; found {
			t.Errorf("prune --plan --dry-run --json has %q: %v, want no such key", key, v)
		}
	}
	if result["clamped"] != float64(plan.Clamped) || result["macs_after"] != float64(plan.MACsAfter) || result["agreement"] != 1.0 {
		t.Errorf("the result has %v clamped channels, %v MACs and agreement %v, want %d and %d as in the plan, and 1", result["clamped"], result["macs_after"], result["agreement"], plan.Clamped, plan.MACsAfter)
	}

	// Edit the plan to remove one more channel of a layer.
	layer := -1
	for i, l := range plan.Layers {
		if len(l.Kept) > 2 {
			layer = i
		}
	}
	kept, err := json.Marshal(plan.Layers[layer].Kept)
	if err != nil {
		t.Fatal(err)
	}
	fewer, err := json.Marshal(plan.Layers[layer].Kept[1:])
	if err != nil {
		t.Fatal(err)
	}
	prefix := `{"name":"` + plan.Layers[layer].Name + `","channels":64,"kept":`
	edited := strings.Replace(string(text), prefix+string(kept), prefix+string(fewer), 1)
	if edited == string(text) {
		t.Fatalf("%s%s is not in the plan:\n%s", prefix, kept, text)
	}
	if err := os.WriteFile("plan.json", []byte(edited), 0o666); err != nil {
		t.Fatal(err)
	}
	decode(t, mustRun(t, "prune", ckpt, "--plan", "plan.json", "--data-dir", data, "--json"), &result)
	if result["clamped"] != float64(plan.Clamped+1) || result["out"] != "r/ckpt-pruned.bnz" {
		t.Errorf("the edited plan clamped %v channels in %v, want %d in r/ckpt-pruned.bnz", result["clamped"], result["out"], plan.Clamped+1)
	}
	out = mustRun(t, "prune", ckpt, "--threshold", "0.1", "--data-dir", data, "--dry-run")
	if !strings.Contains(out, "give 100.00% of them the same class") || !strings.Contains(out, "multiply-adds") {
		t.Errorf("prune prints the following, want complete agreement and the multiply-adds:\n%s", out)
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d characters in %q, want at most 80", n, line)
		}
	}
}

// TestPruneRefusals checks that wrong options and plans are refused, and that no network is
// written.
func TestPruneRefusals(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	mustRun(t, append([]string{"train", "--data", data, "--out", "other", "--arch", "resnet-14"}, smallRun[2:]...)...)
	mustRun(t, "prune", "other/ckpt.bnz", "--remove", "0.3", "--plan-out", "plan.json")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--remove 1", 2, "between 0 and 1"},
		{"--remove 0.999", 2, "share of at most"},
		{"--remove 0.3 --protect blocks.9.bn1", 2, "blocks.9.bn1"},
		{"--remove 0.3 --max-per-layer 2", 2, "up to 1"},
		{"--plan plan.json", 2, "the plan is for resnet-14, but the model is resnet-8"},
		{"--plan r/config.json", 2, "not a plan"},
		{"--plan missing.json", 1, "missing.json"},
		{"--remove 0.3 --plan-out plan.json", 2, "--force"},
	} {
		args := append([]string{"prune", "r/ckpt.bnz"}, strings.Fields(c.args)...)
		if !strings.Contains(c.args, "--plan-out") {
			args = append(args, "--data-dir", data)
		}
		code, _, err := bnkit(t, args...)
		if code != c.code || !strings.Contains(err, c.want) || strings.Count(err, "\n") != 1 {
			t.Errorf("prune %s: exit code %d, %q; want %d and one line with %q", c.args, code, err, c.code, c.want)
		}
	}
	if _, err := os.Stat("r/ckpt-pruned.bnz"); err == nil {
		t.Error("r/ckpt-pruned.bnz was written, want no network")
	}
}

// TestPrunedChannelsAreReported checks that analyze and inspect report the pruned channels, and that
// eval of the pruned file gives the numbers that prune measured.
func TestPrunedChannelsAreReported(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	var result struct {
		Clamped int `json:"clamped"`
		Layers  []struct {
			Name    string `json:"name"`
			Clamped int    `json:"clamped"`
		} `json:"layers"`
		After struct {
			Accuracy float64 `json:"test_accuracy"`
			Loss     float64 `json:"test_loss"`
		} `json:"after"`
	}
	decode(t, mustRun(t, "prune", "r/ckpt.bnz", "--remove", "0.25", "--data-dir", data, "--out", "p.bnz", "--json"), &result)
	var report struct {
		Layers []struct {
			Name   string `json:"name"`
			Pruned []int  `json:"pruned"`
		} `json:"layers"`
		Total struct {
			Pruned int `json:"pruned"`
		} `json:"total"`
	}
	decode(t, mustRun(t, "analyze", "p.bnz", "--data-dir", data, "--batches", "1", "--out", "plots", "--json"), &report)
	if report.Total.Pruned != result.Clamped || result.Clamped == 0 {
		t.Errorf("analyze counts %d pruned channels, want %d, as prune reports, and more than 0", report.Total.Pruned, result.Clamped)
	}
	for i, l := range report.Layers {
		if len(l.Pruned) != result.Layers[i].Clamped || l.Name != result.Layers[i].Name {
			t.Errorf("analyze reports the pruned channels %v of %s, want %d of %s, as prune reports", l.Pruned, l.Name, result.Layers[i].Clamped, result.Layers[i].Name)
		}
	}
	if out := mustRun(t, "analyze", "p.bnz", "--data-dir", data, "--batches", "1", "--out", "plots2"); !strings.Contains(out, "channels are pruned and not counted above, by layer: ") {
		t.Errorf("analyze prints the following, want the pruned channels by layer:\n%s", out)
	}
	mustRun(t, "prune", "r/ckpt.bnz", "--remove", "0.25", "--data-dir", data, "--dry-run", "--plot", "kept.png")
	if picture, err := os.ReadFile("kept.png"); err != nil || len(picture) < 10_000 {
		t.Errorf("the picture of kept channels has %d bytes (error %v), want at least 10,000", len(picture), err)
	}
	if out := mustRun(t, "inspect", "p.bnz"); !strings.Contains(out, "channels held constant") {
		t.Errorf("inspect prints the following, want the channels held constant:\n%s", out)
	}
	if out := mustRun(t, "inspect", "r/ckpt.bnz"); strings.Contains(out, "pruned") {
		t.Errorf("inspect of a network that was not pruned prints the following, want no pruned channels:\n%s", out)
	}
	var eval struct {
		Accuracy float64 `json:"test_accuracy"`
		Loss     float64 `json:"test_loss"`
	}
	decode(t, mustRun(t, "eval", "p.bnz", "--data-dir", data, "--json"), &eval)
	if eval.Accuracy != result.After.Accuracy || math.Abs(eval.Loss-result.After.Loss) > 1e-5*result.After.Loss {
		t.Errorf("eval measures %+v, want %+v, as prune does", eval, result.After)
	}
}
