package main

import (
	"os"
	"strings"
	"testing"
)

// TestExportPruned checks that export writes the smaller network of a pruned checkpoint, the
// whole one with --full, and a Python module for either.
func TestExportPruned(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	var pruned struct {
		Before int `json:"parameters_before"`
		After  int `json:"parameters_after"`
	}
	decode(t, mustRun(t, "prune", "r/ckpt.bnz", "--remove", "0.3", "--data-dir", data, "--out", "p.bnz", "--json"), &pruned)
	if pruned.After >= pruned.Before {
		t.Fatalf("prune: %+v, want fewer parameters after than before", pruned)
	}
	for _, c := range []struct {
		ckpt, out, module string
		parameters        int
		flags             []string
	}{
		{"p.bnz", "small.safetensors", "small.py", pruned.After, []string{"--with-python"}},
		{"p.bnz", "full", "full.py", pruned.Before, []string{"--with-python", "--full"}},
		{"r/ckpt.bnz", "unpruned.safetensors", "", pruned.Before, nil},
	} {
		var r exportResult
		decode(t, mustRun(t, append([]string{"export", c.ckpt, "--out", c.out, "--data-dir", data, "--json"}, c.flags...)...), &r)
		if r.Parameters != c.parameters || r.Out != c.out || r.Python != c.module {
			t.Errorf("export %s %v: %+v, want %d parameters and the module %q", c.ckpt, c.flags, r, c.parameters, c.module)
		}
		if c.module == "" {
			continue
		}
		text, err := os.ReadFile(c.module)
		if err != nil || !strings.Contains(string(text), `"`+c.out+`"`) {
			t.Errorf("the module of %s (error %v) is the following, want it to load that file:\n%s", c.out, err, text)
		}
	}
	if _, err := os.Stat("unpruned.py"); err == nil {
		t.Error("unpruned.py was written without --with-python, want no module")
	}

	if err := os.WriteFile("mine.py", []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{"mine.safetensors": "mine.py already exists", "new.py": "--out"} {
		code, _, err := bnkit(t, "export", "p.bnz", "--out", out, "--with-python", "--data-dir", data)
		if code != 2 || !strings.Contains(err, want) || strings.Count(err, "\n") != 1 {
			t.Errorf("export --out %s: exit code %d, %q; want 2 and one line with %q", out, code, err, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s was written, want no file", out)
		}
	}
	if text, err := os.ReadFile("mine.py"); err != nil || string(text) != "mine" {
		t.Errorf("mine.py contains %q (error %v), want it unchanged", text, err)
	}
}
