package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"bnkit/analysis"
	"bnkit/engine/config"
	"bnkit/plots"
)

// compareOptions are the compare command's flags.
type compareOptions struct{ out string }

func newCompareCommand(g *globalOptions) *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare RUN_DIR...",
		Short: "Compare runs: results, cost, curves",
		Long: `Compare runs in a table: network, trainable set, parameters trained, epochs,
every setting in which the runs differ, test accuracy, generalisation gap, γ near
zero, time, speed and checkpoint size. Nothing is measured again: the numbers come
from the last epoch of each run. A cell is blank if the run has no value yet.

Pictures go to --out: training.png (the curves of all runs), gradient_epochs.png
if gradients were tracked, and, if networks differ in depth or width,
depth_width.png (accuracy against the number of BatchNorm parameters).

--json prints runs (dir, config, epochs done; model: data, depth, width,
parameters, bn_parameters, trained, file_bytes; result: test_accuracy,
test_loss, test_examples, test_statistics, train_accuracy, generalisation_gap,
gamma_near_zero, seconds, images_per_second) and pictures (their paths).
Values that do not exist are left out.`,
		Example: `  bnkit compare runs/*
  bnkit compare runs/resnet-14 runs/resnet-32 runs/wrn-14-2 --out deep-or-wide
  bnkit compare runs/* --json | jq '.runs[] | [.dir, .result.test_accuracy]'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runCompare(g, o, args) },
	}
	c.Flags().StringVar(&o.out, "out", "plots", "folder for the pictures")
	return c
}

// comparison is what compare --json prints.
type comparison struct {
	Runs     []*analysis.Summary `json:"runs"`
	Pictures []string            `json:"pictures"`
}

func runCompare(g *globalOptions, o compareOptions, args []string) error {
	r := comparison{Pictures: []string{}}
	names := runNames(args)
	var runs []plots.Run
	for i, dir := range args {
		summary, epochs, err := analysis.Summarise(dir)
		if err != nil {
			return err
		}
		r.Runs = append(r.Runs, summary)
		runs = append(runs, plots.Run{Name: names[i], Epochs: epochs, Summary: summary})
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	pictures, err := plots.Draw(o.out, runs)
	if err != nil {
		return err
	}
	r.Pictures = append(r.Pictures, pictures...)
	return g.print(r, func(w io.Writer) { printComparison(w, names, r) })
}

// runNames returns the names of the directories, or their paths if two have the same
// name.
func runNames(dirs []string) []string {
	names := make([]string, len(dirs))
	for i, dir := range dirs {
		names[i] = filepath.Base(dir)
		if abs, err := filepath.Abs(dir); err == nil {
			names[i] = filepath.Base(abs) // works for "." too
		}
	}
	if unique := slices.Compact(slices.Sorted(slices.Values(names))); len(unique) < len(names) {
		for i, dir := range dirs {
			names[i] = filepath.Clean(dir)
		}
	}
	return names
}

func printComparison(w io.Writer, names []string, r comparison) {
	settings := differences(r.Runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "run\tnetwork\ttrained\tparameters\tepochs\t")
	for _, s := range settings {
		fmt.Fprintf(t, "%s\t", s.name)
	}
	fmt.Fprintln(t, "test accuracy\tgap\t|γ|<0.01\ttime\timages/s\tcheckpoint\t")
	for i, s := range r.Runs {
		epochs := fmt.Sprint(s.Epochs)
		if s.Epochs < s.Config.Epochs {
			epochs = fmt.Sprintf("%d of %d", s.Epochs, s.Config.Epochs)
		}
		var parameters, size, accuracy, gap, small, spent, speed string
		if m := s.Model; m != nil {
			parameters, size = fmt.Sprint(m.Trained), bytesText(m.FileBytes)
		}
		if e := s.Result; e != nil {
			accuracy, gap = share(e.TestAccuracy), fmt.Sprintf("%+.2f", 100*e.GeneralisationGap)
			if e.GammaNearZero != nil {
				small = share(*e.GammaNearZero)
			}
			if e.Seconds != nil {
				spent = left(time.Duration(*e.Seconds * float64(time.Second)))
			}
			if e.ImagesPerSecond != nil {
				speed = fmt.Sprintf("%.0f", *e.ImagesPerSecond)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t", names[i], s.Config.Arch, s.Config.Trainable, parameters, epochs)
		for _, setting := range settings {
			fmt.Fprintf(t, "%s\t", setting.values[i])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", accuracy, gap, small, spent, speed, size)
	}
	t.Flush()

	var scopes []string
	of := map[string][]string{} // runs by scope
	for i, s := range r.Runs {
		if e := s.Result; e != nil {
			scope := fmt.Sprintf("%d pictures of the test split of %s, %s statistics", e.TestExamples, dataName(s), e.TestStatistics)
			if of[scope] == nil {
				scopes = append(scopes, scope)
			}
			of[scope] = append(of[scope], names[i])
		}
	}
	for _, scope := range scopes {
		where := ""
		if len(scopes) > 1 {
			where = " of " + strings.Join(of[scope], ", ")
		}
		fmt.Fprintf(w, "test accuracy%s: after the last epoch, %s\n", where, scope)
	}
	fmt.Fprintln(w, "parameters: the number of trained parameters. gap: training accuracy (over the last epoch's augmented batches) minus test accuracy, in points")
	fmt.Fprintln(w, "time: training and testing. images/s: speed of the training steps over all epochs in metrics.jsonl")
	for _, p := range r.Pictures {
		fmt.Fprintln(w, p)
	}
}

// dataName returns the name of a run's data set.
func dataName(s *analysis.Summary) string {
	if s.Model != nil {
		return s.Model.Data
	}
	return s.Config.Data
}

// setting is a setting's value in each run.
type setting struct {
	name   string
	values []string
}

// differences returns the settings in which at least two runs differ, except those
// that the table always shows.
func differences(runs []*analysis.Summary) []setting {
	var all []setting
	for _, s := range config.Settings {
		of := setting{name: s.Key}
		for _, r := range runs {
			of.values = append(of.values, s.Text(&r.Config))
		}
		all = append(all, of)
	}
	return slices.DeleteFunc(all, func(s setting) bool {
		shown := slices.Contains([]string{"arch", "trainable", "epochs"}, s.name)
		return shown || len(slices.Compact(slices.Clone(s.values))) == 1
	})
}
