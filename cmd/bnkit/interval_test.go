package main

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"bnkit/engine"
)

// TestIntervals checks that eval, analyze and prune report the interval of each accuracy in
// JSON and in their tables.
func TestIntervals(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r", "--with-stats"}, smallRun...)...)
	type measured struct {
		Accuracy float64     `json:"test_accuracy"`
		Interval *[2]float64 `json:"test_accuracy_interval"`
	}
	check := func(name string, m measured) {
		t.Helper()
		low, high := engine.Wilson(int(math.Round(40*m.Accuracy)), 40)
		if m.Interval == nil || *m.Interval != [2]float64{low, high} {
			t.Errorf("%s: the interval of accuracy %v is %v, want [%v %v]", name, m.Accuracy, m.Interval, low, high)
		}
	}
	var eval measured
	decode(t, mustRun(t, "eval", "r", "--json"), &eval)
	check("eval", eval)
	var report struct {
		Sweep  []measured `json:"sweep"`
		Stored measured   `json:"stored_statistics"`
	}
	decode(t, mustRun(t, "analyze", "r", "--batches", "1", "--json"), &report)
	check("analyze, stored statistics", report.Stored)
	for _, s := range report.Sweep {
		check("analyze", s)
	}
	var pruned struct{ Before, After measured }
	decode(t, mustRun(t, "prune", "r", "--remove", "0.3", "--dry-run", "--json"), &pruned)
	check("prune, before", pruned.Before)
	check("prune, after", pruned.After)
	if eval.Accuracy == 0 || len(report.Sweep) < 2 {
		t.Errorf("eval has accuracy %v and analyze %d rows, want an accuracy above 0 and at least 2 rows", eval.Accuracy, len(report.Sweep))
	}
	for _, line := range []string{"eval r", "analyze r --batches 1", "prune r --remove 0.3 --dry-run"} {
		m := eval
		if !strings.HasPrefix(line, "eval") {
			m = report.Sweep[0]
		}
		if out, want := mustRun(t, strings.Fields(line)...), accuracyText(m.Accuracy, *m.Interval); !strings.Contains(out, want) {
			t.Errorf("%s prints the following, want %s in it:\n%s", line, want, out)
		}
	}
	low, high := engine.Wilson(720, 1000)
	if got, want := accuracyText(0.72, [2]float64{low, high}), "72.00% (69.1–74.7)"; got != want {
		t.Errorf("accuracyText returns %q, want %q", got, want)
	}
}

// TestTablesFit checks that the tables of analyze, prune and compare fit into 80 characters for a
// network with long layer names, and that --wide shows all columns of analyze.
func TestTablesFit(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r", "--arch", "resnet18", "--stem", "cifar", "--width", "0.125"}, smallRun[2:]...)...)
	for _, line := range []string{"analyze r --batches 1", "analyze r --batches 1 --near-zero 0.001,0.002,0.003,0.004", "prune r --remove 0.3 --dry-run", "compare r"} {
		for row := range strings.SplitSeq(mustRun(t, strings.Fields(line)...), "\n") {
			if n := utf8.RuneCountInString(row); n > 80 && strings.HasPrefix(row, "  ") {
				t.Errorf("%s: %d characters in %q, want at most 80", line, n, row)
			}
		}
	}
	out := mustRun(t, "analyze", "r", "--batches", "1", "--wide")
	heading, _, _ := strings.Cut(out, "\n")
	const want = "layer channels γ median β median |γ|<0.001 |γ|<0.01 |γ|<0.1 zeros off on grad γ grad β grad conv"
	if got := strings.Join(strings.Fields(heading), " "); got != want {
		t.Errorf("analyze --wide has the columns %s, want %s", got, want)
	}
}
