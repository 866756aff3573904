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
		{"bn", func(c *Config) { c.BN = "some" }},
		{"bn_every", func(c *Config) { c.BNEvery = -2 }},
		{"no_scale", func(c *Config) { c.NoScale = "layer1" }},
		{"no_shift", func(c *Config) { c.NoShift = "*,layer1" }},
		{"trainable", func(c *Config) { c.BN = "none" }},
		{"trainable", func(c *Config) { c.NoScale, c.NoShift = "*", "*" }},
		{"shortcut", func(c *Config) { c.Shortcut = "" }},
		{"data", func(c *Config) { c.Data = "" }},
		{"trainable", func(c *Config) { c.Trainable = "gamma" }},
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
	}
}

func TestReadConfig(t *testing.T) {
	want := DefaultConfig()
	want.Seed = math.MaxUint64 // no float64 holds it
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), ConfigFile)
	if _, err := ReadConfig(path); !errors.Is(err, ErrNoRun) {
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
		if _, err := ReadConfig(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want an error that names the file", bad, err)
		}
	}
}

func TestLearningRate(t *testing.T) {
	for _, c := range []struct {
		epoch int
		want  float64
	}{{0, 0.1}, {4, 0.1}, {5, 0.01}, {7, 0.01}, {8, 0.001}, {100, 0.001}} {
		if got := learningRate(0.1, []int{5, 8}, c.epoch); got != c.want {
			t.Errorf("epoch %d: rate %v, want %v", c.epoch, got, c.want)
		}
	}
	if got := learningRate(0.1, nil, 1000); got != 0.1 {
		t.Errorf("without drops: %v", got)
	}
}

func TestMetricsRow(t *testing.T) {
	m := EpochMetrics{
		Epoch: 1, LearningRate: 0.1, TrainLoss: 2.25, TrainAccuracy: 0.5, TrainExamples: 64, TestLoss: math.Inf(1), TestAccuracy: 0.25,
		TestExamples: 32, TestStatistics: StatisticsRunning, GeneralisationGap: 0.25, GammaNearZero: 0.03, ImagesPerSecond: 10, Seconds: 2,
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "test_loss") {
		t.Errorf("an infinite loss is written: %s", b)
	}
	rows, size, err := parseMetrics(append(b, "\n{\"epoch\":2,\"tr"...), maxEpochs)
	if err != nil || len(rows) != 1 || size != len(b)+1 {
		t.Fatalf("%d rows of %d bytes, %v", len(rows), size, err)
	}
	if !math.IsNaN(rows[0].TestLoss) {
		t.Errorf("a missing loss is read as %v", rows[0].TestLoss)
	}
	m.TestLoss, rows[0].TestLoss = 0, 0
	if rows[0] != m {
		t.Errorf("read %+v, want %+v", rows[0], m)
	}
	for _, bad := range []string{"x\n", "{\"epoch\":2}\n"} {
		if _, _, err := parseMetrics([]byte(bad), maxEpochs); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v, want an error of line 1", bad, err)
		}
	}
}
