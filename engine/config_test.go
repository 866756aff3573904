package engine

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"bnkit/engine/rundir"
)

func TestDefaultConfigIsValid(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for _, c := range []struct {
		field  string
		change func(*Config)
	}{
		{"arch", func(c *Config) { c.Arch = "resnet-21" }},
		{"arch", func(c *Config) { c.Arch = "" }},
		{"shortcut", func(c *Config) { c.Shortcut = "C" }},
		{"shortcut", func(c *Config) { c.Arch, c.Shortcut = "vgg-16", "A" }},
		{"stem", func(c *Config) { c.Arch, c.Stem = "resnet50", "mnist" }},
		{"stem", func(c *Config) { c.Stem = "cifar" }},
		{"width", func(c *Config) { c.Width = 0 }},
		{"width", func(c *Config) { c.Width = -1 }},
		{"width", func(c *Config) { c.Width = math.NaN() }},
		{"width", func(c *Config) { c.Width = math.Inf(1) }},
		{"width", func(c *Config) { c.Arch, c.Width = "resnet50", 4 }},
		{"bn", func(c *Config) { c.BN = "some" }},
		{"bn_every", func(c *Config) { c.BNEvery = -2 }},
		{"no_scale", func(c *Config) { c.NoScale = "layer1" }},
		{"no_shift", func(c *Config) { c.NoShift = "*,layer1" }},
		{"trainable", func(c *Config) { c.BN = "none" }},
		{"trainable", func(c *Config) { c.NoScale, c.NoShift = "*", "*" }},
		{"shortcut", func(c *Config) { c.Shortcut = "" }},
		{"data", func(c *Config) { c.Data = "" }},
		{"trainable", func(c *Config) { c.Trainable = "gama" }},
		{"epochs", func(c *Config) { c.Epochs = 0 }},
		{"batch", func(c *Config) { c.Batch = 1 }},
		{"batch", func(c *Config) { c.Batch = 1 << 30 }},
		{"lr", func(c *Config) { c.LR = 0 }},
		{"lr", func(c *Config) { c.LR = math.NaN() }},
		{"lr", func(c *Config) { c.LR = math.Inf(1) }},
		{"momentum", func(c *Config) { c.Momentum = 1 }},
		{"momentum", func(c *Config) { c.Momentum = math.NaN() }},
		{"weight_decay", func(c *Config) { c.WeightDecay = -1e-4 }},
		{"weight_decay", func(c *Config) { c.WeightDecay = math.NaN() }},
		{"subset", func(c *Config) { c.Subset = -1 }},
		{"init", func(c *Config) { c.Init = "xavier" }},
		{"gamma_init", func(c *Config) { c.GammaInit = "zero" }},
		{"gamma_init", func(c *Config) { c.GammaInit = "constant:" }},
		{"gamma_init", func(c *Config) { c.GammaInit = "constant:inf" }},
		{"gamma_init", func(c *Config) { c.GammaInit = "constant:1e39" }},
		{"beta_init", func(c *Config) { c.BetaInit = "uniform" }},
		{"beta_init", func(c *Config) { c.BetaInit = "0.5" }},
		{"optimizer", func(c *Config) { c.Optimizer = "rmsprop" }},
		{"optimizer", func(c *Config) { c.AdamBeta1 = 0.8 }},
		{"nesterov", func(c *Config) { c.Nesterov, c.Momentum = true, 0 }},
		{"nesterov", func(c *Config) { c.Nesterov, c.Optimizer = true, Adam }},
		{"adam_beta1", func(c *Config) { c.Optimizer, c.AdamBeta1 = Adam, 1 }},
		{"adam_beta2", func(c *Config) { c.Optimizer, c.AdamBeta2 = Adam, math.NaN() }},
		{"adam_eps", func(c *Config) { c.Optimizer, c.AdamEps = AdamW, 0 }},
		{"label_smoothing", func(c *Config) { c.LabelSmoothing = 1.1 }},
		{"clip_norm", func(c *Config) { c.ClipNorm = -1 }},
		{"gamma_l1", func(c *Config) { c.GammaL1 = math.NaN() }},
		{"gamma_l2", func(c *Config) { c.GammaL2 = -1e-4 }},
		{"beta_l1", func(c *Config) { c.BetaL1 = 2 }},
		{"beta_l2", func(c *Config) { c.BetaL2 = -1 }},
		{"bn_momentum", func(c *Config) { c.BNMomentum = 0 }},
		{"bn_eps", func(c *Config) { c.BNEps = 0 }},
		{"activations", func(c *Config) { c.Activations = "fp16" }},
		{"activations", func(c *Config) { c.Activations = "" }},
		{"schedule", func(c *Config) { c.Schedule = "linear" }},
		{"lr_warmup", func(c *Config) { c.LRWarmup = -1 }},
		{"lr_warmup", func(c *Config) { c.LRWarmup = c.Epochs }},
		{"lr_min", func(c *Config) { c.LRMin = 0.01 }},
		{"lr_min", func(c *Config) { c.Schedule, c.LRMin = Cosine, 0.2 }},
		{"lr_min", func(c *Config) { c.Schedule, c.LRMin = Cosine, math.NaN() }},
		{"lr_period", func(c *Config) { c.Schedule = CosineRestarts }},
		{"lr_period", func(c *Config) { c.Schedule, c.LRPeriod = Cosine, 5 }},
		{"lr_period_growth", func(c *Config) { c.Schedule, c.LRPeriod, c.LRPeriodGrowth = CosineRestarts, 5, 0 }},
		{"lr_alpha", func(c *Config) { c.Schedule, c.LRAlpha = LinearCosine, -1 }},
		{"lr_beta", func(c *Config) { c.LRBeta = 0 }},
		{"lr_waves", func(c *Config) { c.Schedule, c.LRWaves = LinearCosine, math.Inf(1) }},
		{"lr_start", func(c *Config) { c.Schedule, c.LRStart = RampExponential, 0.2 }},
		{"lr_ramp", func(c *Config) { c.Schedule, c.LRRamp = RampExponential, -1 }},
		{"lr_sustain", func(c *Config) { c.LRSustain = 1 }},
		{"lr_decay", func(c *Config) { c.Schedule, c.LRDecay = RampExponential, 0 }},
		{"subset_per_class", func(c *Config) { c.SubsetPerClass = -1 }},
		{"subset_per_class", func(c *Config) { c.Subset, c.SubsetPerClass = 10, 1 }},
		{"validation", func(c *Config) { c.Validation = -1 }},
		{"normalise", func(c *Config) { c.Normalise = "z-score" }},
		{"brightness", func(c *Config) { c.Brightness = -0.1 }},
		{"brightness", func(c *Config) { c.Brightness = math.NaN() }},
		{"image_size", func(c *Config) { c.ImageSize = -1 }},
		{"image_size", func(c *Config) { c.ImageSize = 1 << 40 }},
		{"crop", func(c *Config) { c.Crop = "left" }},
		{"crop", func(c *Config) { c.Crop = "centre" }},
		{"augment", func(c *Config) { c.Augment, c.Brightness = false, 0.1 }},
		{"augment", func(c *Config) { c.Augment, c.NoFlip = false, true }},
		{"lr_drops", func(c *Config) { c.LRDrops = []int{0} }},
		{"lr_drops", func(c *Config) { c.LRDrops = []int{5, 5} }},
		{"lr_drops", func(c *Config) { c.LRDrops = []int{8, 5} }},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		var e *ConfigError
		if err := cfg.Validate(); !errors.As(err, &e) || e.Field != c.field {
			t.Errorf("%+v: %v, want a *ConfigError of %s", cfg, err, c.field)
		}
	}
}

