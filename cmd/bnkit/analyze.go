package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bnkit/analysis"
	"bnkit/checkpoint/durable"
	"bnkit/engine/rundir"
	"bnkit/plots"
)

// analyzeOptions are the analyze command's flags.
type analyzeOptions struct {
	modelFlags
	nearZero, thresholds []float64
	batches              int
	out                  string
}

func newAnalyzeCommand(g *globalOptions) *cobra.Command {
	var o analyzeOptions
	c := &cobra.Command{
		Use:   "analyze [CKPT.bnz]",
		Short: "Measure what a checkpoint's γ and β do",
		Long: `Measure a checkpoint, per layer and in total, and draw it:

  γ and β             quantiles, histograms, share of |γ| below --near-zero
  activation sparsity share of ReLU outputs that are zero over the test split;
                      channels zero for more than 99% of their outputs (off)
                      and never zero (on). A unit that ends a residual block
                      has its ReLU after the sum; a shortcut has no ReLU.
  gradients           mean |gradient| of γ, β and convolution weights, including
                      frozen ones, over --batches batches of 128 from the
                      unaugmented training split, with batch statistics
  accuracy            on the test split, with every γ below each of --thresholds
                      clamped to zero, β kept and statistics re-estimated

` + withoutFile + ` The pictures and analysis.json go to
--out; bnkit plot can draw the pictures again.

--json prints the report that is written to analysis.json: arch, trainable, data;
near_zero_thresholds, gamma_edges and beta_edges (bins of all histograms);
layers (name, convolution, channels, gamma and beta with quantiles at 0, 5, 25,
50, 75, 95 and 100% and histogram, near_zero, pruned (the channels that were), relu,
sparsity, gradient); total, the same over all layers (pruned is their number); reestimated_over, sparsity_over, gradients_over,
accuracy_over (split, examples, batches, statistics); sweep (threshold, clamped,
share, test_accuracy, test_loss); stored_statistics. Values that do not exist or are
not finite are left out.`,
		Example: `  bnkit analyze
  bnkit analyze runs/first/ckpt.bnz --near-zero 0.001,0.01 --out plots
  bnkit analyze ckpt.bnz --json > report.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runAnalyze(c, g, o, args) },
	}
	o.add(c)
	f := c.Flags()
	f.Float64SliceVar(&o.nearZero, "near-zero", analysis.DefaultNearZero, "count |γ| below these")
	f.Float64SliceVar(&o.thresholds, "thresholds", analysis.DefaultThresholds, "measure accuracy with every |γ| below each of these clamped")
	f.IntVar(&o.batches, "batches", analysis.DefaultGradientBatches, "number of batches over which gradients are averaged")
	f.StringVar(&o.out, "out", "", "folder for pictures and analysis.json (default: plots beside the checkpoint)")
	return c
}

func runAnalyze(c *cobra.Command, g *globalOptions, o analyzeOptions, args []string) error {
	path, err := g.checkpointArg(args)
	if err != nil {
		return err
	}
	if o.batches < 1 {
		return &usageError{c.CommandPath(), fmt.Errorf("gradients over %d batches; at least 1 is needed", o.batches)}
	}
	model, data, err := o.open(c.Context(), g, path)
	if err != nil {
		return err
	}
	if o.out == "" {
		o.out = plotsOf(path)
	}
	line := g.newProgress()
	report, err := analysis.Run(c.Context(), model, data, analysis.Options{
		Threads: o.threads, NearZero: o.nearZero, Thresholds: o.thresholds, GradientBatches: o.batches,
		Progress: func(what string, done, total int) { line.update("measuring %s: %d of %d", what, done, total) },
	})
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
	if err := g.print(report, func(w io.Writer) { printReport(w, report) }); err != nil {
		return err
	}
	g.note("%d pictures and %s in %s", len(pictures), rundir.ReportFile, o.out)
	g.note("next, try: bnkit prune %s --threshold 0.01", shellQuote(path))
	return nil
}

// plotsOf returns the folder for a checkpoint's pictures: the run directory's plots
// or, for a file that is not called ckpt.bnz, a folder named after it.
func plotsOf(ckpt string) string {
	dir, base := filepath.Split(ckpt)
	if base == rundir.CheckpointFile {
		return filepath.Join(dir, rundir.PlotsDir)
	}
	return filepath.Join(dir, strings.TrimSuffix(base, filepath.Ext(base))+"-plots")
}

// readEpochs reads the metrics of the run that a checkpoint belongs to. It returns
// none for a file that is not called ckpt.bnz.
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

// saveReport writes a report and its pictures.
func saveReport(dir, ckpt string, report *analysis.Report) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
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
	return plots.Draw(dir, []plots.Run{{Name: runName(ckpt), Report: report, Epochs: epochs}})
}

// runName returns the name of a checkpoint in pictures: its run directory's name.
func runName(ckpt string) string {
	if dir := filepath.Base(filepath.Dir(ckpt)); filepath.Base(ckpt) == rundir.CheckpointFile && dir != "." && dir != string(filepath.Separator) {
		return dir
	}
	return filepath.Base(ckpt)
}

func printReport(w io.Writer, r *analysis.Report) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "layer\tchannels\tγ median\tβ median\t")
	for _, z := range r.NearZero {
		fmt.Fprintf(t, "|γ|<%g\t", z)
	}
	fmt.Fprintln(t, "zeros\toff\ton\tgrad γ\tgrad β\tgrad conv\t")
	for i := range r.Layers {
		l := &r.Layers[i]
		printRow(t, l.Name, l.Channels, &l.Gamma, &l.Beta, l.NearZero, l.Sparsity, l.Gradient)
	}
	printRow(t, "all", r.Total.Channels, &r.Total.Gamma, &r.Total.Beta, r.Total.NearZero, r.Total.Sparsity, r.Total.Gradient)
	t.Flush()
	if r.Total.Pruned > 0 {
		fmt.Fprintf(w, "pruned: %d of %d channels, whose γ are 0, %s\n", r.Total.Pruned, r.Total.Channels, prunedLayers(r))
	}
	fmt.Fprintf(w, "zeros: share of ReLU outputs that are zero; off: channels that are zero for more than 99%% of outputs; on: channels that are never zero (%d pictures of the %s split, %s statistics)\n",
		r.Sparsity.Examples, r.Sparsity.Split, r.Sparsity.Statistics)
	fmt.Fprintf(w, "grad: mean |gradient| over %d batches, %d pictures of the %s split, %s statistics\n\n",
		r.Gradients.Batches, r.Gradients.Examples, r.Gradients.Split, r.Gradients.Statistics)

	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "clamped below\tγ clamped\tshare\ttest accuracy\ttest loss\t")
	for _, s := range r.Sweep {
		name := "nothing"
		if s.Threshold > 0 {
			name = fmt.Sprint(s.Threshold)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t\n", name, s.Clamped, share(s.Share), share(s.TestAccuracy), lossText(s.TestLoss))
	}
	t.Flush()
	fmt.Fprintf(w, "%d pictures of the %s split, %s statistics, β kept\n", r.Accuracy.Examples, r.Accuracy.Split, r.Accuracy.Statistics)
	if r.Stored != nil {
		fmt.Fprintf(w, "with the stored statistics: test accuracy %s, test loss %s\n", share(r.Stored.TestAccuracy), lossText(r.Stored.TestLoss))
	}
}

// prunedLayers lists the layers that have pruned channels, with the number of these.
func prunedLayers(r *analysis.Report) string {
	var layers []string
	for _, l := range r.Layers {
		if len(l.Pruned) > 0 {
			layers = append(layers, fmt.Sprintf("%s %d", l.Name, len(l.Pruned)))
		}
	}
	return "by layer: " + strings.Join(layers, ", ")
}

func printRow(w io.Writer, name string, channels int, gamma, beta *analysis.Distribution, nearZero []float64, s *analysis.Sparsity, grad *analysis.Magnitude) {
	median := len(analysis.Levels) / 2
	fmt.Fprintf(w, "%s\t%d\t%.3f\t%.3f\t", name, channels, gamma.Quantiles[median], beta.Quantiles[median])
	for _, z := range nearZero {
		fmt.Fprintf(w, "%s\t", share(z))
	}
	if s == nil {
		fmt.Fprint(w, "-\t-\t-\t")
	} else {
		fmt.Fprintf(w, "%s\t%d\t%d\t", share(s.Zero), s.MostlyOff, s.AlwaysOn)
	}
	if grad == nil {
		fmt.Fprint(w, "-\t-\t-\t\n")
		return
	}
	fmt.Fprintf(w, "%.2e\t%.2e\t%.2e\t\n", grad.Gamma, grad.Beta, grad.Convolution)
}

// lossText formats a loss for people; a missing one is "-".
func lossText(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.4f", *v)
}
