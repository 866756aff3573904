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

// Model is a network with its parameters, and what is known about how to feed and measure
// it. It needs only Network and Params, from any source; LoadModel reads a model from a
// .bnz file. Other fields are zero if their values are not known; their comments describe
// the default.
//
// Callers that change γ or β must refresh Stored, or set it to nil.
type Model struct {
	Network *arch.Network
	Params  *nn.Params[float32]
	Stored  *nn.Statistics // running statistics; nil if they have to be re-estimated

	// Kept lists for each unit the channels of its BatchNorm that were not pruned, in
	// the form that nn.Compact takes. Pruned channels have γ = 0, and Compact removes
	// those that no shape needs. Kept is nil if no channel was pruned.
	Kept [][]int

	// Origins lists, by the name of a unit from which channels were removed, the index
	// that each channel had before, or nn.ConstantChannel. It is nil if no channel was
	// removed.
	Origins map[string][]int

	Preprocessing Preprocessing
	Estimation    Estimation
	Data          DataSet

	Origin  *Origin         // nil if it is not known, or if no tensor was drawn at random
	Config  json.RawMessage // settings of the last run that trained the model, as in config.json; nil if not known
	History []Event         // the actions that made the model, oldest first

	Source Source // the file that holds the model; zero if there is none

	// MaxMemory limits the memory, in bytes, that measuring the model may take; 0 stands
	// for DefaultMaxMemory.
	MaxMemory int64
}

// Preprocessing describes how pictures become inputs: an input is (pixel/255 - Mean)/Std. It
// also holds BatchNorm's eps.
type Preprocessing struct {
	Mean []float32 // per channel or per pixel (C×H×W); nil for the data set's own Mean and Std
	Std  []float32 // per channel
	Eps  float64   // 0 for nn.DefaultEps
}

// Estimation describes how statistics are re-estimated: over Batches batches of Batch training
// pictures, in an order drawn from Seed. The zero value stands for up to 50 batches of
// 128 in an order drawn from the seed of the model's Origin, or from 0.
type Estimation struct {
	Seed           uint64
	Batch, Batches int
}

// DataSet describes the data that a model was trained on.
type DataSet struct {
	Name      string            // as in dataset.Data; "" if it is not known
	Digest    string            // of the selected data, as in dataset.Data; "" if it is not known
	Selection dataset.Selection // the pictures that were used
}

// Origin describes how a model was made: all its tensors were drawn at random, and then
// some were trained. A .bnz file stores only the trained ones.
type Origin struct {
	Trainable    arch.TrainableSet // the tensors that were trained
	Seed         uint64
	Initialisers nn.Initialisers
}

// Event is one of the actions that made a model.
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

// Variant returns a copy of m with its own γ and β, which the caller may change. All other
// weights are shared with m and must not be changed. The copy has no Stored statistics
// unless the network has no BatchNorm. It has the same Source as m, so that errors name
// a file.
func (m *Model) Variant() *Model {
	v := *m
	v.Params = m.Params.Share(func(t *arch.Tensor) bool { return t.Kind == arch.Gamma || t.Kind == arch.Beta })
	if m.Network.HasBN() {
		v.Stored = nil
	}
	v.History = slices.Clone(m.History)
	return &v
}

// seed returns the seed of the model's Origin, or 0 if that is not known.
func (m *Model) seed() uint64 {
	if m.Origin == nil {
		return 0
	}
	return m.Origin.Seed
}

// fail returns a *ModelError that names the model's file.
func (m *Model) fail(format string, args ...any) error {
	return &ModelError{m.Source.Path, fmt.Sprintf(format, args...)}
}

// OpenData loads the data set that the model was trained on, and selects and normalises
// it as in training. The argument dir is that of dataset.Open; for a data set that
// dataset.Open does not know by name, it is the folder or archive itself. The error is a
// *DataError if the pictures cannot be found or are not those that the model was trained on, a
// *ModelError
// if the model does not record what it was trained on, or one of dataset.Open.
func (m *Model) OpenData(dir string) (*dataset.Data, error) {
	name := m.Data.Name
	if name == "" {
		return nil, m.fail("it does not record what data it was trained on")
	}
	if !slices.Contains(dataset.Names(), name) {
		if dir == "" {
			return nil, &DataError{m.Source.Path, "it was trained on pictures from a folder or archive, and the file does not record where it is: give its path"}
		}
		name = dir
	}
	data, err := dataset.Open(name, dir)
	if err != nil {
		return nil, err
	}
	if data, err = selectData(data, m.Data.Selection); err != nil {
		var e *config.Error
		if errors.As(err, &e) {
			return nil, &DataError{m.Source.Path, e.Reason}
		}
		return nil, err
	}
	if m.Data.Digest != "" && data.Digest != m.Data.Digest {
		return nil, &DataError{m.Source.Path, fmt.Sprintf("it was trained on other pictures: those of %s have the SHA-256 %.12s…, want %.12s…",
			data.Name, data.Digest, m.Data.Digest)}
	}
	return m.Normalised(data), nil
}

// Normalised returns data with the mean and standard deviation that the model's
// preprocessing uses, or data itself if the model does not have its own.
func (m *Model) Normalised(data *dataset.Data) *dataset.Data {
	if m.Preprocessing.Mean == nil {
		return data
	}
	normalised := *data
	normalised.Mean, normalised.Std = m.Preprocessing.Mean, m.Preprocessing.Std
	return &normalised
}
