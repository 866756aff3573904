package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/analysis"
	"bnkit/checkpoint/durable"
	"bnkit/engine"
	"bnkit/engine/rundir"
	"bnkit/plots"
)

// analyzeOptions holds the flags of the analyze command.
type analyzeOptions struct {
	modelFlags
	nearZero, thresholds []float64
	batches              int
	out                  string
	wide                 bool
	sensitivity          sensitivityFlags
}

func newAnalyzeCommand(g *globalOptions) *cobra.Command {
	var o analyzeOptions
	c := &cobra.Command{
		Use:   "analyze [RUN]",
		Short: "Measure γ, β, sparsity, gradients and accuracy of a checkpoint",
		Long: `Measure each layer of a checkpoint and the whole network, and draw pictures:

  γ and β              quantiles, histograms, share of |γ| below --near-zero
  activation sparsity  share of ReLU outputs that are zero over the test split;
                       channels that are zero for more than 99% of their outputs
                       (off), and channels that are never zero (on). A unit that
                       ends a residual block has its ReLU after the sum; a
                       shortcut has no ReLU.
  gradients            mean |gradient| of γ, β and convolution weights, frozen
                       ones too, over --batches batches of 128 pictures of the
                       unaugmented training split, with batch statistics
  accuracy             on the test split, with all |γ| below each of --thresholds
                       clamped to zero, β kept and statistics re-estimated

` + sensitivityHelp + `

` + intervalHelp + ` The
pictures and analysis.json go to --out; bnkit plot can draw the pictures again.

` + argumentHelp + `

` + foreignHelp + foreignOutputHelp + `

` + unknownHelp + `

--json prints the report that is also written to analysis.json: arch, trainable,
data, classes, source_sha256 (of the checkpoint); near_zero_thresholds; gamma_edges and beta_edges (the bins of all histograms);
layers (name, convolution, shortcut, channels, height, width, gamma and beta with quantiles at 0, 5, 25, 50,
75, 95 and 100% and histogram, near_zero, beta_near_zero and both_near_zero (shares of channels with |γ|, |β| or both near zero), pruned (the pruned channels), relu,
sparsity, gradient); total (the same over all layers; pruned is a number here);
reestimated_over, sparsity_over, gradients_over and accuracy_over (split, examples,
batches, statistics, augmented); sweep (threshold, clamped, share, test_accuracy, test_loss,
test_accuracy_interval); stored_statistics (test_accuracy, test_loss and
test_accuracy_interval with the statistics of the file);
sensitivity (shares, over (as accuracy_over), unclamped (as stored_statistics), layers (name, channels,
clamped (for each share: channels, the number of them, test_accuracy, test_loss,
test_accuracy_interval))); unmeasured (why nothing else was measured). Values that do not exist or are not finite are left out.`,
		Example: `  bnkit analyze
  bnkit analyze runs/first/ckpt.bnz --near-zero 0.001,0.01 --out plots
  bnkit analyze --sensitivity --pictures 500
  bnkit analyze ckpt.bnz --json > report.json
  bnkit analyze resnet56.th --data cifar10 --normalise-mean imagenet`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeRun,
		RunE: func(c *cobra.Command, args []string) error { return runAnalyze(c, g, o, args) },
	}
	o.add(c)
	o.sensitivity.add(c)
	f := c.Flags()
	f.Float64SliceVar(&o.nearZero, "near-zero", analysis.DefaultNearZero, "count |γ| below these `numbers`")
	f.Float64SliceVar(&o.thresholds, "thresholds", analysis.DefaultThresholds, "measure accuracy with all |γ| below each of these `numbers` clamped to zero")
	f.IntVar(&o.batches, "batches", analysis.DefaultGradientBatches, "number of batches to average gradients over")
	f.StringVar(&o.out, "out", "", "folder for pictures and analysis.json (default: plots beside the checkpoint)")
	f.BoolVar(&o.wide, "wide", false, "show all columns, even if they do not fit into the terminal")
	f.Lookup("near-zero").DefValue = listText(analysis.DefaultNearZero)
	f.Lookup("thresholds").DefValue = listText(analysis.DefaultThresholds)
	for _, flag := range []string{"near-zero", "thresholds", "batches"} {
		completeFlag(c, flag, completeNothing)
	}
	completeFlag(c, "out", completeFolders)
	return c
}

