package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"bnkit/checkpoint"
	"bnkit/checkpoint/durable"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// This file converts models to .bnz files and back: their headers here, their tensors by
// tensors.go. A run writes ckpt.bnz and resume.bnz in state.go, with headers from
// newHeader; resume.bnz also holds the run's progress, which only state.go and package
// rundir read.

// LoadModel reads a checkpoint, or a resume state, whose running statistics become the
// model's Stored ones. The error is a *ModelError if the tensors are not exactly those that
// the named network trains, a *MemoryError if it would take more than DefaultMaxMemory, or
// an error of package checkpoint if the file is damaged.
func LoadModel(path string) (*Model, error) { return LoadModelContext(context.Background(), path, 0) }

// LoadModelContext is LoadModel with a limit for the memory that the model takes, in bytes,
// which becomes the model's MaxMemory; 0 stands for DefaultMaxMemory. It returns ctx's error
// if ctx is cancelled. To draw the weights of a large network may take minutes.
func LoadModelContext(ctx context.Context, path string, maxMemory int64) (*Model, error) {
	r, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	m, set, err := describedModel(&r.Info.Header)
	if err == nil {
		err = checkListed(r.Info, m.Network, set)
	}
	if err == nil {
		err = checkUnstored(m.Network, set)
	}
	if err != nil {
		return nil, &ModelError{path, err.Error()}
	}
	m.MaxMemory = maxMemory
	stored := float64(r.Info.FileSize) + float64(r.Info.DataSize)
	if err := checkMemory("reading "+path, stored, maxMemory); err != nil {
		return nil, err
	}
	file, err := r.Read()
	if err != nil {
		return nil, err
	}
	if err := m.fill(ctx, file, set); err != nil {
		var memory *MemoryError
		if ctx.Err() != nil || errors.As(err, &memory) {
			return nil, fmt.Errorf("load %s: %w", path, err)
		}
		return nil, &ModelError{path, err.Error()}
	}
	m.Source = Source{path, file.SHA256, file.Size}
	return m, nil
}

// listedSlack is how many more bytes of tensors than its network has a file may list. It
// leaves room for a tensor of a wrong shape, which a later error names.
const listedSlack = 1 << 20

// checkListed returns an error if a file lists more bytes of tensors than its network has, so
// that they are not read. Sections that this version does not know take no memory.
func checkListed(info *checkpoint.Info, net *arch.Network, set arch.TrainableSet) error {
	listed := int64(0)
	for i := range info.Sections {
		if s := &info.Sections[i]; s.Known() {
			listed += s.Bytes()
		}
	}
	most := int64(4 * set.Parameters(net))
	if info.Header.State != nil {
		most += 2 * most                      // moments of the optimizer
		most += 8 * int64(len(net.Tensors())) // sums of gradients
	}
	for i := range net.Units {
		if net.Units[i].BN != "" {
			most += 2 * 8 * int64(net.Units[i].OutShape.C) // statistics
		}
	}
	if listed > most+listedSlack {
		return fmt.Errorf("it lists %d bytes of tensors, but %s with trainable set %s has at most %d", listed, net.Name, set, most)
	}
	return nil
}

// fill sets the parameters and statistics of a described model to those of its file, which
// stores the tensors of set.
func (m *Model) fill(ctx context.Context, file *checkpoint.File, set arch.TrainableSet) error {
	h, net, stored := &file.Header, m.Network, newStoredTensors(file)
	// All tensors are checked before the weights of the network are allocated.
	values, err := stored.trained(net, set)
	if err != nil {
		return err
	}
	// A network without BatchNorm has no statistics to store.
	if stored.has(checkpoint.SectionStats) || !net.HasBN() {
		if m.Stored, err = stored.statistics(net); err != nil {
			return err
		}
	}
	if h.State == nil {
		if err := stored.end(); err != nil {
			return err
		}
	}
	need := float64(file.Size) + loadingBytes(net, h.Initialisers.Weights)
	if err := checkMemory("the network "+net.Name, need, m.MaxMemory); err != nil {
		return err
	}
	m.Params = nn.NewParams[float32](net, nil)
	if m.Origin != nil {
		if err := m.Params.InitialiseContext(ctx, m.Origin.Initialisers, m.Origin.Seed); err != nil {
			return err
		}
	}
	trained := nn.NewTrained(net, m.Params, set, h.Seed)
	for i, v := range values {
		copy(trained.Values[i], v)
	}
	trained.Scatter()
	m.Kept, err = keptOf(h.Pruned, m)
	return err
}

