package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestEveryFlagHasCompletion checks that each flag with a value has a completion, so that
// the shell does not offer files for numbers.
func TestEveryFlagHasCompletion(t *testing.T) {
	for _, c := range allCommands() {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if _, found := c.GetFlagCompletionFunc(f.Name); !found && f.Value.Type() != "bool" {
				t.Errorf("%s --%s has no completion, want one", c.CommandPath(), f.Name)
			}
		})
	}
}

// completions returns the completions that the shell is offered, without descriptions, and the
// directive.
func completions(t *testing.T, line string) (offers []string, directive string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(mustRun(t, append([]string{"__completeNoDesc"}, strings.Split(line, " ")...)...)), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

// TestCompletions checks the completions of settings, presets, data sets, run directories and
// checkpoints.
func TestCompletions(t *testing.T) {
	chdirTemp(t)
	for _, file := range []string{"runs/a/config.json", "runs/a/ckpt.bnz", "runs/a/resume.bnz", "runs/a/ckpt-pruned.bnz", "runs/b/config.json", "runs/notes/x"} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const noFiles, byExtension, folders = ":4", ":8", ":16"
	for line, want := range map[string]struct {
		offers    []string
		directive string
	}{
		"train --optimizer ":         {[]string{"sgd", "adam", "adamw"}, noFiles},
		"train --bn-weight-decay=":   {[]string{"true", "false"}, noFiles},
		"train --lr ":                {nil, noFiles},
		"train --config ":            {[]string{"yaml", "yml", "json"}, byExtension},
		"eval --statistics ":         {[]string{"stored", "re-estimated"}, noFiles},
		"bench --activations ":       {[]string{"float32", "bf16"}, noFiles},
		"data fetch ":                {[]string{"sample", "cifar10", "cifar100", "mnist", "fashion-mnist"}, noFiles},
		"analyze --data-dir ":        {nil, folders},
		"analyze ":                   {[]string{"runs/a", "runs/b"}, noFiles},
		"analyze runs/a":             {[]string{"runs/a", "runs/a/ckpt-pruned.bnz", "runs/a/ckpt.bnz"}, noFiles},
		"analyze elsewhere/":         {[]string{"bnz", "safetensors", "pt", "pth", "th"}, byExtension},
		"analyze runs/a ":            {nil, noFiles},
		"compare runs/a runs/":       {[]string{"runs/a", "runs/b"}, noFiles},
		"train --resume --out runs/": {[]string{"runs/a", "runs/b"}, noFiles},
		"export --format ":           {[]string{"safetensors"}, noFiles},
	} {
		offers, directive := completions(t, line)
		if !slices.Equal(offers, want.offers) || directive != want.directive {
			t.Errorf("the completions of %q are %q with directive %s, want %q with %s", line, offers, directive, want.offers, want.directive)
		}
	}
	for line, want := range map[string]string{
		"train --arch ": "resnet-20", "inspect --arch ": "vgg-16", "bench --arch ": "resnet50",
		"train --preset ": "frankle-resnet-14-bn", "bench --trainable ": "bn+output", "train --data ": "cifar10", "eval --data ": "cifar10",
	} {
		if offers, _ := completions(t, line); !slices.Contains(offers, want) {
			t.Errorf("the completions of %q are %q, want %s among them", line, offers, want)
		}
	}
}
