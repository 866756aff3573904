package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/safetensors"
	"bnkit/engine"
)

// exportOptions holds the flags of the export command.
type exportOptions struct {
	modelFlags
	format, out             string
	full, withPython, force bool
}

func newExportCommand(g *globalOptions) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export [RUN]",
		Short: "Write a checkpoint's network as safetensors, for PyTorch",
		Long: `Write the network of a checkpoint as a PyTorch state dict in a safetensors file.
Weights that the checkpoint does not store are regenerated from its seed. Tensors
are float32, convolutions O×I×H×W, and have the names that open_lth uses
(conv.weight, bn.weight, bn.running_mean, blocks.0.conv1.weight, ...,
blocks.3.shortcut.0.weight, fc.weight, fc.bias) or, for ImageNet ResNets such as
resnet18, that torchvision uses (layer1.0.conv1.weight). A fixed γ is written as 1, a
fixed β as 0. The metadata of the file describe the normalisation of pictures and
the number of channels of each convolution.
` + argumentHelp + `

` + foreignHelp + `

For a pruned network, the file holds the smaller network, which computes the same
function, or, with --full, the whole network with γ = 0 in pruned channels. --with-python also
writes a Python module, which builds the network in PyTorch and loads the file. It
has the name of the file with the ending .py.

If the checkpoint stores running statistics, these are written. Otherwise they are
re-estimated from the training split, which must then be present.

--json prints out, python (the module, if one was written), format, tensors,
parameters (elements of the tensors, without running statistics), bytes and
statistics.`,
		Example: `  bnkit export runs/first/ckpt.bnz --out m.safetensors
  bnkit export runs/first/ckpt-pruned.bnz --out small.safetensors --with-python
  python3 small.py`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeRun,
		RunE: func(c *cobra.Command, args []string) error { return runExport(c, g, o, args) },
	}
	o.add(c)
	o.format = "safetensors"
	addChoice(c, &o.format, "format", "file format: safetensors", "safetensors")
	c.Flags().StringVar(&o.out, "out", "", "file to write (required)")
	c.Flags().BoolVar(&o.withPython, "with-python", false, "also write a Python module that loads the file in PyTorch")
	c.Flags().BoolVar(&o.full, "full", false, "keep the pruned channels of a pruned network")
	c.Flags().BoolVar(&o.force, "force", false, "replace files that exist")
	completeFlag(c, "out", completeFiles("safetensors"))
	return c
}

// modulePath returns the path of the Python module: that of the file with the extension .py.
func (o *exportOptions) modulePath() string {
	return strings.TrimSuffix(o.out, filepath.Ext(o.out)) + ".py"
}

// exportResult holds the output of export --json.
type exportResult struct {
	Out        string `json:"out"`
	Python     string `json:"python,omitempty"`
	Format     string `json:"format"`
	Tensors    int    `json:"tensors"`
	Parameters int    `json:"parameters"` // elements, without running statistics
	Bytes      int64  `json:"bytes"`
	Statistics string `json:"statistics"` // stored or re-estimated
}

func runExport(c *cobra.Command, g *globalOptions, o exportOptions, args []string) error {
	if o.out == "" {
		return &usageError{c.CommandPath(), errors.New("name the file to write with --out")}
	}
	if extension := filepath.Ext(o.out); extension != "" && !strings.EqualFold(extension, ".safetensors") {
		return &usageError{c.CommandPath(), fmt.Errorf("--out %s: the file is written in the format safetensors, not in the format that %s stands for; use a name that ends in .safetensors", o.out, extension)}
	}
	if err := checkOverwrite(c, o.out, o.force); err != nil {
		return err
	}
	if o.withPython {
		if o.modulePath() == o.out {
			return &usageError{c.CommandPath(), fmt.Errorf("%s is the name of the Python module: use another --out, e.g. %s", o.out, strings.TrimSuffix(o.out, ".py")+".safetensors")}
		}
		if err := checkOverwrite(c, o.modulePath(), o.force); err != nil {
			return err
		}
	}
	path, err := g.checkpointArg(args)
	if err != nil {
		return err
	}
	exported, statistics, err := o.read(c, g, path)
	if err != nil {
		return err
	}
	r := exportResult{Out: o.out, Format: o.format, Tensors: len(exported.Tensors), Parameters: exported.Parameters, Statistics: statistics}
	var text []byte
	if o.withPython {
		r.Python = o.modulePath()
		if text, err = exported.PythonModule(filepath.Base(r.Python), filepath.Base(o.out)); err != nil {
			return err
		}
	}
	var tensors []safetensors.Tensor
	for _, x := range exported.Tensors {
		tensors = append(tensors, safetensors.New(x.Name, x.Shape, x.Float32))
	}
	if err := safetensors.Write(o.out, tensors, exported.Metadata); err != nil {
		return err
	}
	r.Bytes = fileSize(o.out)
	if o.withPython {
		if err := durable.WriteFile(r.Python, text); err != nil {
			return err
		}
	}
	return g.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d tensors, %d parameters and running statistics (%s), %s\n", r.Out, r.Tensors, r.Parameters, r.Statistics, bytesText(r.Bytes))
		if r.Python != "" {
			fmt.Fprintf(w, "next, try: python3 %s\n", r.Python)
		}
	})
}

// read returns the network to write, and the kind of its statistics.
func (o *exportOptions) read(c *cobra.Command, g *globalOptions, path string) (*engine.Exported, string, error) {
	model, data, err := o.load(c.Context(), g, path)
	if err != nil {
		return nil, "", err
	}
	if !o.full && model.Kept != nil {
		if model, _, err = model.Compact(); err != nil {
			return nil, "", err
		}
	}
	if model.Stored != nil {
		exported, err := model.Export(model.Stored)
		return exported, engine.StatisticsStored, err
	}
	if data == nil {
		if data, err = o.openData(model); err != nil {
			return nil, "", err
		}
	}
	evaluator, err := model.Evaluator(model.Normalised(data), o.threads)
	if err != nil {
		return nil, "", err
	}
	defer evaluator.Close()
	stats, err := evaluator.Reestimate(c.Context())
	if err != nil {
		return nil, "", err
	}
	exported, err := model.Export(stats)
	return exported, engine.StatisticsReestimated, err
}

// checkOverwrite returns a usage error if path exists, unless force is set.
func checkOverwrite(c *cobra.Command, path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return &usageError{c.CommandPath(), fmt.Errorf("%s already exists: use --force to replace it, or choose another name", path)}
	}
	return nil
}
