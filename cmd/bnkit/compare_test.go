package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCompare compares runs, one of which has not begun.
func TestCompare(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
	ok(t, append([]string{"train", "--data", data, "--out", "runs/a", "--lr", "0.05"}, small...)...)
	ok(t, "train", "--data", data, "--out", "runs/b", "--arch", "resnet-14", "--trainable", "all", "--epochs", "1", "--schedule", "cosine", "--batch", "32")
	config, err := os.ReadFile("runs/b/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("other/b", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("other/b/config.json", config, 0o644); err != nil {
		t.Fatal(err)
	}
	table := ok(t, "compare", "runs/a", "runs/b", "other/b", "--out", "beside")
	lines := strings.Split(table, "\n")
	// Columns are aligned with their headings on the right.
	cell := func(line, header string) string {
		end := strings.Index(lines[0], "  "+header+"  ") + 2 + len(header)
		return strings.TrimSpace(string([]rune(line)[max(0, end-len(header)-2):end]))
	}
	if !strings.HasPrefix(strings.TrimSpace(lines[1]), filepath.Join("runs", "a")) {
		t.Errorf("the table:\n%s", table)
	}
	for header, want := range map[string][]string{
		"network": {"resnet-8", "resnet-14", "resnet-14"}, "trained": {"bn", "all", "all"}, "epochs": {"2", "1", "0 of 1"}, "lr": {"0.05", "0.1", "0.1"},
		"schedule": {"step", "cosine", "cosine"}, // a default, which config.json leaves out
		// ResNet-14 has 175,258 on CIFAR-10; this one has two input channels and six classes less.
		"parameters": {"672", "174580", ""},
	} {
		for i, w := range want {
			if got := cell(lines[i+1], header); got != w {
				t.Errorf("%s of run %d: %q, want %q in\n%s", header, i+1, got, w, table)
			}
		}
	}
	if strings.Contains(lines[0], "momentum") || !strings.Contains(table, "40 pictures of the test split") {
		t.Errorf("the table:\n%s", table)
	}

	var r comparison
	decode(t, ok(t, "compare", "runs/a", "runs/b", "other/b", "--out", "beside", "--json"), &r)
	if len(r.Runs) != 3 || r.Runs[0].Epochs != 2 || r.Runs[1].Model.Trained != r.Runs[1].Model.Parameters || r.Runs[2].Result != nil || r.Runs[2].Model != nil {
		t.Errorf("%+v", r.Runs)
	}
	if !slices.Equal(r.Pictures, []string{filepath.Join("beside", "training.png"), filepath.Join("beside", "depth_width.png")}) {
		t.Errorf("pictures %v", r.Pictures)
	}
	for _, p := range r.Pictures {
		if info, err := os.Stat(p); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestCompareWithoutGamma checks that values of γ are missing for a run without γ.
func TestCompareWithoutGamma(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
	ok(t, append([]string{"train", "--data", data, "--out", "a"}, small...)...)
	ok(t, append([]string{"train", "--data", data, "--out", "b", "--bn", "none", "--trainable", "all", "--lr", "0.01"}, small...)...)
	var r struct {
		Runs []struct {
			Result map[string]any
		}
	}
	decode(t, ok(t, "compare", "a", "b", "--json"), &r)
	_, with := r.Runs[0].Result["gamma_near_zero"]
	if _, without := r.Runs[1].Result["gamma_near_zero"]; !with || without {
		t.Errorf("%+v", r.Runs)
	}
	if table := ok(t, "compare", "a", "b"); strings.Contains(table, "NaN") {
		t.Errorf("the table:\n%s", table)
	}
}

func TestRunNames(t *testing.T) {
	for _, c := range []struct{ dirs, want []string }{
		{[]string{"runs/a/", "b"}, []string{"a", "b"}},
		{[]string{"x/a", "y/a/", "b"}, []string{filepath.Join("x", "a"), filepath.Join("y", "a"), "b"}},
	} {
		if got := runNames(c.dirs); !slices.Equal(got, c.want) {
			t.Errorf("%v are called %v, want %v", c.dirs, got, c.want)
		}
	}
}
