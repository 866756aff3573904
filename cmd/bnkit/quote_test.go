package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"bnkit/checkpoint"
)

// hostile contains a sequence that sets the title of the terminal, an 8-bit control character,
// a carriage return, a character that reverses the direction of text, and a line break.
const hostile = "a\x1b]0;x\x07b\u009b2Jc\rd\u202ee\nf"

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"γ 1×1 “x” 日本 é \\ \"": "γ 1×1 “x” 日本 é \\ \"",
		hostile:                `a\x1b]0;x\ab\u009b2Jc\rd\u202ee\nf`,
		"\xff\x9bA":            `\xff\x9bA`,
		"\U000e0041":           `\U000e0041`,
		"":                     "",
	} {
		if got := visible(text); got != want {
			t.Errorf("visible(%q) is %q, want %q", text, got, want)
		}
	}
	if got, want := printable(hostile), `"a\x1b]0;x\ab\u009b2Jc\rd\u202ee\nf"`; got != want {
		t.Errorf("printable(%q) is %s, want %s", hostile, got, want)
	}
	if got := printable("γ a-b"); got != "γ a-b" {
		t.Errorf("printable(%q) is %s, want no change", "γ a-b", got)
	}
}

// TestSafeWriter checks that escaping does not change the values of JSON, and that in other output
// it leaves tabs and line breaks unchanged.
func TestSafeWriter(t *testing.T) {
	asJSON := true
	var b bytes.Buffer
	e := json.NewEncoder(safeWriter{w: &b, json: &asJSON})
	want := map[string]string{"a\x7fb\U000e0041": hostile}
	if err := e.Encode(want); err != nil {
		t.Fatal(err)
	}
	checkNoControls(t, "JSON", b.String())
	var got map[string]string
	decode(t, b.String(), &got)
	for key, value := range want {
		if got[key] != value {
			t.Errorf("the JSON decodes to %q, want %q", got, want)
		}
	}
	asJSON = false
	b.Reset()
	if n, err := io.WriteString(safeWriter{w: &b, json: &asJSON}, "x\ty\x1b\n"); n != 5 || err != nil || b.String() != "x\ty\\x1b\n" {
		t.Errorf("wrote %q and returned %d (error %v), want %q and 5", b.String(), n, err, "x\ty\\x1b\n")
	}
}

// checkNoControls checks that all characters of a text are printable, line breaks or tabs.
func checkNoControls(t *testing.T, name, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }); i >= 0 {
		t.Errorf("%s prints a character that is not printable at byte %d of %q, want none", name, i, text)
	}
}

// TestHostileFiles runs commands on files and arguments whose texts try to control the terminal,
// and checks that the output contains no control characters.
func TestHostileFiles(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	h := checkpoint.Header{
		Arch: hostile, Shortcut: hostile, Trainable: hostile, Classes: 10, Pruned: map[string][]int{hostile: {1}},
		Variants:     checkpoint.Variants{NoScale: hostile},
		Initialisers: checkpoint.Initialisers{Generator: hostile, Weights: hostile, Gamma: hostile, Beta: hostile},
		Data:         checkpoint.DataSet{Name: hostile, Digest: strings.Repeat(hostile, 9), ImageSize: 1, Crop: hostile},
		Provenance: []checkpoint.Event{
			{Tool: hostile, Action: hostile, Parameters: json.RawMessage(`{"x":"` + "\u009b\u202e" + `"}`)},
			{Tool: "bnkit", Action: "train", Parameters: json.RawMessage(`{"epochs":1}`)},
		},
		Config: json.RawMessage(`{"arch":"\u001b[2J` + "\u009b" + `"}`),
	}
	if err := checkpoint.WriteFile("hostile.bnz", &checkpoint.File{Header: h, Tensors: []checkpoint.Tensor{{Section: "bn", Name: hostile, Shape: []int{1}, Float32: []float32{1}}}}); err != nil {
		t.Fatal(err)
	}
	damage := func(dir, name, content string) {
		t.Helper()
		if err := os.CopyFS(dir, os.DirFS("r")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	damage("settings", "config.json", `{"arch":"resnet-8","data":"\u001b[2J\u009b"}`)
	damage("metrics", "metrics.jsonl", "{\"epoch\":\"\x1b[2J\u009b\"}\n")
	if err := os.WriteFile("my.yaml", []byte("optimizer: \"\\e[2J\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"inspect hostile.bnz", "inspect hostile.bnz --json", "eval hostile.bnz", "analyze hostile.bnz", "prune hostile.bnz", "plot hostile.bnz",
		"compare settings", "compare settings r", "compare settings r --json", "compare metrics", "train --config my.yaml", "train --resume --out settings",
		"train --arch \x1b[2J", "eval \x1b[2J.bnz", "prune r --plan my.yaml",
	} {
		_, out, stderr := bnkit(t, strings.Split(line, " ")...)
		checkNoControls(t, line, out)
		checkNoControls(t, line, stderr)
		if out+stderr == "" {
			t.Errorf("%s prints nothing, want a result or an error", line)
		}
	}
	if out := mustRun(t, "inspect", "hostile.bnz"); strings.Count(out, `"a\x1b]0;x\ab\u009b2Jc\rd\u202ee\nf"`) < 8 {
		t.Errorf("inspect prints the following, want the escaped text at least 8 times:\n%s", out)
	}
}
