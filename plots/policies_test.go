package plots

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"bnkit/engine"
	"bnkit/prune"
)

// comparison returns a comparison of two policies at two sizes.
func comparison() *prune.Comparison {
	c := &prune.Comparison{Beta: "kept", Before: engine.Evaluation{TestAccuracy: 0.8, Examples: 1000}}
	for i, importance := range []prune.Importance{prune.Change, prune.Random} {
		for k, macs := range []float64{0.75, 0.5} {
			accuracy := 0.7 - 0.3*float64(i) - 0.1*float64(k)
			c.Rows = append(c.Rows, prune.Compared{
				Policy: prune.Policy{Importance: importance, Scope: prune.GlobalScope, PerMAC: 0.5}, TargetMACs: macs, MACs: macs, Time: macs + 0.1,
				Reestimated: engine.Evaluation{TestAccuracy: accuracy, Interval: [2]float64{accuracy - 0.1, accuracy + 0.1}},
			})
		}
	}
	return c
}

// TestPolicies checks the lines and the intervals, with and without training after pruning.
func TestPolicies(t *testing.T) {
	c := comparison()
	f := policies(c)
	if len(f.panels) != 2 || len(f.legend) != 2 || f.legend[0].name != "change (multiply-adds to the power 0.5)" {
		t.Fatalf("got %d panels and the legend %+v, want 2 panels and 2 entries, the first for change", len(f.panels), f.legend)
	}
	for _, p := range f.panels {
		if p.Y.Min != 0 || p.Y.Max < 0.8 || p.Y.Max > 1 {
			t.Errorf("the axis of accuracy goes from %v to %v, want 0 to a number from 0.8 to 1", p.Y.Min, p.Y.Max)
		}
	}
	// The bars of the first policy go from 0.8 down to 0.5, and those of the second from 0.5 to
	// 0.2, so both colours cover equally many rows.
	coveredRows := func(f *figure, policy int) int {
		f.legend = nil // the legend has the same colours
		rows := pixelsOf(renderFigure(t, f), colors[policy])
		covered := func(n int) bool { return n > 0 }
		first := slices.IndexFunc(rows, covered)
		slices.Reverse(rows)
		return len(rows) - slices.IndexFunc(rows, covered) - first
	}
	if a, b := coveredRows(f, 0), coveredRows(f, 1); a < 100 || math.Abs(float64(a-b)) > 6 {
		t.Errorf("the first policy covers %d rows and the second %d, want equal numbers of at least 100", a, b)
	}
	for i := range c.Rows[:2] {
		c.Rows[i].Recovered = &engine.Evaluation{TestAccuracy: 0.79, Interval: [2]float64{0.78, 0.8}}
	}
	if n := coveredRows(policies(c), 0); n > 60 {
		t.Errorf("intervals of 2 points after a recovery cover %d rows, want at most 60", n)
	}
	if err := DrawPolicies(filepath.Join(t.TempDir(), "policies.svg"), c); err != nil {
		t.Error(err)
	}
	var e *FormatError
	if err := DrawPolicies(filepath.Join(t.TempDir(), "policies.gif"), c); !errors.As(err, &e) {
		t.Errorf("a picture named .gif: got error %v, want a *FormatError", err)
	}
}
