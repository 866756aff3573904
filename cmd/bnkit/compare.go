package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bnkit/analysis"
	"bnkit/checkpoint"
	"bnkit/checkpoint/durable"
	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/rundir"
	"bnkit/plots"
)

// compareOptions holds the flags of the compare command.
type compareOptions struct{ out, format string }

// comparisonFolder is the default folder for pictures of several runs. Its name differs from
// that of package plots, so that a command in a clone does not write into the source.
const comparisonFolder = "comparison"

func newCompareCommand(g *globalOptions) *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare RUN...",
		Short: "Compare runs: results, cost, curves",
		Long: `Compare runs in a table: network, trainable set, parameters trained, epochs,
every setting in which the runs differ, test accuracy, generalisation gap, γ near
zero, time, speed and checkpoint size. Nothing is measured again: the numbers come
from the last epoch of each run. "–" stands for a value that a run does not have yet. A run
is named by its directory or its ckpt.bnz. Another .bnz file, or a file of another
program, is shown with what it contains, which does not include accuracies and times.
Other files and folders are skipped.
The table has a row or a column for each run, whichever is narrower.

Pictures go to --out: training (the curves of all runs), accuracy_time (accuracy
against time), gradient_epochs if gradients were tracked, and, if networks differ
in depth or width, depth_width (accuracy against the number of BatchNorm
parameters, with lines that join runs that differ only in depth or only in width).

--json prints runs (dir, config, epochs done; model: data, family, depth, width,
parameters, bn_parameters, trained, file_bytes; result: test_accuracy,
test_loss, test_examples, test_statistics, train_accuracy, generalisation_gap,
gamma_near_zero, seconds, images_per_second), files (file, arch, data, parameters,
trainable, trained, pruned (channels held constant), epochs (of each training and recovery),
config, gamma_near_zero, file_bytes) and pictures (their paths).
Values that do not exist are left out.`,
		Example: `  bnkit compare runs/*
  bnkit compare runs/resnet-14 runs/resnet-32 runs/wrn-14-2 --out deep-or-wide
  bnkit compare runs/* --json | jq '.runs[] | [.dir, .result.test_accuracy]'`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: completeRuns,
		RunE: func(c *cobra.Command, args []string) error { return runCompare(c, g, o, args) },
	}
	c.Flags().StringVar(&o.out, "out", comparisonFolder, "folder for the pictures")
	formatFlag(c, &o.format)
	completeFlag(c, "out", completeFolders)
	return c
}

// comparison holds the output of compare --json.
type comparison struct {
	Runs     []*analysis.Summary `json:"runs"`
	Files    []*fileSummary      `json:"files,omitempty"` // files that do not belong to a run
	Pictures []string            `json:"pictures"`
}