func runAnalyze(c *cobra.Command, g *globalOptions, o analyzeOptions, args []string) error {
	path, err := g.checkpointArg(args)
	if err != nil {
		return err
	}
	if o.batches < 1 {
		return &usageError{c.CommandPath(), fmt.Errorf("--batches: %d; use at least 1", o.batches)}
	}
	if err := o.sensitivity.check(c); err != nil {
		return err
	}
	if o.out == "" {
		o.out = plotsDir(path)
	}
	model, data, err := o.open(c.Context(), g, path)
	var unknown *engine.UnknownNetworkError
	if errors.As(err, &unknown) {
		return analyzeUnknown(c, g, &o, unknown)
	}
	if err != nil {
		return err
	}
	line := g.newProgress()
	options := analysis.Options{
		Threads: o.threads, NearZero: o.nearZero, Thresholds: o.thresholds, GradientBatches: o.batches,
		Progress: func(task string, done, total int) { line.update("measuring %s: %d of %d", task, done, total) },
	}
	o.sensitivity.set(&options)
	report, err := analysis.Run(c.Context(), model, data, options)
	line.clear()
	var option *analysis.OptionError
	if errors.As(err, &option) {
		return &usageError{c.CommandPath(), err}
	}
	if err != nil {
		return err
	}
	pictures, err := saveReport(o.out, path, report)
	if err != nil {
		return err
	}
	if err := g.print(report, func(w io.Writer) { printReport(w, report, o.wide) }); err != nil {
		return err
	}
	g.note("%d pictures and %s in %s", len(pictures), rundir.ReportFile, o.out)
	g.note("next, try: bnkit prune %s --threshold 0.01", shellQuote(path))
	return nil
}

// listText formats a list of numbers for the help.
func listText(values []float64) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(values), "[]"), " ", ", ")
}

// plotsDir returns the folder for a checkpoint's pictures: the folder plots of the run
// directory or, for a file that is not called ckpt.bnz, a folder named after the file.
func plotsDir(ckpt string) string {
	if dir, base := filepath.Split(ckpt); base == rundir.CheckpointFile {
		return filepath.Join(dir, rundir.PlotsDir)
	}
	return outputName(ckpt) + "-plots"
}

