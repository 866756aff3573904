package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// Model is a network with its weights, and what is known of how to feed and
// measure it. Network and Params are all that it needs, wherever they come
// from; LoadModel makes one of a .bnz file. What else is zero is not known, and
// the fields say what is then done.
type Model struct {
	Network *arch.Network
	Params  *nn.Params[float32]
	Stored  *nn.Statistics // of the activations; nil where they have to be re-estimated

	Preprocessing Preprocessing
	Estimation    Estimation
	Data          DataSet

	Origin  *Origin // nil where no tensor was drawn at random, or nobody knows how
	History []Event // what made the model, first to last

	Source Source // the file that holds the model as it is; zero where there is none
}

// Preprocessing is how pictures become inputs, (pixel/255 - Mean)/Std, and
// BatchNorm's eps.
type Preprocessing struct {
	Mean []float32 // per channel or per pixel (C×H×W); nil for the data set's own Mean and Std
	Std  []float32 // per channel
	Eps  float64   // nn.DefaultEps where 0
}

// Estimation is how statistics are re-estimated: over Batches batches of Batch
// training pictures, in the order drawn from Seed. The zero value stands for
// up to 50 batches of 128.
type Estimation struct {
	Seed           uint64
	Batch, Batches int
}

// DataSet is what a model was trained on.
type DataSet struct {
	Name      string            // as dataset.Data has it; "" where it is not known
	Digest    string            // of the data that was selected, as dataset.Data has it; "" where it is not known
	Selection dataset.Selection // what was taken of it
}

// Origin is how a model's tensors came to be: drawn at random, all of them, and
// then some of them trained. A .bnz file stores these alone.
type Origin struct {
	Trainable    arch.TrainableSet // what was trained
	Seed         uint64
	Initialisers nn.Initialisers
	Config       json.RawMessage // the run's settings, as config.json holds them; nil where they are not known
}

// Event is one step of a model's making.
type Event struct {
	Action     string          // e.g. "train", "prune"
	Tool       string          // e.g. "bnkit"
	Parameters json.RawMessage // of the action; may be nil
}

// Source is the file that a model was read from or written to.
type Source struct {
	Path   string
	SHA256 string // of the whole file, hex
	Bytes  int64
}

// Variant returns a copy of m whose γ and β are its own, to be changed, while
// all other weights are m's, not to be changed. Its statistics have to be
// re-estimated, unless the network has no BatchNorm. Its Source is still m's, so
// that errors name a file.
func (m *Model) Variant() *Model {
	v := *m
	v.Params = m.Params.Share(func(t *arch.Tensor) bool { return t.Kind == arch.Gamma || t.Kind == arch.Beta })
	if m.Network.HasBN() {
		v.Stored = nil
	}
	v.History = slices.Clone(m.History)
	return &v
}

// seed is the model's own, 0 where it has none.
func (m *Model) seed() uint64 {
	if m.Origin == nil {
		return 0
	}
	return m.Origin.Seed
}

// fail is a *ModelError.
func (m *Model) fail(format string, args ...any) error {
	return &ModelError{m.Source.Path, fmt.Sprintf(format, args...)}
}

// OpenData loads the data set that the model was trained on, as its training
// selected it, to be normalised as it was then. Dir is as dataset.Open takes it;
// for data without a name of its own it is the folder or archive itself.
// Pictures other than those trained on are refused with a *ModelError, and so is
// a model that does not say what it was trained on.
func (m *Model) OpenData(dir string) (*dataset.Data, error) {
	name := m.Data.Name
	if name == "" {
		return nil, m.fail("it does not say what data it was trained on")
	}
	if !slices.Contains(dataset.Names(), name) {
		if dir == "" {
			return nil, m.fail("it was trained on a data set of your own: name its folder with --data-dir")
		}
		name = dir
	}
	data, err := dataset.Open(name, dir)
	if err != nil {
		return nil, err
	}
	if data, err = selected(data, m.Data.Selection); err != nil {
		var e *config.Error
		if errors.As(err, &e) {
			return nil, m.fail("%s", e.Reason)
		}
		return nil, err
	}
	if m.Data.Digest != "" && data.Digest != m.Data.Digest {
		return nil, m.fail("it was trained on other pictures than those found as %s (SHA-256 %.12s, not %.12s); name the right folder with --data-dir",
			data.Name, data.Digest, m.Data.Digest)
	}
	return m.Normalised(data), nil
}

// Normalised returns data, to be normalised as the model takes it: by its own
// mean and standard deviation where it has them.
func (m *Model) Normalised(data *dataset.Data) *dataset.Data {
	if m.Preprocessing.Mean == nil {
		return data
	}
	known := *data
	known.Mean, known.Std = m.Preprocessing.Mean, m.Preprocessing.Std
	return &known
}
