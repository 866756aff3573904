package engine

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"bnkit/engine/arch"
)

// TestPresets: every preset says what it reproduces, and trains.
func TestPresets(t *testing.T) {
	presets := Presets()
	if len(presets) == 0 {
		t.Fatal("no preset")
	}
	data := synthetic(16, 4)
	for _, p := range presets {
		cfg := p.Config
		if p.Reproduces == "" || cfg.Data == "sample" {
			t.Errorf("%s: %+v", p.Name, p)
		}
		cfg.Data, cfg.Batch = data.Name, 2
		net, err := buildNetwork(&cfg, data)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		if all := arch.All.Parameters(net); testing.Short() && all > 2_000_000 {
			continue
		}
		r, err := newRun(t.Context(), cfg, data, TrainOptions{Threads: 2})
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		batches := r.loader.Start(t.Context(), 0, 0)
		before := r.trainer.params.Named("bn.weight")[0]
		for range 2 {
			b, ok := batches.Next()
			if !ok {
				t.Fatal("out of batches")
			}
			if loss := r.trainer.step(b.Images, b.Labels, r.rate()); !isFinite(loss.Sum) {
				t.Errorf("%s: loss %v", p.Name, loss.Sum)
			}
		}
		if r.trainer.params.Named("bn.weight")[0] == before {
			t.Errorf("%s: two steps moved nothing", p.Name)
		}
		batches.Close()
		r.trainer.close()
	}
	var e *ConfigError
	for _, name := range []string{"", "frankle", "../preset", "list"} {
		if _, err := FindPreset(name); !errors.As(err, &e) || e.Field != "preset" {
			t.Errorf("preset %q: %v", name, err)
		}
	}
}

// TestPresetRecipe: two families of presets have the recipe of Frankle et al.
// 2021, and the network and trainable set that their name says.
func TestPresetRecipe(t *testing.T) {
	checked := map[string]int{}
	for _, p := range Presets() {
		family, rest, _ := strings.Cut(p.Name, "-")
		shortcut, has := map[string]string{"frankle": "B", "g42": "A"}[family]
		if !has {
			continue
		}
		checked[family]++
		last := strings.LastIndex(rest, "-")
		want := DefaultConfig()
		want.Arch, want.Shortcut, want.Data, want.Trainable, want.Epochs, want.Batch = rest[:last], shortcut, "cifar10", rest[last+1:], 160, 128
		want.LR, want.LRDrops, want.Momentum, want.WeightDecay, want.Augment = 0.1, []int{80, 120}, 0.9, 1e-4, true
		if !reflect.DeepEqual(p.Config, want) {
			t.Errorf("%s: %+v, want %+v", p.Name, p.Config, want)
		}
	}
	if checked["frankle"] < 18 || checked["g42"] < 6 {
		t.Errorf("presets: %v", checked)
	}
}

func writeSettings(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "my.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSettings(t *testing.T) {
	got, err := ReadSettings(writeSettings(t, `
# comments are for people
reproduces: nothing
arch: resnet-20
trainable: "all"
lr: 1
schedule: cosine   # not step
lr_min: 1e-3
lr_drops: []
seed: 18446744073709551615
bn_weight_decay: false
`))
	want := DefaultConfig()
	want.Arch, want.Trainable, want.LR, want.Schedule, want.LRMin, want.LRDrops = "resnet-20", "all", 1, Cosine, 1e-3, []int{}
	want.Seed, want.BNWeightDecay = 1<<64-1, false
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v; want %+v", got, err, want)
	}

	// A run's config.json is read as well.
	for _, drops := range [][]int{nil, {3, 5}} {
		want.Data, want.LRDrops = `C:\data "<1>"`, drops
		b, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ReadSettings(writeSettings(t, string(b))); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s read as %+v, %v", b, got, err)
		}
	}

	for _, c := range []struct{ text, field, says string }{
		{"", "file", "no settings"},
		{"# nothing", "file", "no settings"},
		{"[1, 2]", "file", "no settings"},
		{"lr: [", "file", "line 1"},
		{"lr: 0.1\n\tepochs: 3", "file", "line 2"},
		{"lr: 0.1\n---\nlr: 0.2", "file", "another document"},
		{strings.Repeat("#", maxSettingsSize+1), "file", "bytes"},
		{"lr: 0.1\nepoch: 3", "epoch", "line 2"},
		{"lr: 0.1\nlr: 0.2", "lr", "twice"},
		{"<<: {lr: 0.1}", "<<", "no such"},
		{"epochs: 1.5", "epochs", "whole number"},
		{"epochs:", "epochs", "whole number"},
		{"epochs: 99999999999999999999", "epochs", "whole number"},
		{"epochs: many", "epochs", "whole number"},
		{"epochs: [3]", "epochs", "whole number"},
		{"seed: -1", "seed", "whole number"},
		{"lr: fast", "lr", "a number"},
		{"lr: .nan", "lr", "positive"},
		{"lr: -1", "lr", "positive"},
		{"augment: 1", "augment", "true or false"},
		{"arch: 20", "arch", "text"},
		{"arch: resnet-21", "arch", "20 and 26"},
		{"lr_drops: 80", "lr_drops", "list"},
		{"lr_drops: [80, 120.5]", "lr_drops", "list"},
		{"lr_drops: [120, 80]", "lr_drops", "ascending"},
		{"optimizer: rmsprop", "optimizer", "adamw"},
	} {
		path := writeSettings(t, c.text)
		_, err := ReadSettings(path)
		var e *ConfigError
		if !errors.As(err, &e) || e.Field != c.field || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), path+": "+c.field+": ") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: %v, want a line that names %s and says %q", c.text, err, c.field, c.says)
		}
	}
	if _, err := ReadSettings(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzSettings: whatever a file holds, it is refused or gives settings that
// are valid and survive config.json.
func FuzzSettings(f *testing.F) {
	for _, s := range []string{"", "lr: 0.1", "a: &a [1]\nlr_drops: *a", `{"arch":"resnet-14","lr_drops":null}`, "lr: 0x10", "seed: 1_0", "? lr\n: 1", "!!binary x: y"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _, err := parseSettings(b)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again Config
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if field, was, now := c.difference(&again); field != "" {
			t.Fatalf("%q: %s is %v, then %v", b, field, was, now)
		}
	})
}