// keptOf checks a header's lists of pruned channels and returns the Model.Kept for them.
func keptOf(pruned map[string][]int, m *Model) ([][]int, error) {
	if len(pruned) == 0 {
		return nil, nil
	}
	kept, found := make([][]int, len(m.Network.Units)), 0
	for i := range m.Network.Units {
		u := &m.Network.Units[i]
		held, listed := pruned[u.BN]
		if u.BN == "" || !listed {
			continue
		}
		for at, c := range held {
			if c < 0 || c >= u.OutShape.C || at > 0 && c <= held[at-1] {
				return nil, fmt.Errorf("it lists channels %v of %s as pruned; they must ascend and be from 0 to %d", held, u.BN, u.OutShape.C-1)
			}
		}
		kept[i] = without(u.OutShape.C, held)
		found++
	}
	if found != len(pruned) {
		return nil, fmt.Errorf("it lists pruned channels of %d BatchNorms, of which its network has %d", len(pruned), found)
	}
	return kept, nn.CheckKept(m.Network, m.Params, kept)
}

// Pruned returns the channels that Kept leaves out, in ascending order, by the name of
// their BatchNorm. It is nil if there are none.
func (m *Model) Pruned() map[string][]int {
	var pruned map[string][]int
	for i, kept := range m.Kept {
		u := &m.Network.Units[i]
		held := without(u.OutShape.C, kept)
		if kept == nil || len(held) == 0 {
			continue
		}
		if pruned == nil {
			pruned = map[string][]int{}
		}
		pruned[u.BN] = held
	}
	return pruned
}

// without returns the numbers from 0 to n-1 that are not in out, which must ascend.
func without(n int, out []int) []int {
	rest := []int{}
	for c := range n {
		if _, found := slices.BinarySearch(out, c); !found {
			rest = append(rest, c)
		}
	}
	return rest
}

// describedModel returns the model that a header describes, without its tensors, and the
// set of tensors that the file stores.
func describedModel(h *checkpoint.Header) (*Model, arch.TrainableSet, error) {
	set, err := arch.ParseTrainableSet(h.Trainable)
	if err != nil {
		return nil, "", err
	}
	net, err := arch.Build(h.Arch, arch.Options{
		Input: arch.Shape{C: h.Input[0], H: h.Input[1], W: h.Input[2]}, Classes: h.Classes, Shortcut: arch.Shortcut(h.Shortcut),
		Variants: arch.Variants(h.Variants),
	})
	if err != nil {
		return nil, "", err
	}
	if err := checkNormalisation(&h.Normalisation, net.Input); err != nil {
		return nil, "", err
	}
	m := &Model{
		Network:       net,
		Preprocessing: Preprocessing(h.Normalisation),
		Estimation:    Estimation(h.Statistics),
	}
	if d := &h.Data; d.Name != "" {
		m.Data = DataSet{Name: d.Name, Digest: d.Digest, Selection: dataset.Selection{
			Seed: h.Seed, Validation: d.Validation, Subset: d.Subset, SubsetPerClass: d.SubsetPerClass, RandomLabels: d.RandomLabels,
			ImageSize: d.ImageSize, Crop: dataset.Crop(d.Crop),
		}}
	}
	for _, e := range h.Provenance {
		m.History = append(m.History, Event(e))
	}
	if set == arch.All && h.Initialisers == (checkpoint.Initialisers{}) {
		return m, set, nil
	}
	if g := h.Initialisers.Generator; g != generator {
		return nil, "", fmt.Errorf("its weights were drawn by %q, but this version can only draw by %s", g, generator)
	}
	in := nn.Initialisers{Weights: h.Initialisers.Weights, Gamma: h.Initialisers.Gamma, Beta: h.Initialisers.Beta}
	m.Origin = &Origin{Trainable: set, Seed: h.Seed, Initialisers: in, Config: h.Config}
	return m, set, in.Check()
}

// generator is the name of package rng's generator.
const generator = "philox4x32-10"

// maxUnstored bounds the number of parameters of a network if the file does not store a
// tensor of every unit: 1 GB.
const maxUnstored = 1 << 28

// checkUnstored rejects a network that is far larger than a file that stores only the
// tensors that set trains, so that a small file cannot fill the memory.
func checkUnstored(net *arch.Network, set arch.TrainableSet) error {
	drawn := make([]bool, len(net.Units)+1) // whether all tensors of a unit are drawn
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
	if total > maxUnstored && slices.Contains(drawn[:len(net.Units)], true) {
		return fmt.Errorf("%s has %d parameters, of which the file stores hardly any (trainable set %s); at most %d are possible then", net.Name, total, set, maxUnstored)
	}
	return nil
}

