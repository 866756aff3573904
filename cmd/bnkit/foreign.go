package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/engine"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
)

// foreignFlags holds the values of flags that describe the model in a file of another program.
// Such a file lacks information that a .bnz file has.
type foreignFlags struct {
	arch      string
	mean, std string
	imageSize int
}

// foreignHelp is a paragraph for the help of commands that take another program's file.
const foreignHelp = `Another program's file is a state dict in a safetensors file or in a .pt, .pth or
.th file that PyTorch wrote. No code in it is run. The network
is recognised by the names and shapes of its tensors. Such a file does not
describe its pictures: --data names the data set, and --normalise-mean and
--normalise-std give the normalisation of pixels. bnkit import converts the file to a
.bnz file that contains this information.`

// foreignOutputHelp follows foreignHelp in the help of commands that write files.
const foreignOutputHelp = ` Output files are written to the current folder by default.`

func (o *foreignFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.arch, "arch", "", "network of a file of another program (default: recognised by its tensors)")
	f.IntVar(&o.imageSize, "image-size", 0, "side to which the pictures of a folder are resized, for a file of another program (default: the usual side for the network)")
	completeFlag(c, "arch", cobra.FixedCompletions(config.Find("arch").Values, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(c, "image-size", completeNothing)
	o.addNormalisation(c)
}

// addNormalisation adds the flags for the normalisation to a command.
func (o *foreignFlags) addNormalisation(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.mean, "normalise-mean", "", "mean of pixel/255 for each channel, e.g. 0.485,0.456,0.406, or "+strings.Join(normalisations(), ", ")+"; for a file of another program")
	f.StringVar(&o.std, "normalise-std", "", "standard deviation of pixel/255 for each channel, or a name as for --normalise-mean")
	for _, flag := range []string{"normalise-mean", "normalise-std"} {
		completeFlag(c, flag, cobra.FixedCompletions(normalisations(), cobra.ShellCompDirectiveNoFileComp))
	}
}

// normalisations returns the names of engine.Normalisations.
func normalisations() []string { return slices.Sorted(maps.Keys(engine.Normalisations)) }

// preprocessing returns the normalisation that the flags give. Mean is nil if they give none.
// If only one of the two flags is given, its value must be a name, which sets both.
func (o *foreignFlags) preprocessing() (engine.Preprocessing, error) {
	var p engine.Preprocessing
	mean, std := o.mean, o.std
	if mean == "" && std == "" {
		return p, nil
	}
	if _, named := engine.Normalisations[mean]; named && std == "" {
		std = mean
	} else if _, named := engine.Normalisations[std]; named && mean == "" {
		mean = std
	}
	var err error
	if mean != "" {
		if p.Mean, err = parseChannels("--normalise-mean", mean, func(n engine.Normalisation) []float32 { return n.Mean }); err != nil {
			return p, err
		}
	}
	if std != "" {
		if p.Std, err = parseChannels("--normalise-std", std, func(n engine.Normalisation) []float32 { return n.Std }); err != nil {
			return p, err
		}
	}
	if mean == "" || std == "" {
		return p, &config.Error{Key: "--normalise-mean and --normalise-std", Reason: "give both"}
	}
	for _, s := range p.Std {
		if s <= 0 {
			return p, &config.Error{Key: "--normalise-std", Reason: fmt.Sprintf("%v is not above 0", s)}
		}
	}
	if len(p.Mean) != len(p.Std) {
		return p, &config.Error{Key: "--normalise-std", Reason: fmt.Sprintf("%d numbers, but --normalise-mean has %d", len(p.Std), len(p.Mean))}
	}
	return p, nil
}

// parseChannels returns the list of numbers in text or, if text is the name of a normalisation,
// the result of values for it.
func parseChannels(flag, text string, values func(engine.Normalisation) []float32) ([]float32, error) {
	if n, named := engine.Normalisations[text]; named {
		return values(n), nil
	}
	var list []float32
	for _, word := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(word), 32)
		if err != nil || !(v > -1000 && v < 1000) {
			return nil, &config.Error{Key: flag, Reason: fmt.Sprintf("%q; use one number for each channel, e.g. 0.485,0.456,0.406, or one of: %s%s", text, strings.Join(normalisations(), ", "), suggestion(text, normalisations()))}
		}
		list = append(list, float32(v))
	}
	return list, nil
}

// load loads the model of a .bnz file or of another program's file. For the latter, it also
// opens the data that --data names, because the network's input gets the size of its pictures. The
// returned data is nil for a .bnz file, without --data, and for a folder of pictures, which are
// resized to the network's input.
func (m *modelFlags) load(ctx context.Context, g *globalOptions, path string) (*engine.Model, *dataset.Data, error) {
	foreign, err := isForeign(path)
	if err != nil {
		return nil, nil, err
	}
	if !foreign {
		if m.foreign != (foreignFlags{}) {
			return nil, nil, &config.Error{Key: "--arch, --normalise-mean, --normalise-std and --image-size", Reason: fmt.Sprintf("%s is a .bnz file, which contains this information; leave these flags out", path)}
		}
		model, err := engine.LoadModelContext(ctx, path, int64(g.maxMemory))
		return model, nil, err
	}
	if nearestNetwork(m.foreign.arch) != "" {
		return nil, nil, badValue("arch", m.foreign.arch, "")
	}
	options := engine.ImportOptions{Arch: m.foreign.arch, MaxMemory: int64(g.maxMemory)}
	if options.Preprocessing, err = m.foreign.preprocessing(); err != nil {
		return nil, nil, err
	}
	var data *dataset.Data
	if m.data != "" {
		if data, err = m.openNamed(); err != nil {
			return nil, nil, err
		}
		options.Data = engine.DataSet{Name: data.Name, Digest: data.Digest}
		if data.Train.Height > 0 {
			options.Pictures = [2]int{data.Train.Height, data.Train.Width}
		} else {
			options.Pictures = [2]int{m.foreign.imageSize, m.foreign.imageSize}
		}
	}
	imported, err := engine.ImportContext(ctx, path, options)
	if err != nil {
		return nil, nil, err
	}
	if data != nil && data.Train.Height == 0 {
		// The pictures of a folder are resized to the input of the network.
		imported.Data.Digest = ""
		imported.Data.Selection = dataset.Selection{ImageSize: imported.Network.Input.H, Crop: dataset.CentreCrop}
		data = nil
	}
	if m.data != "" || imported.Data.Name != "" {
		assumeNormalisation(g, imported.Model)
	}
	g.note("%s: %s", path, strings.Join(imported.Evidence, "; "))
	return imported.Model, data, nil
}

// openNamed opens the data set that --data and --data-dir name.
func (m *modelFlags) openNamed() (*dataset.Data, error) {
	dir := m.dataDir
	if !dataset.IsName(m.data) && dir != "" {
		return nil, errTwoDataLocations(m.data)
	}
	return dataset.Open(m.data, dir)
}

// assumeNormalisation sets the normalisation of a model of colour pictures that has none, and
// prints a warning. It takes that of ImageNet if the input is higher than 64 pixels, and otherwise
// that of CIFAR-10.
func assumeNormalisation(g *globalOptions, m *engine.Model) {
	if m.Preprocessing.Mean != nil || m.Network.Input.C != 3 {
		return
	}
	name := "cifar10"
	if m.Network.Input.H > 64 {
		name = "imagenet"
	}
	n := engine.Normalisations[name]
	m.Preprocessing.Mean, m.Preprocessing.Std = n.Mean, n.Std
	g.note("bnkit: warning: %s does not say how pixels were normalised; assuming --normalise-mean %s, which is a guess", m.Source.Path, name)
}
