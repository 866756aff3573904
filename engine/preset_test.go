package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
)

// TestPresets: every preset says what it reproduces, and trains what its
// trainable set says.
func TestPresets(t *testing.T) {
	presets := Presets()
	if len(presets) == 0 {
		t.Fatal("no preset")
	}
	data := synthetic(20, 4)
	for _, p := range presets {
		cfg := p.Config
		if p.Reproduces == "" || cfg.Data == "sample" {
			t.Errorf("%s: %+v", p.Name, p)
		}
		// Pictures in memory have their size.
		cfg.Data, cfg.Batch, cfg.Validation, cfg.ImageSize = data.Name, 8, min(cfg.Validation, 4), 0
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
		before := copied(r.trainer.trained.Params)
		for range 2 {
			b, ok := batches.Next()
			if !ok {
				t.Fatal("out of batches")
			}
			if loss := r.trainer.Step(b.Images, b.Labels, r.rate()); !isFinite(loss.Sum) {
				t.Errorf("%s: loss %v", p.Name, loss.Sum)
			}
		}
		kinds := map[arch.Kind]bool{} // that moved
		for i, values := range r.trainer.trained.Values {
			if !slices.Equal(values, before[i]) {
				kinds[r.trainer.trained.Tensors[i].Kind] = true
			}
		}
		want := map[string][]arch.Kind{
			"all": {arch.ConvWeight, arch.Gamma, arch.Beta, arch.OutputWeight, arch.OutputBias}, "bn": {arch.Gamma, arch.Beta}, "none": {},
			"output": {arch.OutputWeight, arch.OutputBias}, "bn+output": {arch.Gamma, arch.Beta, arch.OutputWeight, arch.OutputBias},
			"bn+shortcut": {arch.ConvWeight, arch.Gamma, arch.Beta}, "random-2": {arch.ConvWeight},
		}[cfg.Trainable]
		for _, k := range want {
			if !kinds[k] {
				t.Errorf("%s: two steps moved no %v", p.Name, k)
			}
		}
		delete(kinds, arch.ConvBias) // of some networks, trained with all
		if want == nil || len(kinds) != len(want) {
			t.Errorf("%s: two steps moved %v, want %v", p.Name, kinds, want)
		}
		batches.Close()
		r.trainer.Close()
	}
	var e *ConfigError
	for _, name := range []string{"", "frankle", "../preset", "list"} {
		if _, err := FindPreset(name); !errors.As(err, &e) || e.Field != "preset" {
			t.Errorf("preset %q: %v", name, err)
		}
	}
}

// TestPresetOrder: names are listed by the numbers in them.
func TestPresetOrder(t *testing.T) {
	want := []string{"a", "a-9", "a-09x", "a-14-b", "a-14-c", "a-110-b", "a-110-b+c", "a-b", "a18", "a101", "b"}
	for i := range want {
		for j := range want {
			if got := compareNames(want[i], want[j]); got != cmp.Compare(i, j) {
				t.Errorf("%q to %q compares as %d", want[i], want[j], got)
			}
		}
	}
	at := map[string]int{}
	for i, p := range Presets() {
		at[p.Name] = i
	}
	if len(at) < 68 || at["frankle-resnet-14-all"] > at["frankle-resnet-110-all"] || at["g42-resnet-56-bn"] > at["g42-resnet-110-all"] {
		t.Errorf("order %v", at)
	}
}

// TestPresetRecipe: the presets of ResNets have the recipe of Frankle et al.
// 2021, for ImageNet as open_lth has it, and the network and trainable set that
// their name says.
func TestPresetRecipe(t *testing.T) {
	cifar := regexp.MustCompile(`^(frankle|g42)-(resnet-\d+|wrn-\d+-\d+)-(.+)$`)
	imageNet := regexp.MustCompile(`^(frankle)-(resnet\d+)-(.+)$`)
	checked := map[string]int{}
	for _, p := range Presets() {
		want := DefaultConfig()
		want.Momentum, want.WeightDecay, want.Augment = 0.9, 1e-4, true
		parts, large := cifar.FindStringSubmatch(p.Name), imageNet.FindStringSubmatch(p.Name)
		switch {
		case parts != nil:
			want.Shortcut, want.Data, want.Epochs, want.Batch = map[string]string{"frankle": "B", "g42": "A"}[parts[1]], "cifar10", 160, 128
			want.LR, want.LRDrops = 0.1, []int{80, 120}
		case large != nil:
			parts = large
			want.Data, want.ImageSize, want.Epochs, want.Batch = "imagenet", 224, 90, 1024
			want.LR, want.LRDrops, want.LRWarmup = 0.4, []int{30, 60, 80}, 5
		default:
			continue
		}
		checked[parts[1]]++
		want.Arch, want.Trainable = parts[2], parts[3]
		if !reflect.DeepEqual(p.Config, want) {
			t.Errorf("%s: %+v, want %+v", p.Name, p.Config, want)
		}
	}
	if checked["frankle"] < 48 || checked["g42"] < 6 {
		t.Errorf("presets: %v", checked)
	}
}

// TestPaulsRates compares rates with those that Paul's notebooks print, and
// the network with the sizes that they print.
func TestPaulsRates(t *testing.T) {
	for name, parameters := range map[string]int{"sayak-adam-ramp-all": 571_114, "sayak-adam-ramp-bn": 4000, "sayak-adam-none": 0} {
		p, err := FindPreset(name)
		if err != nil {
			t.Fatal(err)
		}
		net, err := p.Config.Network(arch.Shape{C: 3, H: 32, W: 32}, 10)
		if err != nil {
			t.Fatal(err)
		}
		if n := arch.TrainableSet(p.Config.Trainable).Parameters(net); n != parameters || p.Config.Epochs != 75 {
			t.Errorf("%s trains %d parameters for %d epochs, want %d for 75", name, n, p.Config.Epochs, parameters)
		}
		if parameters == 0 {
			continue
		}
		for epoch, rate := range map[int]float64{1: 1e-5, 2: 8.8e-5, 3: 1.66e-4, 6: 4e-4, 7: 3.22e-4, 10: 1.6974400000000002e-4, 30: 1.1841722928319164e-5, 75: 1.000008021834717e-5} {
			if got := p.Config.learningRate(float64(epoch - 1)); !(math.Abs(got-rate) < 1e-12*rate) {
				t.Errorf("%s: rate %v in epoch %d, want %v", name, got, epoch, rate)
			}
		}
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
