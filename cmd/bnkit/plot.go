package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"bnkit/analysis"
	"bnkit/engine"
	"bnkit/plots"
)

// plotOptions are the plot command's flags.
type plotOptions struct{ out string }

func newPlotCommand(g *globalOptions) *cobra.Command {
	var o plotOptions
	c := &cobra.Command{
		Use:   "plot RUN_DIR_OR_CKPT...",
		Short: "Draw runs again, several of them over each other",
		Long: `Draw the training curves of run directories, and what bnkit analyze measured of
their checkpoints; several runs are drawn over each other. Nothing is measured:
of a checkpoint that was not analyzed, only γ can be drawn.

With --json: the paths of the pictures.`,
		Example: `  bnkit plot runs/first
  bnkit plot runs/first runs/second --out comparison`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runPlot(c, g, o, args) },
	}
	c.Flags().StringVar(&o.out, "out", "", "folder for the pictures (default: the run's plots, or plots for several runs)")
	return c
}

func runPlot(c *cobra.Command, g *globalOptions, o plotOptions, args []string) error {
	var runs []plots.Run
	for _, arg := range args {
		ckpt := arg
		if info, err := os.Stat(arg); err != nil {
			return err
		} else if info.IsDir() {
			ckpt = filepath.Join(arg, engine.CheckpointFile)
		}
		run, err := readRun(ckpt)
		if err != nil {
			return err
		}
		runs = append(runs, run)
		if o.out == "" {
			o.out = plotsOf(ckpt)
		}
	}
	if len(args) > 1 && !c.Flags().Changed("out") {
		o.out = "plots"
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	pictures, err := plots.Draw(o.out, runs)
	if err != nil {
		return err
	}
	return g.print(pictures, func(w io.Writer) {
		for _, p := range pictures {
			fmt.Fprintln(w, p)
		}
	})
}

// readRun reads what there is to draw of a checkpoint and its run.
func readRun(ckpt string) (plots.Run, error) {
	run := plots.Run{Name: runName(ckpt)}
	var err error
	if run.Epochs, err = readEpochs(ckpt); err != nil {
		return run, err
	}
	path := filepath.Join(plotsOf(ckpt), reportFile)
	b, err := os.ReadFile(path)
	if err == nil {
		run.Report = &analysis.Report{}
		if err := json.Unmarshal(b, run.Report); err != nil {
			return run, fmt.Errorf("read %s: %w; make it again with: bnkit analyze %s", path, err, ckpt)
		}
		return run, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return run, err
	}
	model, err := engine.LoadModel(ckpt)
	if err != nil {
		return run, err
	}
	// Without γ and β there are learning curves to draw all the same.
	run.Report, err = analysis.Describe(model)
	var none *engine.ModelError
	if errors.As(err, &none) && len(run.Epochs) > 0 {
		err = nil
	}
	return run, err
}
