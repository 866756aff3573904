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
	in, err := drawnInitialisers(h)
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
	if err := vouched(net, set); err != nil {
		return nil, err
	}
	m.Params = nn.NewParams[float32](net, nil)
	m.Params.InitialiseBy(in, h.Seed)
	trained := nn.NewTrained(net, m.Params, set, h.Seed)
	for i, v := range values {
		copy(trained.Values[i], v)
	}
	trained.Scatter()
	return m, nil
}

// maxUnvouched bounds the parameters of a network that a file names without
// storing a tensor of each of its units: 1 GB of them.
const maxUnvouched = 1 << 28

// vouched refuses a network that takes far more memory than a file whose
// tensors, those that set trains, are all there can be trusted with.
func vouched(net *arch.Network, set arch.TrainableSet) error {
	drawn := make([]bool, len(net.Units)+1) // all of a unit's tensors
	total := 0
	for _, x := range net.Tensors() {
		total += x.Len()
		drawn[x.Unit] = true
	}
	for _, x := range net.Tensors() {
		if set.Trains(&x) {
			drawn[x.Unit] = false
		}
	}
	if total > maxUnvouched && slices.Contains(drawn[:len(net.Units)], true) {
		return fmt.Errorf("%s has %d parameters, of which it stores next to none (trainable set %s); at most %d are possible so", net.Name, total, set, maxUnvouched)
	}
	return nil
}

// generator is what package rng draws with.
const generator = "philox4x32-10"

// headerInitialisers is how a header names initialisers.
func headerInitialisers(in nn.Initialisers) checkpoint.Initialisers {
	return checkpoint.Initialisers{Generator: generator, Weights: in.Weights, Gamma: in.Gamma, Beta: in.Beta}
}

// drawnInitialisers are a header's, if this version can draw by them.
func drawnInitialisers(h *checkpoint.Header) (nn.Initialisers, error) {
	in := nn.Initialisers{Weights: h.Initialisers.Weights, Gamma: h.Initialisers.Gamma, Beta: h.Initialisers.Beta}
	if h.Initialisers.Generator != generator {
		return in, fmt.Errorf("its weights were drawn by %q, this version draws by %s", h.Initialisers.Generator, generator)
	}
	return in, in.Check()
}

// headerNetwork builds the network that a header describes.
func headerNetwork(h *checkpoint.Header) (*arch.Network, arch.TrainableSet, error) {
	set, err := arch.ParseTrainableSet(h.Trainable)
	if err != nil {
		return nil, "", err
	}
	net, err := arch.Build(h.Arch, arch.Options{
		Input: arch.Shape{C: h.Input[0], H: h.Input[1], W: h.Input[2]}, Classes: h.Classes, Shortcut: arch.Shortcut(h.Shortcut),
		Stem: arch.Stem(h.Stem), Width: h.Width, BN: h.BN, BNEvery: h.BNEvery, NoScale: h.NoScale, NoShift: h.NoShift,
	})
	return net, set, err
}

// File is the checkpoint that stores the model as it now is: its header,
// copies of γ, β and whatever else was trained, and the Stored statistics
// where there are any. Who changes γ or β takes care that Stored is set anew
// or nil.
func (m *Model) File() *checkpoint.File {
	f := &checkpoint.File{Header: m.Header}
	trained := nn.NewTrained(m.Network, m.Params, arch.TrainableSet(m.Header.Trainable), m.Header.Seed)
	f.Tensors = trainedTensors(trained.Params)
	if m.Stored != nil {
		f.Tensors = append(f.Tensors, statisticsTensors(m.Network, m.Stored)...)
	}
	return f
}

// OpenData loads the data set that the model was trained on, as its training
// selected it, to be normalised as it was then. Dir is as dataset.Open takes it; for data without a name of its
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
	if data, err = selected(data, selection(&m.Header)); err != nil {
		var e *ConfigError
		errors.As(err, &e)
		return nil, &ModelError{m.Path, e.Reason}
	}
	if data.Digest != m.Header.Data.Digest {
		return nil, &ModelError{m.Path, fmt.Sprintf("it was trained on other pictures than those found as %s (SHA-256 %.12s, not %.12s); name the right folder with --data-dir",
			data.Name, data.Digest, m.Header.Data.Digest)}
	}
	known := *data
	known.Mean, known.Std = m.Header.Normalisation.Mean, m.Header.Normalisation.Std
	if _, err := newTestLoader(&known, known.Test); err != nil {
		return nil, &ModelError{m.Path, err.Error()}
	}
	return &known, nil
}

// HeaderNetwork builds the network that a checkpoint's header describes,
// without weights. The error says what in it this version cannot build.
func HeaderNetwork(h *checkpoint.Header) (*arch.Network, error) {
	net, _, err := headerNetwork(h)
	return net, err
}
