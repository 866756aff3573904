package presets

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"bnkit/checkpoint/alloctest"
	"bnkit/engine/config"
)

// writeSettings writes text to a file and returns its path.
func writeSettings(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "my.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadFile(t *testing.T) {
	got, err := ReadFile(t.Context(), writeSettings(t, `
# a comment
reproduces: nothing
arch: resnet-20
trainable: "all"
lr: 1
schedule: cosine   # another comment
lr_min: 1e-3
lr_drops: []
seed: 18446744073709551615
bn_weight_decay: false
`))
	want := config.Default()
	want.Arch, want.Trainable, want.LR, want.Schedule, want.LRMin, want.LRDrops = "resnet-20", "all", 1, config.Cosine, 1e-3, []int{}
	want.Seed, want.BNWeightDecay = 1<<64-1, false
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v; want %+v", got, err, want)
	}

	// A run's config.json can also be read.
	for _, drops := range [][]int{{}, {3, 5}} {
		want.Data, want.LRDrops = `C:\data "<1>"`, drops
		b, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(t.Context(), writeSettings(t, string(b))); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v; want %+v", b, got, err, want)
		}
	}

	for _, c := range []struct{ text, key, want string }{
		{"", "file", "no settings"},
		{"# nothing", "file", "no settings"},
		{"[1, 2]", "file", "no settings"},
		{"lr: [", "file", "line 1"},
		{"lr: 0.1\n\tepochs: 3", "file", "line 2"},
		{"lr: 0.1\n---\nlr: 0.2", "file", "more than one"},
		{"---\n---\nlr: 0.2", "file", "more than one"},
		{strings.Repeat("#", maxSize+1), "file", "bytes"},
		{"lr: 0.1\nepoch: 3", "epoch", "line 2"},
		{"lr: 0.1\nlr: 0.2", "lr", "twice"},
		{"<<: {lr: 0.1}", "<<", "does not exist"},
		{"epochs: 1.5", "epochs", "whole number"},
		{"epochs:", "epochs", "whole number"},
		{"epochs: 99999999999999999999", "epochs", "whole number"},
		{"epochs: many", "epochs", "whole number"},
		{"epochs: [3]", "epochs", "whole number"},
		{"seed: -1", "seed", "whole number"},
		{"lr: 0.1\nseed: 010", "seed", `line 2: "010" must be a decimal number`},
		{"seed: 0x10", "seed", "decimal"},
		{"seed: 0o10", "seed", "decimal"},
		{"seed: !!int 010", "seed", "decimal"},
		{"seed: !!int \"0x\\n10\"", "seed", "decimal"},
		{"epochs: 0b11", "epochs", "decimal"},
		{"seed: +5", "seed", "decimal"},
		{"arch: 010", "arch", "text"},
		{"epochs: 1_000", "epochs", "decimal"},
		{"epochs: -010", "epochs", "decimal"},
		{"subset: 00", "subset", "decimal"},
		{"lr: 010", "lr", "decimal"},
		{"lr: 0_1.5", "lr", "decimal"},
		{"lr_drops: [3, 010]", "lr_drops", "decimal"},
		{"momentum: &a 01\nlr_drops: [*a]", "momentum", "decimal"},
		{"lr_drops: [3,\n  0x10]", "lr_drops", "line 2"},
		{"lr: fast", "lr", "a number"},
		{"lr: .nan", "lr", "above 0"},
		{"lr: -1", "lr", "above 0"},
		{"augment: 1", "augment", "true or false"},
		{"arch: 20", "arch", "text"},
		{"arch: resnet-21", "arch", "20 and 26"},
		{"lr_drops: 80", "lr_drops", "list"},
		{"lr_drops: [80, 120.5]", "lr_drops", "list"},
		{"lr_drops: [120, 80]", "lr_drops", "ascending"},
		{"optimizer: rmsprop", "optimizer", "adamw"},
	} {
		path := writeSettings(t, c.text)
		_, err := ReadFile(t.Context(), path)
		var e *config.Error
		if !errors.As(err, &e) || e.Key != c.key || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": "+c.key+": ") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: got error %v, want a *config.Error of %s, in one line that names the file and says %q", c.text, err, c.key, c.want)
		}
	}
	if _, err := ReadFile(t.Context(), filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got error %v, want os.ErrNotExist", err)
	}
}

// FuzzSettings checks that parsing allocates at most 4 MiB plus 400 times the size of the file,
// that the settings of an accepted file are valid, and that they do not change when they are
// written as JSON and read again.
func FuzzSettings(f *testing.F) {
	for _, s := range []string{"", "lr: 0.1", "a: &a [1]\nlr_drops: *a", `{"arch":"resnet-14","lr_drops":null}`, "lr: 0x10", "seed: 1_0", "? lr\n: 1", "!!binary x: y"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c config.Config
		var err error
		alloctest.AtMost(t, 4<<20+400*len(b), func() { c, _, err = parse(b) })
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("%q: Validate returns error %v, want none", b, err)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again config.Config
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("reading the written settings %s: got error %v, want none", text, err)
		}
		if key, before, after := c.Difference(&again); key != "" {
			t.Fatalf("%q: after writing and reading, %s is %v, want %v", b, key, after, before)
		}
	})
}
