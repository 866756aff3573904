package analysis

import (
	"slices"

	"bnkit/engine/config"
)

// Setting is a setting and its value in each of several runs, as text.
type Setting struct {
	Name   string
	Values []string
}

// Differences returns the settings in which at least two runs differ, in the order of
// config.Settings.
func Differences(runs []*Summary) []Setting {
	var all []Setting
	for _, s := range config.Settings {
		of := Setting{Name: s.Key}
		for _, r := range runs {
			of.Values = append(of.Values, s.Text(&r.Config))
		}
		if len(slices.Compact(slices.Clone(of.Values))) > 1 {
			all = append(all, of)
		}
	}
	return all
}
