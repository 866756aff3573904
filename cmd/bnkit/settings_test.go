package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bnkit/engine"
	"bnkit/engine/config"
	"bnkit/engine/presets"
)

// TestSettingsFiles checks that settings come from presets and files unless flags override
// them.
func TestSettingsFiles(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	if out := mustRun(t, "train", "--preset", "list"); !strings.Contains(out, "frankle-resnet-110-bn") || !strings.Contains(out, "69.5%") {
		t.Errorf("train --preset list prints the following, want frankle-resnet-110-bn and 69.5%%:\n%s", out)
	}
	var list []presets.Preset
	decode(t, mustRun(t, "train", "--preset", "list", "--json"), &list)
	if len(list) != len(presets.All()) || list[0].Config.Epochs != 160 {
		t.Errorf("%d presets, the first %+v; want %d, the first with 160 epochs", len(list), list[0], len(presets.All()))
	}
	if err := os.WriteFile("my.yaml", []byte("arch: resnet-8\nepochs: 2\nlr_drops: [1]\nbatch: 32\naugment: false\nschedule: cosine\nadam_eps: 1e-4\noptimizer: adam\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("bad.yaml", []byte("arch: resnet-8\nlerning_rate: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	settings := func(dir string) config.Config {
		c, err := engine.ReadConfig(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		c.Data = ""
		return c
	}
	mustRun(t, "train", "--data", data, "--config", "my.yaml", "--lr", "0.01", "--no-augment=false", "--out", "a")
	want := config.Default()
	want.Data, want.Arch, want.Epochs, want.LRDrops, want.Batch = "", "resnet-8", 2, []int{1}, 32
	want.Schedule, want.Optimizer, want.AdamEps, want.LR = "cosine", "adam", 1e-4, 0.01
	if got := settings("a"); !reflect.DeepEqual(got, want) {
		t.Errorf("trained with %+v, want %+v", got, want)
	}
	mustRun(t, "train", "--data", data, "--config", "a/config.json", "--seed", "5", "--out", "b")
	want.Seed = 5
	if got := settings("b"); !reflect.DeepEqual(got, want) {
		t.Errorf("trained with %+v, want %+v", got, want)
	}
	mustRun(t, "train", "--data", data, "--preset", "frankle-resnet-14-bn", "--epochs", "1", "--lr-drops", "7,9", "--batch", "32", "--arch", "resnet-8", "--out", "c")
	want = config.Default()
	want.Data, want.Arch, want.Epochs, want.LRDrops, want.Batch = "", "resnet-8", 1, []int{7, 9}, 32
	if got := settings("c"); !reflect.DeepEqual(got, want) {
		t.Errorf("trained with %+v, want %+v", got, want)
	}
	for _, c := range []struct{ args, want string }{
		{"--config bad.yaml", "bad.yaml: lerning_rate: line 2"},
		{"--config my.yaml --preset frankle-resnet-14-bn", "one of them"},
		{"--preset frankle", "--preset list"},
		{"--config my.yaml --lr-period 3", "--lr-period does nothing with --schedule cosine"},
		{"--config my.yaml --resume --out b", "started with seed 5, not 1"},
	} {
		code, _, err := bnkit(t, append([]string{"train", "--data", data}, strings.Fields(c.args)...)...)
		if code != 2 || !strings.Contains(err, c.want) || strings.Count(err, "\n") != 1 {
			t.Errorf("train %s: exit code %d, %q; want 2 and one line with %q", c.args, code, err, c.want)
		}
	}
}

// TestRateDrops checks that the default drops depend on the number of epochs, that
// --lr-drops overrides them, and that a resumed run keeps its drops.
func TestRateDrops(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	train := func(args ...string) {
		t.Helper()
		mustRun(t, append([]string{"train", "--data", data, "--arch", "resnet-8", "--batch", "32", "--out", "r"}, args...)...)
	}
	for _, c := range []struct {
		args []string
		want []int
	}{
		{[]string{"--epochs", "5"}, []int{3, 4}},
		{[]string{"--resume", "--epochs", "8"}, []int{3, 4}},
		{[]string{"--epochs", "2", "--force"}, []int{1}},
		{[]string{"--epochs", "2", "--force", "--lr-drops", ""}, []int{}},
		{[]string{"--resume", "--epochs", "3"}, []int{}},
		{[]string{"--epochs", "2", "--force", "--lr-drops", "none"}, []int{}},
		{[]string{"--epochs", "2", "--force", "--lr-drops", "4"}, []int{4}},
	} {
		train(c.args...)
		if cfg, err := engine.ReadConfig("r/config.json"); err != nil || !slices.Equal(cfg.LRDrops, c.want) || cfg.LRDrops == nil {
			t.Errorf("%s: got drops %#v (error %v), want %#v", c.args, cfg.LRDrops, err, c.want)
		}
	}
}

// TestCompletion checks that completion offers the values of a setting.
func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{"--optimizer a": "sgd\nadam\nadamw\n", "--crop c": "random-resized\ncentre\n", "--lr 0": ""} {
		out := mustRun(t, append([]string{"__complete", "train"}, strings.Fields(args)...)...)
		if got, _, _ := strings.Cut(out, ":"); got != want {
			t.Errorf("the completions of train %s are %q, want %q", args, got, want)
		}
	}
}

// TestInitialisers checks that the checkpoint records the initialisers that flags give,
// and that a resumed run keeps them.
func TestInitialisers(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	args := append([]string{"train", "--data", data, "--out", "r", "--init", "binary", "--gamma-init", "one", "--beta-init", "1"}, smallRun...)
	mustRun(t, args...)
	mustRun(t, "train", "--data", data, "--out", "r", "--resume", "--epochs", "3")
	var info struct {
		Header struct {
			Initialisers struct{ Weights, Gamma, Beta string } `json:"initialisers"`
		} `json:"header"`
	}
	decode(t, mustRun(t, "inspect", "r/ckpt.bnz", "--json"), &info)
	if in := info.Header.Initialisers; in.Weights != "binary" || in.Gamma != "one" || in.Beta != "one" {
		t.Errorf("inspect reports the initialisers %+v, want binary, one and one", in)
	}
	if code, _, err := bnkit(t, "train", "--data", data, "--out", "r", "--resume", "--init", "orthogonal"); code != 2 || !strings.Contains(err, "binary") {
		t.Errorf("resume with a different initialiser: exit code %d, %q; want 2 and binary", code, err)
	}
}

// TestWidth runs the commands on a network whose width is not 1.
func TestWidth(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	for _, name := range []string{"narrow", "usual"} {
		args := append([]string{"train", "--data", data, "--out", name}, smallRun...)
		if name == "narrow" {
			args = append(args, "--arch", "resnet18", "--stem", "cifar", "--width", "0.0625")
		}
		mustRun(t, args...)
	}
	mustRun(t, "train", "--data", data, "--out", "narrow", "--resume", "--epochs", "3")
	if code, _, err := bnkit(t, "train", "--data", data, "--out", "narrow", "--resume", "--width", "1"); code != 2 || !strings.Contains(err, "started with width 0.0625, not 1") {
		t.Errorf("resume with a different width: exit code %d, %q; want 2 and both widths", code, err)
	}
	for _, args := range [][]string{
		{"analyze", "narrow/ckpt.bnz", "--data-dir", data, "--batches", "2"},
		{"prune", "narrow/ckpt.bnz", "--data-dir", data, "--threshold", "0.2", "--out", "pruned.bnz"},
		{"eval", "pruned.bnz", "--data-dir", data},
		{"export", "pruned.bnz", "--data-dir", data, "--out", "m.safetensors"},
		{"plot", "narrow"},
		{"plot", "pruned.bnz", "--filters", "conv1", "--feature-maps", "layer1.0.bn1", "--image", "1", "--data-dir", data},
	} {
		mustRun(t, args...)
	}
	if out := mustRun(t, "inspect", "pruned.bnz"); !strings.Contains(out, "width          0.0625\n") {
		t.Errorf("inspect prints the following, want the width 0.0625:\n%s", out)
	}
	if out := mustRun(t, "inspect", "usual/ckpt.bnz"); strings.Contains(out, "width") {
		t.Errorf("inspect prints the following, want no width:\n%s", out)
	}
	var r comparison
	decode(t, mustRun(t, "compare", "narrow", "usual", "--json"), &r)
	// There are 20 convolutions, including shortcuts, of 4, 8, 16 and 32 channels.
	if got := r.Runs[0].Model; got.Width != 4 || got.Trained != 2*(5*4+5*8+5*16+5*32) {
		t.Errorf("compare: %+v, want width 4 and %d trained parameters", got, 2*(5*4+5*8+5*16+5*32))
	}
	if out := mustRun(t, "compare", "narrow", "usual"); !strings.Contains(out, " width ") || !strings.Contains(out, " 0.0625 ") {
		t.Errorf("compare prints the following, want a column width with 0.0625:\n%s", out)
	}
}
