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
		Long: `Write the whole network of a checkpoint as a PyTorch state dict in a safetensors
file. Weights that the checkpoint does not store are regenerated from its seed.
Tensors are float32, convolutions O×I×H×W, and have the names that open_lth uses
(conv.weight, bn.weight, bn.running_mean, blocks.0.conv1.weight, ...,
blocks.3.shortcut.0.weight, fc.weight, fc.bias) or, for ImageNet ResNets such as
resnet18, those of torchvision (layer1.0.conv1.weight). A fixed γ is written as 1, a
fixed β as 0. The file's metadata say how to normalise pictures.
` + withoutFile + `

Running statistics are those stored in the checkpoint, or else re-estimated from
the training split, which is needed for that.

--json prints out, format, tensors, parameters, bytes and statistics.`,
		Example: `  bnkit export runs/first/ckpt.bnz --format safetensors --out m.safetensors`,
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return runExport(c, g, o, args) },
	}
	o.add(c)
	c.Flags().StringVar(&o.format, "format", "safetensors", "file format: safetensors")
	c.Flags().StringVar(&o.out, "out", "", "file to write (required)")
	c.Flags().BoolVar(&o.force, "force", false, "replace the file if it exists")
	return c
}

// exportResult is what export --json prints.
type exportResult struct {
	Out        string `json:"out"`
	Format     string `json:"format"`
	Tensors    int    `json:"tensors"`
	Parameters int    `json:"parameters"` // elements, without running statistics
	Bytes      int64  `json:"bytes"`
	Statistics string `json:"statistics"` // stored or re-estimated
}

func runExport(c *cobra.Command, g *globalOptions, o exportOptions, args []string) error {
	switch {
	case o.format != "safetensors":
		return &usageError{c.CommandPath(), fmt.Errorf("format %q is unknown; use safetensors", o.format)}
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
	model, err := g.load(c.Context(), path)
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

// mayWrite returns an error if path exists, unless force is set.
func mayWrite(c *cobra.Command, path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return &usageError{c.CommandPath(), fmt.Errorf("%s already exists: use --force to replace it, or another --out", path)}
	}
	return nil
}
