package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"bnkit/checkpoint"
	"bnkit/engine"
)

// exportOptions are the export command's flags.
type exportOptions struct {
	modelFlags
	format, out string
	force       bool
}

func newExportCommand(g *globalOptions) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export [CKPT.bnz]",
		Short: "Write a checkpoint's whole network as safetensors",
		Long: `Write the whole network of a checkpoint, every weight regenerated from its seed,
as a PyTorch state dict in a safetensors file: float32, convolutions as O×I×H×W,
named as open_lth names them (conv.weight, bn.weight, bn.running_mean,
blocks.0.conv1.weight, ..., blocks.3.shortcut.0.weight, fc.weight, fc.bias), or
torchvision for resnet18 and the like (layer1.0.conv1.weight). A γ or β that is
fixed is written as 1 or 0.
The file's metadata say how pictures are normalised. ` + withoutFile + `

Running statistics are those stored in the checkpoint, or else re-estimated from
the training split, which must be there for it.

With --json: out, format, tensors, parameters, bytes, statistics.`,
		Example: `  bnkit export runs/first/ckpt.bnz --format safetensors --out m.safetensors`,
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return runExport(c, g, o, args) },
	}
	o.add(c)
	c.Flags().StringVar(&o.format, "format", "safetensors", "file format: safetensors")
	c.Flags().StringVar(&o.out, "out", "", "file to write (required)")
	c.Flags().BoolVar(&o.force, "force", false, "replace the file if it is there")
	return c
}

// exportResult is what export --json prints.
type exportResult struct {
	Out        string `json:"out"`
	Format     string `json:"format"`
	Tensors    int    `json:"tensors"`
	Parameters int    `json:"parameters"` // elements, running statistics left out
	Bytes      int64  `json:"bytes"`
	Statistics string `json:"statistics"` // stored or re-estimated
}

func runExport(c *cobra.Command, g *globalOptions, o exportOptions, args []string) error {
	switch {
	case o.format != "safetensors":
		return &usageError{c.CommandPath(), fmt.Errorf("format %q is unknown; safetensors is possible", o.format)}
	case o.out == "":
		return &usageError{c.CommandPath(), errors.New("name the file to write with --out")}
	}
	if err := mayWrite(c, o.out, o.force); err != nil {
		return err
	}
	path, err := g.checkpointArg(args)
	if err != nil {
		return err
	}
	model, err := engine.LoadModel(path)
	if err != nil {
		return err
	}
	stats, kind := model.Stored, engine.StatisticsStored
	if stats == nil {
		kind = engine.StatisticsReestimated
		data, err := o.openData(model)
		if err != nil {
			return err
		}
		evaluator, err := model.Evaluator(data, o.threads)
		if err != nil {
			return err
		}
		defer evaluator.Close()
		if stats, err = evaluator.Reestimate(c.Context()); err != nil {
			return err
		}
	}
	tensors := model.StateDict(stats)
	if err := checkpoint.WriteSafetensors(o.out, tensors, model.ExportMetadata()); err != nil {
		return err
	}
	r := exportResult{Out: o.out, Format: o.format, Tensors: len(tensors), Bytes: fileSize(o.out), Statistics: kind}
	for i := range model.Params.Tensors {
		r.Parameters += model.Params.Tensors[i].Len()
	}
	return g.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d tensors, %d parameters and running statistics (%s), %s\n", r.Out, r.Tensors, r.Parameters, r.Statistics, bytesText(r.Bytes))
	})
}

// mayWrite refuses a path where something is already, unless force is given.
func mayWrite(c *cobra.Command, path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return &usageError{c.CommandPath(), fmt.Errorf("%s is there already: use --force to replace it, or another --out", path)}
	}
	return nil
}
