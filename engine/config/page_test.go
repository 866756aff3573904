package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/settings.md")

const page = "../../docs/settings.md"

// TestSettingsPage checks that docs/settings.md matches the table of settings. After a change of
// the table, run go test ./engine/config -run TestSettingsPage -update.
func TestSettingsPage(t *testing.T) {
	want := settingsPage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/settings.md differs from the table of settings; update it with: go test ./engine/config -run TestSettingsPage -update")
	}
}

// settingsPage returns the text of docs/settings.md.
func settingsPage() string {
	var b strings.Builder
	b.WriteString(`# Settings

The settings and the data determine a run's result. Nearly every setting is a flag of
` + "`bnkit train`" + `, a key of a YAML file for ` + "`--config`" + `, and a key of a run's
` + "`config.json`" + `. A flag overrides a file or preset. A setting that is not given has
its default. It is an error to give a setting that has no effect, such as lr_min with
schedule step. In a file, momentum, lr_drops and default values may be without effect.

This page is generated from the table in engine/config/settings.go.
`)
	var group Group
	for _, s := range Settings {
		if s.Group != group {
			group = s.Group
			title := strings.ToUpper(string(group[:1])) + string(group[1:])
			fmt.Fprintf(&b, "\n## %s\n\n| key | flag | default | values | meaning |\n|---|---|---|---|---|\n", title)
		}
		flag := "`--" + s.FlagName() + "`"
		if s.NoFlag {
			flag = ""
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.Key, flag, defaultText(s), escaped(valuesText(s)), escaped(s.Meaning+needsText(s)))
	}
	return b.String()
}

// defaultText returns the cell of the table with the default of s.
func defaultText(s *Setting) string {
	d := Default()
	if text := s.Text(&d); text != "" {
		return "`" + text + "`"
	}
	return ""
}

// valuesText describes the possible values of s.
func valuesText(s *Setting) string {
	var parts []string
	for _, v := range s.Values {
		parts = append(parts, "`"+v+"`")
	}
	switch text := strings.Join(parts, ", "); {
	case text != "" && s.Form != "":
		return text + ", or " + s.Form
	case text+s.Form != "":
		return text + s.Form
	}
	if s.Range.bounded {
		return string(s.Kind()) + " " + s.Range.String()
	}
	return string(s.Kind())
}

// needsText describes the condition under which s has an effect, or returns "".
func needsText(s *Setting) string {
	switch {
	case s.Needs.Key == "":
		return ""
	case s.Needs.Values == nil:
		return "; only with `" + s.Needs.Key + "`"
	}
	return "; only with `" + s.Needs.Key + "` " + strings.Join(s.Needs.Values, ", ")
}

// escaped escapes each |, which would end a cell of the table.
func escaped(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
