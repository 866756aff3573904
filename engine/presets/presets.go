// Package presets reads settings from YAML: the built-in settings of published experiments,
// and the user's own files.
package presets

import (
	"cmp"
	"embed"
	"fmt"
	"slices"
	"strings"

	"bnkit/engine/config"
)

//go:embed *.yaml
var files embed.FS

const extension = ".yaml"

// Preset holds the settings of a published experiment.
type Preset struct {
	Name       string        `json:"name"`
	Reproduces string        `json:"reproduces"` // the published experiment, and its published result if there is one
	Config     config.Config `json:"config"`
}

// All returns the presets, ordered by name. Numbers in names are ordered by value.
func All() []Preset {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the folder is embedded
	}
	var list []Preset
	for _, e := range entries {
		p, err := Find(strings.TrimSuffix(e.Name(), extension))
		if err != nil {
			panic(err) // a test reads every preset
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Preset) int { return compareNames(a.Name, b.Name) })
	return list
}

// compareNames compares names like cmp.Compare, but successive digits as one number: resnet-14
// comes before resnet-110.
func compareNames(a, b string) int {
	for len(a) > 0 && len(b) > 0 {
		n, m := countDigits(a), countDigits(b)
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

// countDigits returns the number of digits at the beginning of s.
func countDigits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}

// Find returns the preset with the given name. The error is a *config.Error if there is no
// such preset.
func Find(name string) (Preset, error) {
	p := Preset{Name: name}
	b, err := files.ReadFile(name + extension)
	if err != nil {
		return p, &config.Error{Key: "preset", Reason: fmt.Sprintf("%q is unknown", name)}
	}
	p.Config, p.Reproduces, err = parse(b)
	return p, err
}
