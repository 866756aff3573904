package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layer is a package and the packages that it may import.
type layer struct {
	name    string
	imports []string
}

// allowedImports lists the packages of the project, without the prefix bnkit/, each with the
// packages that it may import. Imports point one way, from commands down to kernels and
// files: a package may only import packages that are listed below it.
var allowedImports = []layer{
	{"cmd/bnkit", []string{"plots", "analysis", "prune", "engine", "engine/bench", "engine/presets", "engine/config", "engine/rundir", "engine/dataset", "engine/dataset/fetch",
		"engine/convert", "engine/arch", "engine/kernel", "checkpoint", "checkpoint/safetensors", "checkpoint/durable", "checkpoint/strictjson", "docs"}},

	// Plots are drawn from results and measure nothing, so they do not need engine.
	{"plots", []string{"analysis", "prune", "engine", "engine/rundir", "checkpoint/durable"}},
	{"analysis", []string{"prune", "engine", "engine/config", "engine/rundir", "engine/dataset", "engine/convert", "engine/nn", "engine/arch", "engine/kernel"}},
	{"prune", []string{"engine", "engine/config", "engine/dataset", "engine/convert", "engine/nn", "engine/arch", "engine/kernel", "engine/rng", "checkpoint/safetensors", "checkpoint/durable", "checkpoint/strictjson"}},
	{"engine/bench", []string{"engine", "engine/config", "engine/nn", "engine/arch", "engine/kernel", "engine/rng"}},

	{"engine", []string{"engine/rundir", "engine/config", "engine/optim", "engine/dataset", "engine/convert", "engine/nn", "engine/arch", "engine/kernel", "checkpoint", "checkpoint/durable", "checkpoint/strictjson"}},

	// Only cmd imports presets, because they bring in YAML.
	{"engine/presets", []string{"engine/config", "checkpoint/durable"}},
	{"engine/config", []string{"engine/optim", "engine/dataset", "engine/nn", "engine/arch", "checkpoint/strictjson"}},
	{"engine/optim", []string{"engine/nn", "engine/arch", "engine/kernel"}},

	// Only cmd imports fetch, because it brings in net/http.
	{"engine/dataset/fetch", []string{"engine/dataset", "checkpoint/durable"}},
	{"engine/rundir", []string{"checkpoint", "checkpoint/durable", "checkpoint/strictjson"}},
	{"engine/dataset", []string{"engine/rng", "checkpoint/durable"}},
	{"engine/convert", []string{"engine/nn", "engine/arch", "checkpoint/safetensors", "checkpoint/torchfile"}},
	{"engine/nn", []string{"engine/arch", "engine/kernel", "engine/rng"}},
	{"checkpoint", []string{"checkpoint/durable", "checkpoint/strictjson"}},
	{"checkpoint/torchfile", nil},
	{"checkpoint/safetensors", []string{"checkpoint/durable", "checkpoint/strictjson"}},

	{"checkpoint/alloctest", nil},
	{"engine/arch/archtest", []string{"engine/arch"}},
	{"engine/arch", nil},
	{"engine/kernel", nil},
	{"engine/rng", nil},
	{"checkpoint/durable/crashfs", []string{"checkpoint/durable"}}, // only tests import it
	{"checkpoint/durable", nil},
	{"checkpoint/strictjson", nil},
	{"docs", nil},
}

// goList returns the lines that go list prints.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestImportsPointOneWay(t *testing.T) {
	allowed := map[string][]string{}
	for i, p := range allowedImports {
		allowed[p.name] = p.imports
		for _, other := range p.imports {
			if !slices.ContainsFunc(allowedImports[i+1:], func(below layer) bool { return below.name == other }) {
				t.Errorf("%s is not listed below %s, which may import it", other, p.name)
			}
		}
	}
	seen := 0
	for _, line := range goList(t, "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "bnkit/...") {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], "bnkit/")
		imports, known := allowed[name]
		if !known {
			t.Errorf("%s is not listed in allowedImports: add it, or move its content", name)
			continue
		}
		seen++
		for _, imported := range fields[1:] {
			if other, internal := strings.CutPrefix(imported, "bnkit/"); internal && !slices.Contains(imports, other) {
				t.Errorf("%s imports %s, which allowedImports does not allow", name, other)
			}
		}
	}
	if seen != len(allowedImports) {
		t.Errorf("%d packages of allowedImports exist, want %d", seen, len(allowedImports))
	}
}

// TestEngineDependencies checks that package engine does not depend on packages that only cmd and
// plots need.
func TestEngineDependencies(t *testing.T) {
	deps := goList(t, "-deps", "bnkit/engine")
	if !slices.Contains(deps, "bnkit/engine/nn") {
		t.Fatalf("engine depends on %v, want bnkit/engine/nn among them", deps)
	}
	for _, unwanted := range []string{"net/http", "go.yaml.in/yaml/v3", "gonum.org/v1/plot", "github.com/spf13/cobra"} {
		if slices.Contains(deps, unwanted) {
			t.Errorf("engine depends on %s, which only cmd and plots may need", unwanted)
		}
	}
}
