package plots

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"bnkit/engine/rundir"
)

// TestValidation checks that the validation split of a single run has its own curves, with gaps
// where it was not measured, and that those of several runs have their own panels.
func TestValidation(t *testing.T) {
	unvalidated, validated := epochs(9), epochs(9)
	for i := range validated {
		m := &validated[i]
		m.ValidationLoss, m.ValidationAccuracy, m.ValidationExamples = m.TestLoss*1.1, m.TestAccuracy*0.9, 500
	}
	withGap := slices.Clone(validated)
	withGap[3].ValidationExamples = 0
	pixels := func(runs ...Run) int { return count(drawAll(t, runs)["training.png"], colors[green]) }
	whole, gap := pixels(Run{Epochs: validated}), pixels(Run{Epochs: withGap})
	if n := pixels(Run{Epochs: unvalidated}); n != 0 || gap >= whole || gap == 0 {
		t.Errorf("the validation curve has %d pixels without a split, %d with a gap and %d without a gap; want 0, and with the gap fewer than without it, but more than 0", n, gap, whole)
	}
	labels := func(runs ...Run) (all []string) {
		for _, p := range training(runs).panels {
			all = append(all, p.Y.Label.Text)
		}
		return all
	}
	if got, want := labels(Run{Name: "a", Epochs: validated}, Run{Name: "b", Epochs: unvalidated}), []string{"test accuracy", "validation accuracy", "test loss, nats", "validation loss, nats"}; !slices.Equal(got, want) {
		t.Errorf("two runs have panels %q, want %q", got, want)
	}
	if got, want := labels(Run{Name: "a", Epochs: unvalidated}, Run{Name: "b", Epochs: unvalidated}), []string{"test accuracy", "test loss, nats"}; !slices.Equal(got, want) {
		t.Errorf("two runs without a validation split have panels %q, want %q", got, want)
	}
}

// TestDrops checks that a drop of the learning rate is marked if all runs have it, and that a rate
// that falls in every epoch is not marked.
func TestDrops(t *testing.T) {
	run := func(rates ...float64) Run {
		var r Run
		for i, lr := range rates {
			r.Epochs = append(r.Epochs, rundir.EpochMetrics{Epoch: i + 1, LearningRate: lr})
		}
		return r
	}
	for name, c := range map[string]struct {
		runs   []Run
		x      []float64
		labels []string
	}{
		"no drops":     {[]Run{{}, run(1), run(1, 1, 0.9)}, nil, nil},
		"steps":        {[]Run{run(1, 1, 0.1, 0.1, 0.05)}, []float64{2.5, 4.5}, []string{"lr 0.1", "lr 0.05"}},
		"first epoch":  {[]Run{run(1, 0.1, 0.1)}, []float64{1.5}, []string{"lr 0.1"}},
		"every epoch":  {[]Run{run(1, 0.5, 0.25, 0.125)}, nil, nil},
		"same rate":    {[]Run{run(1, 1, 0.1), run(1, 1, 0.1)}, []float64{2.5}, []string{"lr 0.1"}},
		"unlike rates": {[]Run{run(1, 1, 0.1), run(1, 1, 0.2)}, []float64{2.5}, []string{""}},
		"one of two":   {[]Run{run(1, 1, 0.1, 0.1), run(1, 1, 1, 0.1)}, nil, nil},
	} {
		if d := rateDrops(c.runs); !slices.Equal(d.x, c.x) || !slices.Equal(d.labels, c.labels) {
			t.Errorf("%s: got the labels %q at %v, want %q at %v", name, d.labels, d.x, c.labels, c.x)
		}
	}
}

// TestMissingRows checks that a curve has a gap where a row is missing, and that no other row is
// changed.
func TestMissingRows(t *testing.T) {
	all := epochs(6)
	rows := withGaps(append(slices.Clone(all[:2]), all[3:]...))
	if len(rows) != 6 || rows[2].Epoch != 3 || !math.IsNaN(rows[2].TrainLoss) || !math.IsNaN(rows[2].TestAccuracy) {
		t.Errorf("the rows are %+v, want 6, the third for epoch 3 without values", rows)
	}
	for i, m := range rows {
		if i != 2 && m != all[i] {
			t.Errorf("row %d is %+v, want %+v", i, m, all[i])
		}
	}
	if n := len(withGaps([]rundir.EpochMetrics{{Epoch: 1}, {Epoch: 1_000_000_000}})); n != 3 {
		t.Errorf("two rows with a long gap between them become %d rows, want 3", n)
	}
	if _, err := Draw(t.TempDir(), []Run{{Name: "gap", Epochs: append(slices.Clone(all[:2]), all[3:]...)}}, PNG); err != nil {
		t.Error(err)
	}
}

