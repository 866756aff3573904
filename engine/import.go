package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/convert"
)

// ImportOptions holds properties of a model that the file does not state, or states wrongly.
// Import takes the properties whose fields are zero from the file.
type ImportOptions struct {
	Arch     string        // name of a network of package arch, or "" to recognise it
	Shortcut arch.Shortcut // "" to recognise it
	Pictures [2]int        // height and width; zero for the network's usual size

	Preprocessing Preprocessing
	Data          DataSet

	MaxMemory int64 // limit for the memory that the model takes, in bytes; it becomes the model's MaxMemory
}

// Imported is a model from a file of another program.
type Imported struct {
	*Model
	Format   string   // the Format of convert.File
	Evidence []string // the reasons for choosing this network
	Ignored  []string // descriptions of values and names of tensors that were not used
}

// importAction is the Event.Action of an import.
const importAction = "import"

// Import reads a model from a safetensors file or a file that PyTorch wrote. The network is
// recognised by the names and shapes of its tensors. The model's Origin is nil, because all
// tensors come from the file. If bnkit exported the file, options that are zero are taken from
// its metadata; if o.Arch is set, only Preprocessing and Data are.
//
// The error is an *UnknownNetworkError if the network is not recognised, a *ModelError if the
// file does not hold the network that o names or has values that no network can have, an
// *arch.Error if o names a network that cannot be built, a *MemoryError if the model would take
// more than o.MaxMemory, or an error of convert.Open.
func Import(path string, o ImportOptions) (*Imported, error) {
	return ImportContext(context.Background(), path, o)
}

// ImportContext is Import, but returns ctx's error if ctx is cancelled.
func ImportContext(ctx context.Context, path string, o ImportOptions) (*Imported, error) {
	file, err := OpenForeign(ctx, path, o.MaxMemory)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	source, err := sourceOf(ctx, path)
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
	var wrong *arch.Error
	switch {
	case errors.As(err, &wrong) && known.Arch == o.Arch: // the caller is at fault, not the metadata
		return nil, fmt.Errorf("%s: %w", path, err)
	case err != nil && o.Arch == "":
		return nil, &UnknownNetworkError{path, err.Error()}
	case err != nil:
		return fail(err)
	}
	m := &Model{Network: r.Network, Preprocessing: o.Preprocessing, Data: o.Data, Source: source, MaxMemory: o.MaxMemory}
	held, err := convert.BytesInMemory(path)
	if err != nil {
		return nil, err
	}
	if err := checkMemory("the network "+m.Network.Name, float64(held)+parameterBytes(m.Network), o.MaxMemory); err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	m.Params, m.Stored, err = r.LoadContext(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("load %s: %w", path, ctx.Err())
	case err != nil:
		return fail(err)
	}
	parameters, err := json.Marshal(map[string]string{"format": file.Format, "source_sha256": source.SHA256})
	if err != nil {
		return nil, err
	}
	m.History = []Event{{Action: importAction, Tool: "bnkit", Parameters: parameters}}
	return &Imported{Model: m, Format: file.Format, Evidence: r.Evidence, Ignored: append(file.Ignored, r.Ignored...)}, nil
}

// OpenForeign opens a file that Import reads, as convert.Open does. The error is a *MemoryError
// if opening it may take more than maxMemory, in bytes, and ctx's error if ctx is cancelled. A
// limit of 0 stands for DefaultMaxMemory.
func OpenForeign(ctx context.Context, path string, maxMemory int64) (*convert.File, error) {
	held, err := convert.BytesInMemory(path)
	if err != nil {
		return nil, err
	}
	if err := checkMemory("reading "+path, float64(held), maxMemory); err != nil {
		return nil, err
	}
	return convert.OpenContext(ctx, path)
}

// addMetadata sets the fields of o that are zero from a file's metadata.
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

// sourceOf returns the Source of a file. It returns ctx's error if ctx is cancelled.
func sourceOf(ctx context.Context, path string) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return Source{}, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, interruptible{ctx, f})
	return Source{path, hex.EncodeToString(sum.Sum(nil)), n}, err
}

// interruptible reads until its context is cancelled.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i interruptible) Read(b []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(b)
}

// IsForeign reports whether the file at path has a format that Import reads. It looks only at
// the name and the first bytes.
func IsForeign(path string) (bool, error) { return convert.IsFile(path) }

// Normalisation holds the mean and the standard deviation of pixel/255 for each channel. They
// are used to normalise pictures.
type Normalisation struct{ Mean, Std []float32 }

// Normalisations are common normalisations by name. The standard deviation of "cifar10" is
// taken over all pixels of CIFAR-10. That of "cifar10-alt" is the mean of the standard
// deviations of the pictures.
var Normalisations = map[string]Normalisation{
	"imagenet":    {[]float32{0.485, 0.456, 0.406}, []float32{0.229, 0.224, 0.225}},
	"cifar10":     {[]float32{0.4914, 0.4822, 0.4465}, []float32{0.2470, 0.2435, 0.2616}},
	"cifar10-alt": {[]float32{0.4914, 0.4822, 0.4465}, []float32{0.2023, 0.1994, 0.2010}},
}
