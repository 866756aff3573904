package engine

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"bnkit/engine/rundir"
)

//go:embed presets/*.yaml
var presetFiles embed.FS

const presetDir, presetExt = "presets", ".yaml"

// Preset is settings by name.
type Preset struct {
	Name       string `json:"name"`
	Reproduces string `json:"reproduces"` // which published experiment, and its result where one is printed
	Config     Config `json:"config"`
}

// Presets lists the presets by name, numbers in names by their value.
func Presets() []Preset {
	entries, err := presetFiles.ReadDir(presetDir)
	if err != nil {
		panic(err) // the folder is part of the program
	}
	var list []Preset
	for _, e := range entries {
		p, err := FindPreset(strings.TrimSuffix(e.Name(), presetExt))
		if err != nil {
			panic(err) // a test reads every preset
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Preset) int { return compareNames(a.Name, b.Name) })
	return list
}

// compareNames orders names as cmp.Compare does, but for runs of digits, which
// go by their number: resnet-14 comes before resnet-110.
func compareNames(a, b string) int {
	for len(a) > 0 && len(b) > 0 {
		n, m := digits(a), digits(b)
		if n == 0 || m == 0 {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		x, y := strings.TrimLeft(a[:n], "0"), strings.TrimLeft(b[:m], "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(a, b)
}

// digits is how many digits s begins with.
func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}

// FindPreset returns the preset of that name. The error is a *ConfigError
// where there is none.
func FindPreset(name string) (Preset, error) {
	p := Preset{Name: name}
	b, err := presetFiles.ReadFile(presetDir + "/" + name + presetExt)
	if err != nil {
		return p, fail("preset", "%q is unknown; see: bnkit train --preset list", name)
	}
	p.Config, p.Reproduces, err = parseSettings(b)
	return p, err
}

// maxSettingsSize is more than any file of settings has.
const maxSettingsSize = 1 << 20

// ReadSettings reads a file of settings: YAML with the keys of config.json, or
// a run's config.json itself. What it leaves out has its default. An error
// names the file, and is a *ConfigError where a setting or the file's form is
// wrong.
func ReadSettings(path string) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("%w; name a YAML file of settings or a run's %s", err, rundir.ConfigFile)
	}
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSettingsSize+1))
	if err != nil {
		return Config{}, err
	}
	c, _, err := parseSettings(b)
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// reproducesKey is no setting: it says what a file's settings are for.
const reproducesKey = "reproduces"

func parseSettings(b []byte) (c Config, reproduces string, err error) {
	c = DefaultConfig()
	if len(b) > maxSettingsSize {
		return c, "", fail("file", "it has more than %d bytes, no settings need as many", maxSettingsSize)
	}
	var document, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return c, "", fail("file", "no YAML or JSON: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if document.Kind == 0 || document.Content[0].Kind != yaml.MappingNode {
		return c, "", fail("file", "it holds no settings; use lines such as: lr: 0.1")
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return c, "", fail("file", "it goes on after its settings with another document")
	}
	settings := map[string]setting{reproducesKey: {key: reproducesKey, value: reflect.ValueOf(&reproduces).Elem()}}
	for _, s := range c.settings() {
		settings[s.key] = s
	}
	for pairs := document.Content[0].Content; len(pairs) > 0; pairs = pairs[2:] {
		key := pairs[0].Value
		s, known := settings[key]
		if !known {
			return c, "", fail(key, "line %d: there is no such setting, or it is set twice", pairs[0].Line)
		}
		delete(settings, key)
		if err := s.decode(pairs[1]); err != nil {
			return c, "", err
		}
	}
	return c, reproduces, c.Validate()
}

// decode sets a setting to what a file says. YAML itself would round 1.5 to a
// whole number and take an empty value for none.
func (s setting) decode(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	var want string
	var ok bool
	switch tag := n.ShortTag(); s.value.Kind() {
	case reflect.String:
		want, ok = "text", tag == "!!str"
	case reflect.Bool:
		want, ok = "true or false", tag == "!!bool"
	case reflect.Float64:
		want, ok = "a number", tag == "!!float" || tag == "!!int"
	case reflect.Slice:
		want, ok = "a list of whole numbers, e.g. [80, 120]", tag == "!!seq" || tag == "!!null"
		for _, item := range n.Content {
			ok = ok && item.ShortTag() == "!!int"
		}
		s.value.SetZero()
	default:
		want, ok = "a whole number", tag == "!!int"
	}
	if !ok || n.Decode(s.value.Addr().Interface()) != nil {
		return fail(s.key, "line %d: its value must be %s", n.Line, want)
	}
	return nil
}