// TestLongRun checks that a curve of many epochs is a line without marks.
func TestLongRun(t *testing.T) {
	r := epochs(300)
	for i := range r {
		r[i].TestAccuracy = 0.5
	}
	height := func(n int) int {
		f := training([]Run{{Epochs: r[:n]}})
		f.legend, f.panels = nil, f.panels[:1]
		_, longestLine := longestRow(renderFigure(t, f), colors[0])
		first, last := extent(renderFigure(t, f), colors[0])
		if longestLine < 500 {
			t.Errorf("the longest row of a line has %d pixels, want at least 500", longestLine)
		}
		return last - first
	}
	if few, many := height(10), height(300); few < 9 || many > 5 {
		t.Errorf("a flat line is %d pixels high with 10 points and %d with 300, want at least 9 and at most 5", few, many)
	}
}

// TestEndings checks the names of the lines of several runs: labels with the last values at their
// ends, or a legend if there are too many runs or their names are long.
func TestEndings(t *testing.T) {
	few := []Run{{Name: "a", Epochs: epochs(3)}, {Name: "b", Epochs: epochs(5)}}
	f := training(few)
	if len(f.legend) != 0 {
		t.Errorf("the legend is %+v, want labels at the ends", f.legend)
	}
	renderFigure(t, f)
	if got := testAccuracy.result(few[0].Epochs) + testLoss.result(few[1].Epochs); got != " 38.0% 0.44" {
		t.Errorf("the last accuracy of a and loss of b are %q, want \" 38.0%% 0.44\"", got)
	}
	var many []Run
	for i := range 30 {
		many = append(many, Run{Name: fmt.Sprint("r", i), Epochs: epochs(2)})
	}
	if f := training(many); len(f.legend) != len(many) {
		t.Errorf("the legend of 30 runs has %d entries, want 30", len(f.legend))
	}
	if f := training([]Run{{Name: strings.Repeat("long ", 12), Epochs: epochs(2)}, few[0]}); len(f.legend) == 0 {
		t.Error("long names have no legend, want one")
	}
}

// TestLabelHeights checks that labels do not overlap, keep their order and, if there is room, stay
// at the ends of their lines.
func TestLabelHeights(t *testing.T) {
	for _, c := range []struct{ points, want []vg.Length }{
		{[]vg.Length{90, 50, 10}, []vg.Length{90, 50, 10}},
		{[]vg.Length{52, 51, 50}, []vg.Length{52, 42, 32}},
		{[]vg.Length{2, 1, 0}, []vg.Length{20, 10, 0}},
		{[]vg.Length{120, 100}, []vg.Length{100, 90}},
	} {
		if got := labelHeights(c.points, 10, 0, 100); !slices.Equal(got, c.want) {
			t.Errorf("the labels of lines that end at %v are at %v, want %v", c.points, got, c.want)
		}
	}
}

// TestAccuracyByTime checks that times accumulate until the first missing row.
func TestAccuracyByTime(t *testing.T) {
	r := epochs(4)
	for i := range r {
		r[i].Seconds = float64(100 * (i + 1))
	}
	if got := elapsed(r); !slices.Equal(got, []float64{100, 300, 600, 1000}) {
		t.Errorf("the elapsed times are %v, want [100 300 600 1000]", got)
	}
	f := accuracyByTime([]Run{{Epochs: r}})
	if p := f.panels[0]; p.X.Label.Text != "time, min" || math.Abs(p.X.Max-1000.0/60) > 1e-9 {
		t.Errorf("the axis is %q up to %v, want minutes up to %v", p.X.Label.Text, p.X.Max, 1000.0/60)
	}
	gap := withGaps(append(slices.Clone(r[:2]), r[3]))
	if got := elapsed(gap); len(got) != 4 || got[1] != 300 || !math.IsNaN(got[2]) || !math.IsNaN(got[3]) {
		t.Errorf("the elapsed times with a missing row are %v, want [100 300 NaN NaN]", got)
	}
	if f := accuracyByTime([]Run{{Epochs: epochs(4)}, {}}); f != nil {
		t.Errorf("accuracyByTime draws runs without times as %+v, want no picture", f)
	}
}
