package config

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"bnkit/engine/arch"
)

func TestDefaultConfigIsValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatalf("Validate of the default settings returns error %v, want none", err)
	}
}

func TestValidateRefuses(t *testing.T) {
	for _, c := range []struct {
		key    string
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
		{"adam_beta1", func(c *Config) { c.AdamBeta1 = 0.8 }},
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
		{"bn_eps", func(c *Config) { c.BNEps = 1e-50 }},
		{"adam_eps", func(c *Config) { c.Optimizer, c.AdamEps = Adam, 1e-50 }},
		{"lr", func(c *Config) { c.LR = 1e-50 }},
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
		{"brightness", func(c *Config) { c.Augment, c.Brightness = false, 0.1 }},
		{"no_flip", func(c *Config) { c.Augment, c.NoFlip = false, true }},
		{"lr_drops", func(c *Config) { c.LRDrops = []int{0} }},
		{"lr_drops", func(c *Config) { c.LRDrops = []int{5, 5} }},
		{"lr_drops", func(c *Config) { c.LRDrops = []int{8, 5} }},
	} {
		cfg := Default()
		c.change(&cfg)
		var e *Error
		if err := cfg.Validate(); !errors.As(err, &e) || e.Key != c.key {
			t.Errorf("%+v: got error %v, want an *Error of %s", cfg, err, c.key)
		}
	}
}

// changed returns the default settings with the value of s changed.
func changed(t *testing.T, s *Setting) Config {
	t.Helper()
	c := Default()
	switch field := s.Field(&c).(type) {
	case *string:
		*field += "x"
	case *int:
		*field++
	case *uint64:
		*field++
	case *float64:
		*field++
	case *bool:
		*field = !*field
	case *[]int:
		*field = []int{99}
	default:
		t.Fatalf("%s has a type that this test cannot change", s.Key)
	}
	return c
}

// TestSettingsMatchFields checks that each entry of the table has its own key, flag and field,
// that each field of Config has an entry, and that the conditions and examples are possible.
func TestSettingsMatchFields(t *testing.T) {
	fields := reflect.TypeFor[Config]().NumField() - 1 + reflect.TypeFor[arch.Variants]().NumField()
	if len(Settings) != fields {
		t.Errorf("there are %d settings, want one for each of the %d fields", len(Settings), fields)
	}
	keys, flags, pointers := map[string]bool{}, map[string]bool{}, map[any]bool{}
	var c Config
	for _, s := range Settings {
		if s.Meaning == "" || s.Group == "" {
			t.Errorf("%s has Meaning %q and Group %q, want both", s.Key, s.Meaning, s.Group)
		}
		keys[s.Key], flags[s.FlagName()], pointers[s.Field(&c)] = true, true, true
		if need := Find(s.Needs.Key); s.Needs.Key != "" {
			if need == nil || !keys[need.Key] {
				t.Fatalf("%s needs %q, which must be listed, and thus checked, before it", s.Key, s.Needs.Key)
			}
			for _, v := range s.Needs.Values {
				if d := Default(); need.Set(&d, v) != nil || need.Kind() == Text && !slices.Contains(need.Values, v) {
					t.Errorf("%s needs %s %s, want a possible value", s.Key, need.Key, v)
				}
			}
		}
		if s.Range.Example != "" {
			d := Default()
			if err := s.Set(&d, s.Range.Example); err != nil || !s.Range.contains(reflect.ValueOf(s.value(&d)).Convert(reflect.TypeFor[float64]()).Float()) {
				t.Errorf("%s: the example is %s (error %v), want a number %s", s.Key, s.Range.Example, err, s.Range)
			}
		}
	}
	if len(keys) != len(Settings) || len(flags) != len(Settings) || len(pointers) != len(Settings) {
		t.Errorf("%d settings have %d different keys, %d flags and %d fields, want %[1]d of each", len(Settings), len(keys), len(flags), len(pointers))
	}
}

