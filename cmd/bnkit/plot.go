package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"bnkit/analysis"
	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/strictjson"
	"bnkit/engine"
	"bnkit/engine/rundir"
	"bnkit/plots"
)

// plotOptions holds the flags of the plot command.
type plotOptions struct {
	modelFlags
	out         string
	filters     string
	featureMaps string
	image       int
	format      string
}

func newPlotCommand(g *globalOptions) *cobra.Command {
	var o plotOptions
	c := &cobra.Command{
		Use:   "plot [RUN...]",
		Short: "Draw the pictures of runs and checkpoints",
		Long: `Draw the training curves of run directories, the gradients that bnkit train
--track-gradients recorded, and the measurements of checkpoints by bnkit analyze.
Nothing is measured: of a checkpoint
that was not analyzed, or has changed since, only γ and β are drawn.

The pictures are gamma_histogram (γ of each stage), gamma_layers and beta_layers (γ
and β of each layer), near_zero (the shares of small γ), sparsity, gradients and
threshold (all three if the checkpoint was analyzed), sensitivity (if it was analyzed with
--sensitivity), training, accuracy_time, and gradient_epochs and gradient_layers (if
gradients were tracked). For several runs, gamma_histogram, sensitivity and the pictures
whose names end in layers are drawn for each run, and all others show all runs.

--filters and --feature-maps draw one layer of each checkpoint instead, side by
side: the weights of its convolution (regenerated from the seed if they are
frozen), or the outputs of its ReLU for picture --image of the test split
(inference mode, statistics re-estimated). Layers have the same names as in bnkit
analyze: conv, blocks.0.conv1 or blocks.0.bn1. The names of the files contain the
layer, and for feature maps the number of the picture.

An argument may also be another program's file, for which bnkit eval --help lists the
flags.

--json prints the paths of the pictures.`,
		Example: `  bnkit plot runs/first
  bnkit plot runs/first runs/second --out comparison --format svg
  bnkit plot runs/bn runs/all --filters conv
  bnkit plot runs/bn runs/all --feature-maps blocks.2.conv2 --image 7`,
		ValidArgsFunction: completeRuns,
		RunE:              func(c *cobra.Command, args []string) error { return runPlot(c, g, o, args) },
	}
	f := c.Flags()
	f.StringVar(&o.out, "out", "", "folder for the pictures (default: plots in the run directory or, for several runs, ./"+comparisonFolder+")")
	f.StringVar(&o.filters, "filters", "", "draw this layer's filters")
	f.StringVar(&o.featureMaps, "feature-maps", "", "draw this layer's feature maps")
	f.IntVar(&o.image, "image", 0, "picture of the test split whose feature maps are drawn, counted from 0")
	o.add(c)
	formatFlag(c, &o.format)
	completeFlag(c, "out", completeFolders)
	for _, flag := range []string{"filters", "feature-maps", "image"} {
		completeFlag(c, flag, completeNothing)
	}
	return c
}

// formatFlag adds the flag for the format of pictures.
func formatFlag(c *cobra.Command, format *string) {
	*format = string(plots.PNG)
	addChoice(c, format, "format", "format of the pictures: png or svg", string(plots.PNG), string(plots.SVG))
}

func runPlot(c *cobra.Command, g *globalOptions, o plotOptions, args []string) error {
	format, err := plots.ParseFormat(o.format)
	if err != nil {
		return &usageError{c.CommandPath(), err}
	}
	if len(args) == 0 {
		path, err := g.checkpointArg(nil)
		if err != nil {
			return err
		}
		args = []string{path}
	}
	var ckpts []string
	for _, arg := range args {
		ckpt, err := checkpointIn(arg)
		if err != nil {
			return err
		}
		ckpts = append(ckpts, ckpt)
	}
	if o.out == "" && len(ckpts) > 1 {
		o.out = comparisonFolder
	} else if o.out == "" {
		o.out = plotsDir(ckpts[0])
	}
	var pictures []string
	if o.filters == "" && o.featureMaps == "" {
		pictures, err = o.drawRuns(c.Context(), g, ckpts, format)
	} else {
		pictures, err = o.drawLayers(c.Context(), g, ckpts, format)
	}
	var option *analysis.OptionError
	if errors.As(err, &option) {
		return &usageError{c.CommandPath(), err}
	}
	if err != nil {
		return err
	}
	return g.print(pictures, func(w io.Writer) {
		for _, p := range pictures {
			fmt.Fprintln(w, p)
		}
	})
}