// Save writes the model to path as a .bnz file, atomically and durably, and sets Source to
// that file. The error is one of File or of the file system.
func (m *Model) Save(path string) error {
	f, err := m.File()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := checkpoint.Encode(&b, f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := durable.WriteFile(path, b.Bytes()); err != nil {
		return err
	}
	sum := sha256.Sum256(b.Bytes())
	m.Source = Source{path, hex.EncodeToString(sum[:]), int64(b.Len())}
	return nil
}

// File returns the content of a .bnz file that stores the model: copies of the trained
// tensors (of all parameters if the Origin is not known), and the Stored statistics if
// there are any. The error is a *ModelError if the format cannot hold the model, for
// example because its network has no name.
func (m *Model) File() (*checkpoint.File, error) {
	net, set := m.Network, arch.All
	if m.Origin != nil {
		set = m.Origin.Trainable
	}
	named, err := arch.Build(net.Name, net.Options)
	if err != nil || !reflect.DeepEqual(named.Units, net.Units) || named.Input != net.Input || named.Classes != net.Classes {
		return nil, m.fail("its network has no name, so that a .bnz file cannot hold it")
	}
	if m.Origin != nil && m.Data.Name != "" && m.Data.Selection.Seed != m.Origin.Seed {
		return nil, m.fail("its pictures were selected by seed %d and its weights drawn by seed %d, but a .bnz file can only hold one seed", m.Data.Selection.Seed, m.Origin.Seed)
	}
	if m.Kept != nil {
		if err := nn.CheckKept(net, m.Params, m.Kept); err != nil {
			return nil, m.fail("%v", err)
		}
	}
	f := &checkpoint.File{Header: m.header()}
	f.Tensors = trainedTensors(nn.NewTrained(net, m.Params, set, m.seed()).Params)
	if m.Stored != nil {
		f.Tensors = append(f.Tensors, statisticsTensors(net, m.Stored)...)
	}
	return f, nil
}

// header returns the header of the model's file.
func (m *Model) header() checkpoint.Header {
	net, o := m.Network, &m.Network.Options
	sel := &m.Data.Selection
	h := checkpoint.Header{
		Arch: net.Name, Shortcut: string(o.Shortcut), Input: [3]int{net.Input.C, net.Input.H, net.Input.W}, Classes: net.Classes,
		Variants: checkpoint.Variants(o.Variants),
		Seed:     sel.Seed, Trainable: string(arch.All),
		Data: checkpoint.DataSet{
			Name: m.Data.Name, Digest: m.Data.Digest,
			Subset: sel.Subset, SubsetPerClass: sel.SubsetPerClass, Validation: sel.Validation, RandomLabels: sel.RandomLabels,
			ImageSize: sel.ImageSize,
		},
		Normalisation: checkpoint.Normalisation(m.Preprocessing),
		Statistics:    checkpoint.Statistics(m.Estimation),
		Pruned:        m.Pruned(),
	}
	if sel.ImageSize > 0 {
		h.Data.Crop = string(sel.Crop)
	}
	if origin := m.Origin; origin != nil {
		in := origin.Initialisers
		h.Seed, h.Trainable, h.Config = origin.Seed, string(origin.Trainable), origin.Config
		h.Initialisers = checkpoint.Initialisers{Generator: generator, Weights: in.Weights, Gamma: in.Gamma, Beta: in.Beta}
	}
	for _, e := range m.History {
		h.Provenance = append(h.Provenance, checkpoint.Event(e))
	}
	return h
}

// training is the parameters of the event "train" in a file's provenance.
type training struct {
	Epochs int `json:"epochs"` // complete; the run's settings may ask for more
}

// newHeader returns the header of a run's checkpoint or state after the given number of
// epochs.
func newHeader(cfg *config.Config, net *arch.Network, data *dataset.Data, epochs int) (checkpoint.Header, error) {
	settings, err := json.Marshal(cfg)
	if err != nil {
		return checkpoint.Header{}, err
	}
	parameters, err := json.Marshal(training{epochs})
	if err != nil {
		return checkpoint.Header{}, err
	}
	m := Model{
		Network:       net,
		Preprocessing: Preprocessing{Mean: data.Mean, Std: data.Std, Eps: cfg.BNEps},
		Estimation:    newEstimation(cfg.Seed, data.Train.Len()),
		Data:          DataSet{Name: data.Name, Digest: data.Digest, Selection: cfg.Selection()},
		Origin:        &Origin{Trainable: arch.TrainableSet(cfg.Trainable), Seed: cfg.Seed, Initialisers: cfg.Initialisers(), Config: settings},
		History:       []Event{{Action: "train", Tool: "bnkit", Parameters: parameters}},
	}
	return m.header(), nil
}

// ModelInfo describes the model of a .bnz file by the file's header.
type ModelInfo struct {
	Network *arch.Network
	Data    DataSet
	Trained int   // number of parameters that were trained
	Bytes   int64 // of the file
}

// ReadModelInfo reads the header of the .bnz file at path. Errors are as LoadModel's.
func ReadModelInfo(path string) (*ModelInfo, error) {
	file, err := checkpoint.ReadInfo(path)
	if err != nil {
		return nil, err
	}
	m, set, err := describedModel(&file.Header)
	if err != nil {
		return nil, &ModelError{path, err.Error()}
	}
	return &ModelInfo{Network: m.Network, Data: m.Data, Trained: set.Parameters(m.Network), Bytes: file.FileSize}, nil
}
