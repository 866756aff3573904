package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/convert"
)

// ImportOptions say what a file of another program leaves open. The zero value takes
// everything from the file.
type ImportOptions struct {
	Arch     string        // name of a network of package arch, or "" to recognise it
	Shortcut arch.Shortcut // "" to recognise it
	Pictures [2]int        // their height and width; zero for what is usual for the network

	Preprocessing Preprocessing
	Data          DataSet
}

// Imported is a model from a file of another program.
type Imported struct {
	*Model
	Format   string   // of the file, as convert.File has it
	Evidence []string // why it is this network, one sentence each
	Ignored  []string // what else the file holds
}

// importAction is the Event.Action of an import.
const importAction = "import"

// Import reads a model from a safetensors file or one that PyTorch wrote. Its network is
// recognised by the names and shapes of the tensors, and all its tensors are stored ones, so
// that Origin is nil. What o leaves open is taken from the metadata of a file that bnkit
// exported, if it is there. The error is a *ModelError if the network is not supported, or
// one of convert.Open.
func Import(path string, o ImportOptions) (*Imported, error) {
	file, err := convert.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	source, err := sourceOf(path)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Imported, error) { return nil, &ModelError{path, err.Error()} }
	known, err := convert.OptionsFrom(file.Metadata)
	if err != nil {
		return fail(err)
	}
	if o.Arch != "" {
		known = convert.Options{Arch: o.Arch}
	}
	if o.Shortcut != "" {
		known.Shortcut = o.Shortcut
	}
	if o.Pictures != [2]int{} {
		known.Pictures = o.Pictures
	}
	if err := o.addMetadata(file.Metadata); err != nil {
		return fail(err)
	}
	r, err := convert.Recognise(file.Tensors, known)
	if err != nil {
		return fail(err)
	}
	m := &Model{Network: r.Network, Preprocessing: o.Preprocessing, Data: o.Data, Source: source}
	if m.Params, m.Stored, err = r.Load(); err != nil {
		return fail(err)
	}
	parameters, err := json.Marshal(map[string]string{"format": file.Format, "source_sha256": source.SHA256})
	if err != nil {
		return nil, err
	}
	m.History = []Event{{Action: importAction, Tool: "bnkit", Parameters: parameters}}
	return &Imported{Model: m, Format: file.Format, Evidence: r.Evidence, Ignored: append(file.Ignored, r.Ignored...)}, nil
}

// addMetadata takes over from a file's metadata what o leaves open.
func (o *ImportOptions) addMetadata(metadata map[string]string) error {
	list := func(key string) ([]float32, error) {
		var values []float32
		for _, text := range strings.FieldsFunc(metadata[key], func(r rune) bool { return r == ',' }) {
			v, err := strconv.ParseFloat(text, 32)
			if err != nil {
				return nil, fmt.Errorf("the file's metadata has the %s %q: %w", key, text, err)
			}
			values = append(values, float32(v))
		}
		return values, nil
	}
	var err error
	p := &o.Preprocessing
	if p.Mean == nil {
		if p.Mean, err = list("normalisation_mean"); err != nil {
			return err
		}
		if p.Std, err = list("normalisation_std"); err != nil {
			return err
		}
	}
	if text := metadata["bn_eps"]; text != "" && p.Eps == 0 {
		if p.Eps, err = strconv.ParseFloat(text, 64); err != nil || !(p.Eps > 0) {
			return fmt.Errorf("the file's metadata has the bn_eps %q, which must be a number above 0", text)
		}
	}
	if o.Data.Name == "" {
		o.Data.Name = metadata["data"]
	}
	return nil
}

// sourceOf returns the Source of a file.
func sourceOf(path string) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return Source{}, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return Source{path, hex.EncodeToString(sum.Sum(nil)), n}, err
}

// IsForeign reports whether the file at path is of a format that Import reads, by its first
// bytes.
func IsForeign(path string) (bool, error) { return convert.IsFile(path) }

// Normalisation is a mean and standard deviation of pixel/255 for each channel, by which
// people normalise pictures.
type Normalisation struct{ Mean, Std []float32 }

// Normalisations are the ones in common use, by name: ImageNet's, and two of CIFAR-10 that
// differ in how the deviation was taken, over all pixels or picture by picture.
var Normalisations = map[string]Normalisation{
	"imagenet":    {[]float32{0.485, 0.456, 0.406}, []float32{0.229, 0.224, 0.225}},
	"cifar10":     {[]float32{0.4914, 0.4822, 0.4465}, []float32{0.2470, 0.2435, 0.2616}},
	"cifar10-alt": {[]float32{0.4914, 0.4822, 0.4465}, []float32{0.2023, 0.1994, 0.2010}},
}
