package main

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestAnalyzeSensitivity checks the JSON and the table of analyze --sensitivity, the pictures that
// analyze and plot draw from it, and that wrong flags are refused.
func TestAnalyzeSensitivity(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	args := []string{"analyze", "r", "--batches", "1", "--thresholds", "0.1", "--sensitivity", "--pictures", "10"}
	var report map[string]any
	decode(t, mustRun(t, append(args, "--shares", "0.5", "--json")...), &report)
	s := report["sensitivity"].(map[string]any)
	checkKeys(t, "sensitivity", s, "shares", "over", "unclamped", "layers")
	if over := s["over"].(map[string]any); over["examples"] != 10.0 || over["split"] != "test" || over["statistics"] != "re-estimated" {
		t.Errorf("sensitivity was measured over %v, want 10 test pictures with re-estimated statistics", over)
	}
	if n := len(s["layers"].([]any)); n != len(report["layers"].([]any)) {
		t.Errorf("the sensitivity has %d layers, want %d", n, len(report["layers"].([]any)))
	}
	layer := s["layers"].([]any)[0].(map[string]any)
	checkKeys(t, "a layer", layer, "name", "channels", "clamped")
	row := layer["clamped"].([]any)[0].(map[string]any)
	checkKeys(t, "a share", row, "channels", "test_accuracy", "test_loss", "test_accuracy_interval")
	if row["channels"] != layer["channels"].(float64)/2 {
		t.Errorf("%v of %v channels are clamped, want half", row["channels"], layer["channels"])
	}
	out := mustRun(t, args...)
	for _, text := range []string{"25%", "75%", "90%", "(10 pictures of the test split, re-estimated"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), text) {
			t.Errorf("analyze --sensitivity prints the following, want %q in it:\n%s", text, out)
		}
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d characters in %q, want at most 80", n, line)
		}
	}
	mustRun(t, "plot", "r", "--format", "svg")
	for _, picture := range []string{"r/plots/sensitivity.png", "r/plots/sensitivity.svg"} {
		if _, err := os.Stat(picture); err != nil {
			t.Error(err)
		}
	}
	for flags, want := range map[string]string{"--shares 0.5": "--sensitivity", "--pictures 5": "--sensitivity", "--sensitivity --shares 2": "out of range", "--sensitivity --pictures -1": "at least 1"} {
		if code, _, err := bnkit(t, append([]string{"analyze", "r"}, strings.Fields(flags)...)...); code != 2 || !strings.Contains(err, want) {
			t.Errorf("analyze %s: exit code %d, %q; want 2 and %q", flags, code, err, want)
		}
	}
}
