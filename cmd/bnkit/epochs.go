package main

import (
	"fmt"
	"math"
	"strings"

	"bnkit/engine/rundir"
)

// epochTable prints a row for each epoch of a run, as the epochs end. On a terminal it
// leaves out the columns that do not fit.
type epochTable struct {
	g       *globalOptions
	epochs  int           // of the run
	columns []epochColumn // chosen at the first row
}

// epochColumn is a column of an epochTable.
type epochColumn struct {
	title string
	width int
	rank  int // a column is left out before those of lower rank
	text  func(rundir.EpochMetrics) string
}

// print prints the row of an epoch: with --json as in metrics.jsonl, and otherwise, unless
// --quiet is given, aligned under a heading.
func (t *epochTable) print(m rundir.EpochMetrics) {
	if t.g.json {
		// The row was marshalled for metrics.jsonl, so this cannot fail.
		if b, err := m.MarshalJSON(); err == nil {
			fmt.Fprintln(t.g.out, string(b))
		}
		return
	}
	if t.g.quiet {
		return
	}
	if t.columns == nil {
		t.columns = fittingColumns(epochColumns(t.epochs, m.ValidationExamples > 0), outputWidth(t.g.out))
		t.printCells(func(c epochColumn) string { return c.title })
	}
	t.printCells(func(c epochColumn) string { return c.text(m) })
}

func (t *epochTable) printCells(cell func(epochColumn) string) {
	cells := make([]string, len(t.columns))
	for i, c := range t.columns {
		cells[i] = fmt.Sprintf("%*s", c.width, cell(c))
	}
	fmt.Fprintln(t.g.out, strings.Join(cells, strings.Repeat(" ", columnGap)))
}

// epochColumns returns all columns for a run of the given number of epochs. validation reports
// whether the run measures a validation split, which has columns of its own.
func epochColumns(epochs int, validation bool) []epochColumn {
	loss := func(v float64) string { return fmt.Sprintf("%.4f", v) }
	columns := []epochColumn{
		{"epoch", 0, 0, func(m rundir.EpochMetrics) string { return fmt.Sprintf("%d/%d", m.Epoch, epochs) }},
		{"rate", 8, 6, func(m rundir.EpochMetrics) string { return fmt.Sprintf("%.3g", m.LearningRate) }},
		{"train loss", 0, 4, func(m rundir.EpochMetrics) string { return loss(m.TrainLoss) }},
		{"train acc", 0, 2, func(m rundir.EpochMetrics) string { return percent(m.TrainAccuracy) }},
		{"test loss", 0, 3, func(m rundir.EpochMetrics) string { return loss(m.TestLoss) }},
		{"test acc", 0, 1, func(m rundir.EpochMetrics) string { return percent(m.TestAccuracy) }},
		{"|γ|<0.01", 0, 7, func(m rundir.EpochMetrics) string {
			if math.IsNaN(m.GammaNearZero) {
				return missing
			}
			return percent(m.GammaNearZero)
		}},
		{"images/s", 0, 8, func(m rundir.EpochMetrics) string { return fmt.Sprintf("%.0f", m.ImagesPerSecond) }},
	}
	if validation {
		columns = append(columns[:6:6], append([]epochColumn{
			{"val loss", 0, 5, func(m rundir.EpochMetrics) string { return loss(m.ValidationLoss) }},
			{"val acc", 0, 2, func(m rundir.EpochMetrics) string { return percent(m.ValidationAccuracy) }},
		}, columns[6:]...)...)
	}
	columns[0].width = len(fmt.Sprintf("%d/%d", epochs, epochs))
	for i := range columns {
		c := &columns[i]
		c.width = max(c.width, len([]rune(c.title)))
	}
	return columns
}

// fittingColumns returns the columns of lowest rank that fit into a width together, and at least
// those of rank 0.
func fittingColumns(columns []epochColumn, width int) []epochColumn {
	for maxRank := len(columns); ; maxRank-- {
		var kept []epochColumn
		used := -columnGap
		for _, c := range columns {
			if c.rank <= maxRank {
				kept = append(kept, c)
				used += columnGap + c.width
			}
		}
		if used <= width || maxRank == 0 {
			return kept
		}
	}
}
