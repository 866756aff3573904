package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// importOptions holds the flags of the import command.
type importOptions struct {
	modelFlags
	out   string
	force bool
}

func newImportCommand(g *globalOptions) *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Convert another program's file to a .bnz file",
		Long: `Convert a state dict in a safetensors file, or in a .pt, .pth or .th file that
PyTorch wrote, to a .bnz file. No code in it is run. The .bnz file holds all weights
and running statistics, the size of the pictures and how they are normalised, so
other commands need no flags for it.

The network is recognised by the names and shapes of its tensors (bnkit inspect FILE
shows the evidence). --data names the data set, and --normalise-mean and
--normalise-std give the normalisation of pixels. A file that bnkit exported contains all this information.

If the flags give a location of the data, it is recorded in data.json beside --out,
unless that folder holds a run, other .bnz files, or another data.json.

--json prints out, arch, input, classes, parameters, statistics (whether the
file stores running statistics), data, normalisation_mean, normalisation_std, bytes
and data_dir (the recorded location, if there is one).`,
		Example: `  bnkit import resnet56.th --data cifar10 --normalise-mean imagenet
  bnkit import resnet18.pth --data photos --normalise-mean imagenet --out m.bnz`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeFiles("safetensors", "pt", "pth", "th"),
		RunE: func(c *cobra.Command, args []string) error { return runImport(c, g, o, args[0]) },
	}
	o.add(c)
	c.Flags().StringVar(&o.out, "out", "", "file to write (default: the name of FILE with .bnz, in the current folder)")
	c.Flags().BoolVar(&o.force, "force", false, "replace the file if it exists")
	completeFlag(c, "out", completeFiles("bnz"))
	return c
}

// importResult holds the output of import --json.
type importResult struct {
	Out        string    `json:"out"`
	Arch       string    `json:"arch"`
	Input      [3]int    `json:"input"` // channels, height, width
	Classes    int       `json:"classes"`
	Parameters int       `json:"parameters"`
	Statistics bool      `json:"statistics"` // whether the file stores running statistics
	Data       string    `json:"data"`
	Mean       []float32 `json:"normalisation_mean"`
	Std        []float32 `json:"normalisation_std"`
	Bytes      int64     `json:"bytes"`
	DataDir    string    `json:"data_dir,omitempty"` // recorded beside Out
}

func runImport(c *cobra.Command, g *globalOptions, o importOptions, path string) error {
	usage := func(format string, args ...any) error {
		return &usageError{c.CommandPath(), fmt.Errorf(format, args...)}
	}
	foreign, err := isForeign(path)
	if err != nil {
		return err
	}
	if !foreign {
		return usage("%s is not a safetensors file or one that torch.save wrote", path)
	}
	if o.out == "" {
		o.out = outputName(path) + ".bnz"
	}
	if filepath.Ext(o.out) != ".bnz" {
		return usage("--out %s: use a name that ends in .bnz", o.out)
	}
	if err := checkOverwrite(c, o.out, o.force); err != nil {
		return err
	}
	model, data, err := o.open(c.Context(), g, path)
	if err != nil {
		return err
	}
	// Making an evaluator checks that the network accepts these pictures.
	evaluator, err := model.Evaluator(data, o.threads)
	if err != nil {
		return err
	}
	evaluator.Close()
	model.Data.Digest = data.Digest
	model.Preprocessing.Mean, model.Preprocessing.Std = data.Mean, data.Std
	if err := model.Save(o.out); err != nil {
		return err
	}
	net := model.Network
	r := importResult{
		Out: o.out, Arch: net.Name, Input: [3]int{net.Input.C, net.Input.H, net.Input.W}, Classes: net.Classes,
		Parameters: arch.All.Parameters(net), Statistics: model.Stored != nil, Data: data.Name,
		Mean: data.Mean, Std: data.Std, Bytes: model.Source.Bytes,
	}
	dataPath, recorded, err := o.recordDataPath()
	if err != nil {
		return err
	}
	if recorded {
		r.DataDir = dataPath
	}
	err = g.print(r, func(w io.Writer) {
		statistics := "with running statistics"
		if !r.Statistics {
			statistics = "without running statistics"
		}
		fmt.Fprintf(w, "%s: %s, %d parameters %s, %s\n", r.Out, printable(r.Arch), r.Parameters, statistics, bytesText(r.Bytes))
		fmt.Fprintf(w, "data: %s, normalised by mean %v, std %v of pixel/255\n", printable(r.Data), r.Mean, r.Std)
	})
	if dataPath != "" && !recorded {
		flag := "--data-dir"
		if !dataset.IsName(o.data) {
			flag = "--data"
		}
		g.note("the location of the data is not recorded, because data.json in the folder of %s would also apply to other files; give other commands %s %s", o.out, flag, shellQuote(dataPath))
	}
	g.note("next, try: bnkit analyze %s", shellQuote(o.out))
	return err
}

// recordDataPath records the location of the data that the flags give, and returns it. recorded
// is false if the flags give none, or if the record would also apply to other files.
func (o *importOptions) recordDataPath() (dataPath string, recorded bool, err error) {
	dataPath = o.dataDir
	if o.data != "" && !dataset.IsName(o.data) {
		dataPath = o.data
	}
	if dataPath == "" {
		return "", false, nil
	}
	if dataPath, err = filepath.Abs(dataPath); err != nil {
		return "", false, err
	}
	recorded, err = rundir.RecordDataPath(o.out, dataPath)
	return dataPath, recorded, err
}
