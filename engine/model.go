package engine

import (
	"errors"
	"fmt"
	"slices"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// Model is a network with its weights: what was trained as a checkpoint
// stores it, everything else regenerated from the seed.
type Model struct {
	Network *arch.Network
	Params  *nn.Params[float32]
	Stored  *nn.Statistics // the checkpoint's statistics; nil where it has none
	Header  checkpoint.Header
	Path    string // of the file it was loaded from
}

// LoadModel reads a checkpoint (or a resume state, whose running statistics
// then are the Stored ones). Its tensors must be exactly those that the
// network it names trains: the error is a *ModelError where they are not, and
// one of checkpoint's where the file itself is damaged.
func LoadModel(path string) (*Model, error) {
	file, err := checkpoint.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := newModel(file, path)
	if err != nil {
		return nil, &ModelError{path, err.Error()}
	}
	return m, nil
}

func newModel(file *checkpoint.File, path string) (*Model, error) {
	h := &file.Header
	net, set, err := headerNetwork(h)
	if err != nil {
		return nil, err
	}
	stored := newStoredTensors(file)
	m := &Model{Network: net, Header: *h, Path: path}
	// Every tensor is checked before the network's weights are allocated: a
	// file asks for no more memory than its own tensors vouch for.
	values, err := stored.trained(net, set)
	if err != nil {
		return nil, err
	}
	// A network without BatchNorm needs no statistics: it has them all.
	if stored.has(checkpoint.SectionStats) || !net.HasBN() {
		if m.Stored, err = stored.statistics(net); err != nil {
			return nil, err
		}
	}
	if h.State == nil {
		if err := stored.end(); err != nil {
			return nil, err
		}
	}
	m.Params = nn.NewParams[float32](net, nil)
	m.Params.Initialise(h.Seed)
	for i, v := range values {
		copy(m.Params.Values[i], v)
	}
	return m, nil
}

// initialisers are how nn.InitialValue draws what a checkpoint does not store.
var initialisers = checkpoint.Initialisers{Generator: "philox4x32-10", Weights: "he-normal", Gamma: "uniform", Beta: "zero"}

// headerNetwork builds the network that a header describes.
func headerNetwork(h *checkpoint.Header) (*arch.Network, arch.TrainableSet, error) {
	if h.Initialisers != initialisers {
		return nil, "", fmt.Errorf("its weights were drawn by %+v, this version draws them by %+v", h.Initialisers, initialisers)
	}
	set, err := arch.ParseTrainableSet(h.Trainable)
	if err != nil {
		return nil, "", err
	}
	net, err := arch.Build(h.Arch, arch.Options{
		Input: arch.Shape{C: h.Input[0], H: h.Input[1], W: h.Input[2]}, Classes: h.Classes, Shortcut: arch.Shortcut(h.Shortcut),
		Stem: arch.Stem(h.Stem), BN: h.BN, BNEvery: h.BNEvery, NoScale: h.NoScale, NoShift: h.NoShift,
	})
	return net, set, err
}

// File is the checkpoint that stores the model as it now is: its header,
// copies of γ, β and whatever else was trained, and the Stored statistics
// where there are any. Who changes γ or β takes care that Stored is set anew
// or nil.
func (m *Model) File() *checkpoint.File {
	f := &checkpoint.File{Header: m.Header}
	f.Tensors = trainedTensors(m.Params, arch.TrainableSet(m.Header.Trainable))
	if m.Stored != nil {
		f.Tensors = append(f.Tensors, statisticsTensors(m.Network, m.Stored)...)
	}
	return f
}

// OpenData loads the data set that the model was trained on, its subset
// included. Dir is as dataset.Open takes it; for data without a name of its
// own it is the folder or archive itself. Pictures other than those trained on
// are refused with a *ModelError.
func (m *Model) OpenData(dir string) (*dataset.Data, error) {
	name := m.Header.Data.Name
	if !slices.Contains(dataset.Names(), name) {
		if dir == "" {
			return nil, &ModelError{m.Path, "it was trained on a data set of your own: name its folder with --data-dir"}
		}
		name = dir
	}
	data, err := dataset.Open(name, dir)
	if err != nil {
		return nil, err
	}
	if data, err = subset(data, m.Header.Data.Subset); err != nil {
		var e *ConfigError
		errors.As(err, &e)
		return nil, &ModelError{m.Path, e.Reason}
	}
	if data.Digest != m.Header.Data.Digest {
		return nil, &ModelError{m.Path, fmt.Sprintf("it was trained on other pictures than those found as %s (SHA-256 %.12s, not %.12s); name the right folder with --data-dir",
			data.Name, data.Digest, m.Header.Data.Digest)}
	}
	return data, nil
}
