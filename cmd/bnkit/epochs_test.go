package main

import (
	"math"
	"slices"
	"testing"

	"bnkit/engine/rundir"
)

// TestEpochColumns checks which columns are shown on terminals of several widths, that they fit, and that a missing share of γ is not shown as a number.
func TestEpochColumns(t *testing.T) {
	for _, c := range []struct {
		validation bool
		width      int
		want       []string
	}{
		{false, math.MaxInt, []string{"epoch", "rate", "train loss", "train acc", "test loss", "test acc", "|γ|<0.01", "images/s"}},
		{false, 80, []string{"epoch", "rate", "train loss", "train acc", "test loss", "test acc", "|γ|<0.01", "images/s"}},
		{false, 60, []string{"epoch", "rate", "train loss", "train acc", "test loss", "test acc"}},
		{true, 80, []string{"epoch", "rate", "train loss", "train acc", "test loss", "test acc", "val loss", "val acc"}},
		{true, 40, []string{"epoch", "train acc", "test acc", "val acc"}},
		{false, 1, []string{"epoch"}},
	} {
		columns := fittingColumns(epochColumns(15, c.validation), c.width)
		var titles []string
		width := -columnGap
		for _, column := range columns {
			titles = append(titles, column.title)
			width += columnGap + column.width
		}
		if !slices.Equal(titles, c.want) || len(titles) > 1 && width > c.width {
			t.Errorf("validation %v, width %d: got columns %q of width %d, want %q", c.validation, c.width, titles, width, c.want)
		}
	}
	all := epochColumns(15, false)
	if got := all[6].text(rundir.EpochMetrics{GammaNearZero: math.NaN()}); got != "–" {
		t.Errorf("a network without γ: got a share of %q, want –", got)
	}
}