// drawRuns draws the training curves and reports of the checkpoints.
func (o *plotOptions) drawRuns(ctx context.Context, g *globalOptions, ckpts []string, format plots.Format) ([]string, error) {
	var runs []plots.Run
	for _, ckpt := range ckpts {
		run, err := o.readRun(ctx, g, ckpt)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	if err := durable.MkdirAll(o.out); err != nil {
		return nil, err
	}
	return plots.Draw(o.out, runs, format)
}

// drawLayers draws the layers that --filters and --feature-maps name.
func (o *plotOptions) drawLayers(ctx context.Context, g *globalOptions, ckpts []string, format plots.Format) ([]string, error) {
	var names, pictures []string
	var filters []*analysis.Filters
	var maps []*analysis.FeatureMaps
	for _, ckpt := range ckpts {
		names = append(names, runName(ckpt))
		model, data, err := o.load(ctx, g, ckpt)
		if err != nil {
			return nil, err
		}
		if o.filters != "" {
			f, err := analysis.FiltersOf(model, o.filters)
			if err != nil {
				return nil, err
			}
			filters = append(filters, f)
		}
		if o.featureMaps != "" {
			if data == nil {
				if data, err = o.openData(model); err != nil {
					return nil, err
				}
			}
			m, err := analysis.FeatureMapsOf(ctx, model, model.Normalised(data), o.featureMaps, o.image, o.threads)
			if err != nil {
				return nil, err
			}
			if len(maps) > 0 && !bytes.Equal(m.Picture, maps[0].Picture) {
				return nil, &analysis.OptionError{Reason: fmt.Sprintf("%s was trained on different pictures than %s; feature maps can only be compared on the same picture", ckpt, ckpts[0])}
			}
			maps = append(maps, m)
		}
	}
	if err := durable.MkdirAll(o.out); err != nil {
		return nil, err
	}
	if filters != nil {
		path, err := plots.DrawFilters(o.out, names, filters, format)
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, path)
	}
	if maps != nil {
		path, err := plots.DrawFeatureMaps(o.out, names, maps, format)
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, path)
	}
	return pictures, nil
}

// maxReportBytes bounds analysis.json. The report of the deepest network is far smaller.
const maxReportBytes = 1 << 28

// readReport reads the report of a run from an analysis.json. The error is a
// *plots.ReportError if the file is not a report.
func readReport(path, run string) (*analysis.Report, error) {
	b, err := durable.ReadFile(path, maxReportBytes)
	if err != nil {
		return nil, err
	}
	var r analysis.Report
	if err := strictjson.Unmarshal(b, &r); err != nil {
		return nil, &plots.ReportError{Run: run, Reason: fmt.Sprintf("%s: %v", path, err)}
	}
	return &r, nil
}

// describes reports whether a report describes the current content of a checkpoint. The result is
// true for a report without the digest of a checkpoint.
func describes(r *analysis.Report, ckpt string) (bool, error) {
	if r.Source == "" {
		return true, nil
	}
	sum, err := sha256Of(ckpt)
	return sum == r.Source, err
}

// readRun reads the run and the report of a checkpoint. It describes the checkpoint if it was not
// analyzed or has changed since.
func (o *plotOptions) readRun(ctx context.Context, g *globalOptions, ckpt string) (plots.Run, error) {
	run := plots.Run{Name: runName(ckpt)}
	var err error
	if run.Epochs, err = readEpochs(ckpt); err != nil {
		return run, err
	}
	reportPath := filepath.Join(plotsDir(ckpt), rundir.ReportFile)
	run.Report, err = readReport(reportPath, run.Name)
	current := false
	if err == nil {
		current, err = describes(run.Report, ckpt)
	}
	if current || err != nil && !errors.Is(err, os.ErrNotExist) {
		return run, err
	}
	if err == nil {
		g.note("%s has changed since %s was written, so only its γ and β are drawn; to measure it, type: bnkit analyze %s", ckpt, reportPath, shellQuote(ckpt))
	}
	model, _, err := o.load(ctx, g, ckpt)
	var unknown *engine.UnknownNetworkError
	if errors.As(err, &unknown) {
		run.Report, err = describeUnknown(unknown, nil)
		return run, err
	}
	if err != nil {
		return run, err
	}
	// A network without γ and β still has training curves to draw.
	run.Report, err = analysis.Describe(model)
	var noBatchNorms *engine.ModelError
	if errors.As(err, &noBatchNorms) && len(run.Epochs) > 0 {
		err = nil
	}
	return run, err
}
