package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"bnkit/analysis"
)

// sensitivityFlags holds the flags of analyze that have to do with --sensitivity.
type sensitivityFlags struct {
	measure  bool
	shares   []float64
	pictures int
}

// sensitivityPictures is the default of --pictures. More pictures would take much longer, as
// every layer is measured several times.
const sensitivityPictures = 1000

const sensitivityHelp = `--sensitivity also measures how much accuracy depends on each layer: for every layer
and each of --shares, this share of the layer's γ is clamped to zero, smallest |γ|
first, while all other layers keep theirs, statistics are re-estimated, and accuracy is measured on the first
--pictures of the test split. Each of these measurements goes through the whole
network: ResNet-56 takes 228 of them, for 57 layers and four shares. On CIFAR-10 they
process about 6 times as many pictures as the default --thresholds.`

func (o *sensitivityFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.measure, "sensitivity", false, "measure how much accuracy depends on each layer")
	f.Float64SliceVar(&o.shares, "shares", analysis.DefaultSensitivity, "`shares` of a layer's channels that --sensitivity clamps")
	f.IntVar(&o.pictures, "pictures", sensitivityPictures, "number of test pictures on which --sensitivity measures accuracy; 0 for all")
	f.Lookup("shares").DefValue = listText(analysis.DefaultSensitivity)
	for _, flag := range []string{"shares", "pictures"} {
		completeFlag(c, flag, completeNothing)
	}
}

// check returns an error if a flag is given without --sensitivity.
func (o *sensitivityFlags) check(c *cobra.Command) error {
	for _, flag := range []string{"shares", "pictures"} {
		if c.Flags().Changed(flag) && !o.measure {
			return &usageError{c.CommandPath(), fmt.Errorf("--%s does nothing without --sensitivity", flag)}
		}
	}
	return nil
}

// set copies the flags to the options of package analysis, if --sensitivity is given.
func (o *sensitivityFlags) set(a *analysis.Options) {
	if o.measure {
		a.Sensitivity, a.SensitivityPictures = o.shares, o.pictures
	}
}

// printSensitivity prints a table with a row for each layer. Unless wide is set, it has only
// as many shares as fit into a terminal, or into defaultColumns without one.
func printSensitivity(w io.Writer, s *analysis.Sensitivity, wide bool) {
	heading, ranks := []string{"layer", "channels"}, []int{0, 1}
	for k, share := range s.Shares {
		heading, ranks = append(heading, fmt.Sprintf("%.4g%%", 100*share)), append(ranks, k+2)
	}
	rows := [][]string{heading}
	for _, l := range s.Layers {
		row := []string{l.Name, fmt.Sprint(l.Channels)}
		for _, c := range l.Clamped {
			if l.Channels == 0 {
				row = append(row, missing)
			} else {
				row = append(row, percent(c.TestAccuracy))
			}
		}
		rows = append(rows, row)
	}
	if !wide {
		rows = fitColumns(rows, ranks, tableColumns(w))
	}
	fmt.Fprintln(w)
	printTable(w, rows)
	if len(rows[0]) < len(ranks) {
		fmt.Fprintln(w, "--wide shows more columns")
	}
	low, high := s.Unclamped.Interval[0], s.Unclamped.Interval[1]
	printProse(w, "test accuracy after clamping the γ of this share of one layer's channels to zero, smallest |γ| first, β kept; %s without clamping (%d pictures of the %s split, %s statistics; 95%% intervals are about ±%.1f points)",
		percent(s.Unclamped.TestAccuracy), s.Over.Examples, s.Over.Split, s.Over.Statistics, 50*(high-low))
}