// TestDifferenceCoversEverySetting changes each field of Config in turn, so
// that a new one cannot be left out of the comparison that guards a resume.
func TestDifferenceCoversEverySetting(t *testing.T) {
	typ := reflect.TypeFor[Config]()
	for i := range typ.NumField() {
		c, d := DefaultConfig(), DefaultConfig()
		switch f := reflect.ValueOf(&d).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString(f.String() + "x")
		case reflect.Int:
			f.SetInt(f.Int() + 1)
		case reflect.Uint64:
			f.SetUint(f.Uint() + 1)
		case reflect.Float64:
			f.SetFloat(f.Float() + 1)
		case reflect.Bool:
			f.SetBool(!f.Bool())
		case reflect.Slice:
			f.Set(reflect.ValueOf([]int{99}))
		default:
			t.Fatalf("%s is of a kind this test cannot change", typ.Field(i).Name)
		}
		want, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if want == "epochs" {
			want = "" // may grow
		}
		if got, _, _ := c.difference(&d); got != want {
			t.Errorf("%s changed: difference in %q, want %q", typ.Field(i).Name, got, want)
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var read Config
		if err := json.Unmarshal(b, &read); err != nil || !reflect.DeepEqual(read, d) {
			t.Errorf("%s changed: written as %s and read as %+v, %v", typ.Field(i).Name, b, read, err)
		}
	}
}

// TestOldConfig: what earlier versions wrote means what it meant, and is
// written again as it was.
func TestOldConfig(t *testing.T) {
	const old = `{"arch":"resnet-20","shortcut":"A","data":"cifar10","trainable":"all","epochs":160,"batch":64,"lr":0.05,"lr_drops":null,` +
		`"momentum":0.8,"weight_decay":0,"seed":7,"subset":100,"augment":false,"with_stats":true}`
	var got Config
	if err := json.Unmarshal([]byte(old), &got); err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Arch, want.Shortcut, want.Data, want.Trainable, want.Epochs, want.Batch, want.LR, want.LRDrops = "resnet-20", "A", "cifar10", "all", 160, 64, 0.05, nil
	want.Momentum, want.WeightDecay, want.Seed, want.Subset, want.Augment, want.WithStats = 0.8, 0, 7, 100, false, true
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v, want %+v", got, want)
	}
	if b, err := json.Marshal(got); err != nil || string(b) != old {
		t.Errorf("written as %s, %v; want %s", b, err, old)
	}
}

func TestReadConfig(t *testing.T) {
	want := DefaultConfig()
	want.Seed = math.MaxUint64 // no float64 holds it
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), rundir.ConfigFile)
	if _, err := ReadConfig(path); !errors.Is(err, rundir.ErrNoRun) {
		t.Errorf("no file: %v, want ErrNoRun", err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadConfig(path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "{", `{"arch":"resnet-14","lerning_rate":1}`, strings.Replace(string(b), "resnet-14", "resnet-15", 1)} {
		if err := os.WriteFile(path, []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		var damaged *rundir.DamagedError
		if _, err := ReadConfig(path); !errors.As(err, &damaged) || damaged.Path != path {
			t.Errorf("%q: %v, want a *rundir.DamagedError of the file", bad, err)
		}
	}
}
