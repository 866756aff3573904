package main

import (
	"os/exec"
	"strings"
	"testing"
)

// mayImport says which packages of the project each one may import: imports
// point one way, from what users see down to what computes.
var mayImport = map[string][]string{
	"bnkit/engine/arch":          {},
	"bnkit/engine/arch/archtest": {"bnkit/engine/arch"},
	"bnkit/engine/kernel":        {},
	"bnkit/engine/rng":           {},
	"bnkit/checkpoint":           {"bnkit/checkpoint/durable"},
	"bnkit/checkpoint/durable":   {},
	"bnkit/engine/dataset":       {"bnkit/engine/rng"},
	"bnkit/engine/nn":            {"bnkit/engine/arch", "bnkit/engine/kernel", "bnkit/engine/rng"},
	"bnkit/engine/optim":         {"bnkit/engine/arch", "bnkit/engine/kernel", "bnkit/engine/nn"},
	"bnkit/engine/config":        {"bnkit/engine/arch", "bnkit/engine/dataset", "bnkit/engine/nn", "bnkit/engine/optim"},
	"bnkit/engine/presets":       {"bnkit/engine/config"},
	"bnkit/engine": {"bnkit/checkpoint", "bnkit/checkpoint/durable", "bnkit/engine/arch", "bnkit/engine/config", "bnkit/engine/dataset", "bnkit/engine/kernel",
		"bnkit/engine/nn", "bnkit/engine/optim", "bnkit/engine/rng", "bnkit/engine/rundir"},
	"bnkit/engine/rundir": {"bnkit/checkpoint", "bnkit/checkpoint/durable"},
	"bnkit/analysis":      {"bnkit/engine", "bnkit/engine/arch", "bnkit/engine/config", "bnkit/engine/dataset", "bnkit/engine/kernel", "bnkit/engine/nn", "bnkit/engine/rundir", "bnkit/prune"},
	"bnkit/prune":         {"bnkit/engine", "bnkit/engine/arch", "bnkit/engine/dataset"},
	"bnkit/plots":         {"bnkit/analysis", "bnkit/checkpoint/durable", "bnkit/engine/rundir"},
	"bnkit/cmd/bnkit": {"bnkit/analysis", "bnkit/checkpoint", "bnkit/checkpoint/durable", "bnkit/engine", "bnkit/engine/arch", "bnkit/engine/config", "bnkit/engine/dataset",
		"bnkit/engine/kernel", "bnkit/engine/presets", "bnkit/engine/rundir", "bnkit/plots", "bnkit/prune"},
}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "bnkit/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		allowed, known := mayImport[fields[0]]
		if !known {
			t.Errorf("%s is no part of the layout: add it to this test, or move its content", fields[0])
			continue
		}
		seen++
		for _, imported := range fields[1:] {
			if !strings.HasPrefix(imported, "bnkit/") {
				continue
			}
			found := false
			for _, a := range allowed {
				found = found || a == imported
			}
			if !found {
				t.Errorf("%s imports %s", fields[0], imported)
			}
		}
	}
	if seen != len(mayImport) {
		t.Errorf("%d packages, want %d", seen, len(mayImport))
	}
}

// TestEngineWithoutYAML: a program that imports engine links no YAML parser.
func TestEngineWithoutYAML(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "bnkit/engine").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if deps := string(out); strings.Contains(deps, "yaml") || !strings.Contains(deps, "bnkit/engine/config\n") {
		t.Errorf("engine depends on:\n%s", deps)
	}
}