// readEpochs reads the metrics of the run that a checkpoint belongs to. It returns none for a
// file that is not called ckpt.bnz, and for a run without metrics.
func readEpochs(ckpt string) ([]rundir.EpochMetrics, error) {
	if filepath.Base(ckpt) != rundir.CheckpointFile {
		return nil, nil
	}
	epochs, err := rundir.ReadMetrics(rundir.File(filepath.Dir(ckpt), rundir.MetricsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return epochs, err
}

// saveReport writes a report and its pictures to dir, and returns the paths of the pictures.
func saveReport(dir, ckpt string, report *analysis.Report) ([]string, error) {
	if err := durable.MkdirAll(dir); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(filepath.Join(dir, rundir.ReportFile), append(b, '\n')); err != nil {
		return nil, err
	}
	epochs, err := readEpochs(ckpt)
	if err != nil {
		return nil, err
	}
	return plots.Draw(dir, []plots.Run{{Name: runName(ckpt), Report: report, Epochs: epochs}}, plots.PNG)
}

// runName returns the name that pictures show for a checkpoint: the name of its run directory
// or, for a file that is not called ckpt.bnz, the name of the file.
func runName(ckpt string) string {
	if dir := filepath.Base(filepath.Dir(ckpt)); filepath.Base(ckpt) == rundir.CheckpointFile && dir != "." && dir != string(filepath.Separator) {
		return dir
	}
	return filepath.Base(ckpt)
}

// printReport prints a report as tables. Unless wide is set, the table of layers has only
// as many columns as fit into a terminal, or into defaultColumns without one.
func printReport(w io.Writer, r *analysis.Report, wide bool) {
	rows, ranks := layerTable(r)
	if !wide {
		rows = fitColumns(rows, ranks, tableColumns(w))
	}
	printTable(w, rows)
	if len(rows[0]) < len(ranks) {
		fmt.Fprintln(w, "--wide shows more columns")
	}
	prose := func(format string, args ...any) { printProse(w, format, args...) }
	if r.Total.Pruned > 0 {
		prose("%d of %d channels are pruned and not counted above, %s", r.Total.Pruned, r.Total.Channels, prunedLayers(r))
	}
	prose("zeros: share of ReLU outputs that are zero; off: channels that are zero for more than 99%% of outputs; on: channels that are never zero (%d pictures of the %s split, %s statistics)",
		r.Sparsity.Examples, r.Sparsity.Split, r.Sparsity.Statistics)
	prose("grad: mean |gradient| over %d batches, %d pictures of the %s split, %s statistics",
		r.Gradients.Batches, r.Gradients.Examples, r.Gradients.Split, r.Gradients.Statistics)
	fmt.Fprintln(w)

	rows = [][]string{{"clamped below", "γ clamped", "share", "test accuracy", "test loss"}}
	for _, s := range r.Sweep {
		threshold := "nothing"
		if s.Threshold > 0 {
			threshold = fmt.Sprint(s.Threshold)
		}
		rows = append(rows, []string{threshold, fmt.Sprint(s.Clamped), percent(s.Share), accuracyText(s.TestAccuracy, s.Interval), lossText(s.TestLoss)})
	}
	printFitting(w, rows, []int{0, 3, 2, 1, 4})
	prose("%d pictures of the %s split, %s statistics, β kept; the numbers in parentheses are 95%% confidence intervals", r.Accuracy.Examples, r.Accuracy.Split, r.Accuracy.Statistics)
	if r.Stored != nil {
		prose("with the stored statistics: test accuracy %s, test loss %s", accuracyText(r.Stored.TestAccuracy, r.Stored.Interval), lossText(r.Stored.TestLoss))
	}
	if r.Sensitivity != nil {
		printSensitivity(w, r.Sensitivity, wide)
	}
}

// layerTable returns the table of layers, and the rank of each column for fitColumns.
func layerTable(r *analysis.Report) (rows [][]string, ranks []int) {
	heading := []string{"layer", "channels", "γ median", "β median"}
	ranks = []int{0, 1, 2, 8}
	// Of the shares, the one below 0.01 is kept longest, because other commands also use this
	// threshold. If it was not measured, the first share is kept longest.
	keptLongest := max(0, slices.Index(r.NearZero, 0.01))
	nextRank := 9
	for i, z := range r.NearZero {
		heading = append(heading, fmt.Sprintf("|γ|<%g", z))
		if i == keptLongest {
			ranks = append(ranks, 3)
			continue
		}
		ranks = append(ranks, nextRank)
		nextRank++
	}
	heading = append(heading, "zeros", "off", "on", "grad γ", "grad β", "grad conv")
	ranks = append(ranks, 4, 5, 6, 7, nextRank, nextRank+1)
	rows = append(rows, heading)
	for i := range r.Layers {
		l := &r.Layers[i]
		rows = append(rows, layerRow(l.Name, l.Channels-len(l.Pruned), len(r.NearZero), &l.Gamma, &l.Beta, l.NearZero, l.Sparsity, l.Gradient))
	}
	return append(rows, layerRow("all", r.Total.Channels-r.Total.Pruned, len(r.NearZero), &r.Total.Gamma, &r.Total.Beta, r.Total.NearZero, r.Total.Sparsity, r.Total.Gradient)), ranks
}

// layerRow returns a row of the table of layers.
func layerRow(name string, channels, thresholds int, gamma, beta *analysis.Distribution, nearZero []float64, s *analysis.Sparsity, grad *analysis.Magnitude) []string {
	row := []string{name, fmt.Sprint(channels), medianText(gamma), medianText(beta)}
	for i := range thresholds {
		if nearZero == nil { // all channels are pruned
			row = append(row, missing)
		} else {
			row = append(row, percent(nearZero[i]))
		}
	}
	if s == nil {
		row = append(row, missing, missing, missing)
	} else {
		row = append(row, percent(s.Zero), fmt.Sprint(s.MostlyOff), fmt.Sprint(s.AlwaysOn))
	}
	if grad == nil {
		return append(row, missing, missing, missing)
	}
	for _, g := range []float64{grad.Gamma, grad.Beta, grad.Convolution} {
		row = append(row, fmt.Sprintf("%.2e", g))
	}
	return row
}

// medianText formats the median, or "–" if there are no values.
func medianText(d *analysis.Distribution) string {
	if len(d.Quantiles) == 0 {
		return missing
	}
	return fmt.Sprintf("%.3f", d.Quantiles[len(analysis.Levels)/2])
}

// prunedLayers lists the layers that have pruned channels, with the number of these channels.
func prunedLayers(r *analysis.Report) string {
	var layers []string
	for _, l := range r.Layers {
		if len(l.Pruned) > 0 {
			layers = append(layers, fmt.Sprintf("%s %d", l.Name, len(l.Pruned)))
		}
	}
	return "by layer: " + strings.Join(layers, ", ")
}

// lossText formats a loss, or returns "–" if it is missing.
func lossText(v *float64) string {
	if v == nil {
		return missing
	}
	return fmt.Sprintf("%.4f", *v)
}