func runCompare(c *cobra.Command, g *globalOptions, o compareOptions, args []string) error {
	format, err := plots.ParseFormat(o.format)
	if err != nil {
		return &usageError{c.CommandPath(), err}
	}
	r := comparison{Runs: []*analysis.Summary{}, Pictures: []string{}}
	var dirs []string
	var epochs [][]rundir.EpochMetrics
	var skipped []error
	for _, arg := range args {
		if _, err := os.Stat(arg); err != nil {
			return fmt.Errorf("%w; name a run directory or a file", err)
		}
		dir := runDir(arg)
		summary, rows, err := analysis.Summarise(dir)
		var notRun *analysis.NoRunError
		if errors.As(err, &notRun) {
			file, fileErr := summariseFile(c.Context(), g, arg)
			switch {
			case fileErr != nil:
				return fileErr
			case file != nil:
				r.Files = append(r.Files, file)
			default:
				skipped = append(skipped, err)
			}
			continue
		}
		if err == nil && summary.Model != nil {
			err = countTrained(c.Context(), g, dir, summary)
		}
		if err != nil {
			return err
		}
		dirs, epochs, r.Runs = append(dirs, dir), append(epochs, rows), append(r.Runs, summary)
	}
	if len(dirs)+len(r.Files) == 0 {
		return skipped[0]
	}
	for _, err := range skipped {
		g.note("skipped: %v", err)
	}
	names := runNames(dirs)
	var runs []plots.Run
	for i, summary := range r.Runs {
		runs = append(runs, plots.Run{Name: names[i], Epochs: epochs[i], Summary: summary})
	}
	if len(runs) > 0 {
		if err := durable.MkdirAll(o.out); err != nil {
			return err
		}
		pictures, err := plots.Draw(o.out, runs, format)
		if err != nil {
			return err
		}
		r.Pictures = append(r.Pictures, pictures...)
	}
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

// countTrained corrects the number of trained parameters of a run that started from a pruned
// network: those of pruned channels were not trained.
func countTrained(ctx context.Context, g *globalOptions, dir string, s *analysis.Summary) error {
	path := rundir.File(dir, rundir.CheckpointFile)
	info, err := checkpoint.ReadInfo(path)
	if err != nil || len(info.Header.Pruned) == 0 {
		return err
	}
	m, err := engine.LoadModelContext(ctx, path, int64(g.maxMemory))
	if err != nil {
		return err
	}
	set, seed := arch.TrainableSet(s.Config.Trainable), s.Config.Seed
	if m.Origin != nil {
		set, seed = m.Origin.Trainable, m.Origin.Seed
	}
	s.Model.Trained, err = parametersOf(m, set, seed)
	return err
}

// printComparison prints the table of runs, with a row or a column for each run, whichever
// is narrower. If that does not fit into the terminal, it prints a column for each run, in up to
// maxBlocks blocks that fit. If more were needed, it prints a row for each run, without the columns
// that do not fit.
func printComparison(w io.Writer, names []string, r comparison) {
	rows := comparisonTable(names, &r)
	columns, width := transpose(rows), outputWidth(w)
	blocks := columnBlocks(columns, width)
	switch {
	case tableWidth(rows) <= min(width, tableWidth(columns)):
		printTable(w, rows)
	case len(blocks) <= maxBlocks:
		for i, block := range blocks {
			if i > 0 {
				fmt.Fprintln(w)
			}
			printTable(w, block)
		}
	default:
		fit := fitColumns(rows, comparisonRanks(rows[0]), width)
		printTable(w, fit)
		if len(fit[0]) < len(rows[0]) {
			printProse(w, "a wider terminal shows more columns")
		}
	}

	prose := func(format string, args ...any) { printProse(w, format, args...) }
	var scopes []string
	runsByScope := map[string][]string{}
	for i, s := range r.Runs {
		if e := s.Result; e != nil {
			scope := fmt.Sprintf("%d pictures of the test split of %s, %s statistics", e.TestExamples, dataName(s), e.TestStatistics)
			if runsByScope[scope] == nil {
				scopes = append(scopes, scope)
			}
			runsByScope[scope] = append(runsByScope[scope], names[i])
		}
	}
	for _, scope := range scopes {
		runs := ""
		if len(scopes) > 1 {
			runs = " of " + strings.Join(runsByScope[scope], ", ")
		}
		prose("test accuracy%s: after the last epoch, %s", runs, scope)
	}
	parameters := "parameters: the number of trained parameters, without those of pruned channels"
	if len(r.Runs) == 0 {
		prose("%s. %s: not in the file", parameters, missing)
		return
	}
	prose("%s. gap: training accuracy (over the last epoch's augmented batches) minus test accuracy, in points", parameters)
	if slices.ContainsFunc(rows, func(row []string) bool { return slices.Contains(row, missing) }) {
		prose("%s: a value that the run does not have yet, or that the file does not contain", missing)
	}
	if slices.ContainsFunc(r.Files, func(f *fileSummary) bool { return len(f.Epochs) > 1 }) {
		prose("epochs of a file: those of each training and of each recovery after pruning, joined by +")
	}
	prose("time: training and testing. images/s: speed of the training steps over all epochs in metrics.jsonl")
	for _, p := range r.Pictures {
		fmt.Fprintln(w, p)
	}
}

// maxBlocks is the largest number of blocks in which printComparison prints a table.
const maxBlocks = 3

// comparisonRanks returns the rank of each column for fitColumns. Settings come after the run, its
// test accuracy, network and trainable set, and before all other columns.
func comparisonRanks(heading []string) []int {
	before := []string{"run", "test accuracy", "network", "trained"}
	after := []string{"|γ|<0.01", "gap", "parameters", "epochs", "time", "checkpoint", "images/s"}
	ranks, next := make([]int, len(heading)), len(before)
	for i, column := range heading {
		switch b, a := slices.Index(before, column), slices.Index(after, column); {
		case b >= 0:
			ranks[i] = b
		case a >= 0:
			ranks[i] = len(heading) - len(after) + a
		default:
			ranks[i] = next
			next++
		}
	}
	return ranks
}

// comparisonTable returns the table of runs and files with a row for each.
func comparisonTable(names []string, r *comparison) [][]string {
	settings := differences(r)
	heading := []string{"run", "network", "trained", "parameters", "epochs"}
	for _, s := range settings {
		heading = append(heading, s.Name)
	}
	rows := [][]string{append(heading, "test accuracy", "gap", "|γ|<0.01", "time", "images/s", "checkpoint")}
	for i, s := range r.Runs {
		epochs := fmt.Sprint(s.Epochs)
		if s.Epochs < s.Config.Epochs {
			epochs = fmt.Sprintf("%d of %d", s.Epochs, s.Config.Epochs)
		}
		parameters, size, accuracy, gap, nearZero, duration, speed := missing, missing, missing, missing, missing, missing, missing
		if m := s.Model; m != nil {
			parameters, size = fmt.Sprint(m.Trained), bytesText(m.FileBytes)
		}
		if e := s.Result; e != nil {
			accuracy, gap = percent(e.TestAccuracy), fmt.Sprintf("%+.2f", 100*e.GeneralisationGap)
			if e.GammaNearZero != nil {
				nearZero = percent(*e.GammaNearZero)
			}
			if e.Seconds != nil {
				duration = durationText(time.Duration(*e.Seconds * float64(time.Second)))
			}
			if e.ImagesPerSecond != nil {
				speed = fmt.Sprintf("%.0f", *e.ImagesPerSecond)
			}
		}
		row := []string{names[i], s.Config.Arch, s.Config.Trainable, parameters, epochs}
		for _, setting := range settings {
			row = append(row, setting.Values[i])
		}
		row = append(row, accuracy, gap, nearZero, duration, speed, size)
		for i := range row {
			row[i] = printable(row[i])
		}
		rows = append(rows, row)
	}
	next := len(r.Runs) // index in setting.Values of the next file with settings
	for _, file := range r.Files {
		var values map[string]string
		if file.Config != nil {
			values = map[string]string{}
			for _, setting := range settings {
				values[setting.Name] = setting.Values[next]
			}
			next++
		}
		rows = append(rows, file.cells(rows[0], values))
	}
	return rows
}

// dataName returns the name of a run's data set.
func dataName(s *analysis.Summary) string {
	if s.Model != nil {
		return s.Model.Data
	}
	return s.Config.Data
}

// differences returns the settings in which at least two runs or files with settings differ, except
// those that the table always shows. The values are those of the runs and then of the files.
func differences(r *comparison) []analysis.Setting {
	all := slices.Clone(r.Runs)
	for _, file := range r.Files {
		if file.Config != nil {
			all = append(all, &analysis.Summary{Config: *file.Config})
		}
	}
	settings := slices.DeleteFunc(analysis.Differences(all), func(s analysis.Setting) bool {
		return slices.Contains([]string{"arch", "trainable", "epochs"}, s.Name)
	})
	for _, s := range settings {
		for i, value := range s.Values {
			switch {
			case value == "":
				s.Values[i] = "not set"
			case s.Name == "start":
				s.Values[i] = shortDigest(value)
			}
		}
	}
	return settings
}

// shortDigest shortens the SHA-256 at the end of a text.
func shortDigest(text string) string {
	const shown = 12
	if start := strings.LastIndex(text, " ") + 1; len(text)-start == 64 {
		return text[:start+shown] + "…"
	}
	return text
}