// TestSettingsAreComparedAndWritten changes each setting in turn, and checks that
// Difference reports it and that JSON and text keep it.
func TestSettingsAreComparedAndWritten(t *testing.T) {
	for _, s := range Settings {
		c, d := Default(), changed(t, s)
		want := s.Key
		if want == "epochs" {
			want = "" // a resumed run may have more epochs
		}
		if got, _, _ := c.Difference(&d); got != want {
			t.Errorf("%s changed: Difference reports %q, want %q", s.Key, got, want)
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var read Config
		if err := json.Unmarshal(b, &read); err != nil || !reflect.DeepEqual(read, d) {
			t.Errorf("%s changed: the JSON %s is read as %+v, %v; want %+v", s.Key, b, read, err, d)
		}
		if err := s.Set(&c, s.Text(&d)); err != nil || !reflect.DeepEqual(c, d) {
			t.Errorf("%s changed: the text %q is read as %+v, %v; want %+v", s.Key, s.Text(&d), c, err, d)
		}
	}
}

// TestDefaultLRDrops checks that the default drops depend on the number of epochs, and that an
// empty list stays empty.
func TestDefaultLRDrops(t *testing.T) {
	for epochs, want := range map[int][]int{
		1: {}, 2: {1}, 3: {2}, 4: {3}, 5: {3, 4}, 6: {4, 5}, 10: {7, 9}, 15: {10, 13}, 30: {20, 26}, 160: {107, 139}, maxEpochs: {666_667, 866_667},
	} {
		c := Default()
		c.Epochs = epochs
		c.Resolve()
		if !slices.Equal(c.LRDrops, want) || c.LRDrops == nil {
			t.Errorf("%d epochs: drops %v, want %v", epochs, c.LRDrops, want)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%d epochs: Validate returns error %v, want none", epochs, err)
		}
	}
	c := Default()
	for _, text := range []string{"", "none"} {
		if err := Find("lr_drops").Set(&c, text); err != nil || c.LRDrops == nil || len(c.LRDrops) > 0 {
			t.Errorf("%q is read as %#v, %v; want an empty list", text, c.LRDrops, err)
		}
		if c.Resolve(); len(c.LRDrops) > 0 {
			t.Errorf("%q is resolved to %v, want an empty list", text, c.LRDrops)
		}
	}
	c = Default()
	c.Schedule = Cosine
	if c.Resolve(); c.LRDrops == nil || len(c.LRDrops) > 0 {
		t.Errorf("schedule cosine: resolved to %#v, want an empty list", c.LRDrops)
	}
}

// TestDefaultsAreOmitted checks that a setting that is missing in a file gets its default, and
// that a default is not written unless every file has its key.
func TestDefaultsAreOmitted(t *testing.T) {
	const file = `{"arch":"resnet-20","shortcut":"A","data":"cifar10","trainable":"all","epochs":160,"batch":64,"lr":0.05,"lr_drops":[],` +
		`"momentum":0.8,"weight_decay":0,"seed":7,"subset":100,"augment":false,"with_stats":true}`
	var got Config
	if err := json.Unmarshal([]byte(file), &got); err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Arch, want.Shortcut, want.Data, want.Trainable, want.Epochs, want.Batch, want.LR, want.LRDrops = "resnet-20", "A", "cifar10", "all", 160, 64, 0.05, []int{}
	want.Momentum, want.WeightDecay, want.Seed, want.Subset, want.Augment, want.WithStats = 0.8, 0, 7, 100, false, true
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v, want %+v", got, want)
	}
	if b, err := json.Marshal(got); err != nil || string(b) != file {
		t.Errorf("written as %s, %v; want %s", b, err, file)
	}
}

// TestUnmarshalRefusesInexactKeys checks that keys that occur twice or have capitals are
// refused.
func TestUnmarshalRefusesInexactKeys(t *testing.T) {
	for _, text := range []string{`{"lr":1,"lr":2}`, `{"LR":1}`, `{"lr":1,"Lr":2}`} {
		if err := json.Unmarshal([]byte(text), new(Config)); err == nil {
			t.Errorf("reading %s returned no error, want one", text)
		}
	}
}

// TestNullLRDrops checks that null, which some files contain, is read as an empty list.
func TestNullLRDrops(t *testing.T) {
	var c Config
	if err := json.Unmarshal([]byte(`{"lr_drops":null}`), &c); err != nil || c.LRDrops == nil || len(c.LRDrops) > 0 {
		t.Errorf("null is read as %#v, %v; want an empty list", c.LRDrops, err)
	}
}
