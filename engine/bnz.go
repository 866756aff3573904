package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"bnkit/checkpoint"
	"bnkit/checkpoint/durable"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// This file converts models to .bnz files and back. It translates the headers, and
// tensors.go the tensors. state.go writes a run's ckpt.bnz and resume.bnz. resume.bnz also holds
// the run's progress, which state.go and package rundir interpret.

// LoadModel reads a model from a checkpoint or a resume state. Running statistics in the
// file become the model's Stored statistics. The error is a *ModelError if the header is not
// that of a valid model or does not match the tensors in the file, a *MemoryError if loading
// would take more than DefaultMaxMemory, or an error of package checkpoint if the file is
// damaged.
func LoadModel(path string) (*Model, error) { return LoadModelContext(context.Background(), path, 0) }

// LoadModelContext is LoadModel with a limit for the memory that the model takes, in bytes.
// The limit becomes the model's MaxMemory; 0 stands for DefaultMaxMemory. Weights that the file
// does not store are drawn from the seed, which may take minutes in a large network; the error
// wraps ctx's if ctx is cancelled meanwhile.
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

// newModel returns the model in a file.
func newModel(file *checkpoint.File) (*Model, error) {
	m, set, err := describedModel(&file.Header)
	if err != nil {
		return nil, err
	}
	return m, m.fill(context.Background(), file, set)
}

// listedSlack is the number of bytes by which the tensors of a file may exceed those of its
// network. It leaves room for a tensor of a wrong shape, so that a later check can name it.
const listedSlack = 1 << 20

// checkListed returns an error if a file lists more bytes of tensors than its network has. It
// is called before the tensors are read. Unknown sections are skipped and take no memory.
func checkListed(info *checkpoint.Info, net *arch.Network, set arch.TrainableSet) error {
	listed := int64(0)
	for i := range info.Sections {
		if s := &info.Sections[i]; s.Known() {
			listed += s.Bytes()
		}
	}
	limit := int64(4 * set.Parameters(net))
	if info.Header.State != nil {
		limit += 2 * limit                     // moments of the optimizer
		limit += 8 * int64(len(net.Tensors())) // sums of gradients
	}
	for i := range net.Units {
		if net.Units[i].BN != "" {
			limit += 2 * 8 * int64(net.Units[i].OutShape.C) // statistics
		}
	}
	if listed > limit+listedSlack {
		return fmt.Errorf("it lists %d bytes of tensors, but %s with trainable set %s has at most %d", listed, net.Name, set, limit)
	}
	return nil
}

// fill sets the parameters and statistics of m, a model that describedModel returned, to
// those of its file, which stores the tensors of set.
func (m *Model) fill(ctx context.Context, file *checkpoint.File, set arch.TrainableSet) error {
	h, net, stored := &file.Header, m.Network, newStoredTensors(file)
	// The trained tensors are checked before the weights of the network are allocated.
	values, err := stored.takeTrained(net, set)
	if err != nil {
		return err
	}
	// A network without BatchNorm has no statistics to store.
	if stored.hasSection(checkpoint.SectionStats) || !net.HasBN() {
		if m.Stored, err = stored.takeStatistics(net); err != nil {
			return err
		}
	}
	if h.State == nil {
		if err := stored.checkEmpty(); err != nil {
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

// keptOf checks a header's lists of pruned channels and returns the matching Model.Kept.
func keptOf(pruned map[string][]int, m *Model) ([][]int, error) {
	if len(pruned) == 0 {
		return nil, nil
	}
	kept, found := make([][]int, len(m.Network.Units)), 0
	for i := range m.Network.Units {
		u := &m.Network.Units[i]
		channels, listed := pruned[u.BN]
		if u.BN == "" || !listed {
			continue
		}
		for j, c := range channels {
			if c < 0 || c >= u.OutShape.C || j > 0 && c <= channels[j-1] {
				return nil, fmt.Errorf("it lists channels %v of %s as pruned; they must ascend and be from 0 to %d", channels, u.BN, u.OutShape.C-1)
			}
		}
		kept[i] = complement(u.OutShape.C, channels)
		found++
	}
	if found != len(pruned) {
		return nil, fmt.Errorf("it lists pruned channels of %d BatchNorms, but its network has only %d of them", len(pruned), found)
	}
	return kept, nn.CheckKept(m.Network, m.Params, kept)
}

// Pruned returns the channels that Kept leaves out, in ascending order, by the name of
// their BatchNorm. It is nil if there are none.
func (m *Model) Pruned() map[string][]int {
	var pruned map[string][]int
	for i, kept := range m.Kept {
		u := &m.Network.Units[i]
		channels := complement(u.OutShape.C, kept)
		if kept == nil || len(channels) == 0 {
			continue
		}
		if pruned == nil {
			pruned = map[string][]int{}
		}
		pruned[u.BN] = channels
	}
	return pruned
}

// complement returns the numbers from 0 to n-1 that are not in excluded, which must ascend.
func complement(n int, excluded []int) []int {
	rest := []int{}
	for c := range n {
		if _, found := slices.BinarySearch(excluded, c); !found {
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
	net, err := describedNetwork(h, set)
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
		Config:        h.Config,
	}
	if d := &h.Data; d.Name != "" {
		m.Data = DataSet{Name: d.Name, Digest: d.Digest, Selection: dataset.Selection{
			Seed: h.Seed, Validation: d.Validation, Subset: d.Subset, SubsetPerClass: d.SubsetPerClass, RandomLabels: d.RandomLabels,
			ImageSize: d.ImageSize, Crop: dataset.Crop(d.Crop),
		}}
	}
	if h.Network != nil {
		if m.Origins = h.Network.Origins; m.Origins != nil {
			if err := checkOrigins(net, m.Origins); err != nil {
				return nil, "", err
			}
		}
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
	m.Origin = &Origin{Trainable: set, Seed: h.Seed, Initialisers: in}
	return m, set, in.Check()
}

// describedNetwork returns the network that a header names or describes.
func describedNetwork(h *checkpoint.Header, set arch.TrainableSet) (*arch.Network, error) {
	input := arch.Shape{C: h.Input[0], H: h.Input[1], W: h.Input[2]}
	if h.Network == nil {
		return arch.Build(h.Arch, arch.Options{Input: input, Classes: h.Classes, Shortcut: arch.Shortcut(h.Shortcut), Variants: arch.Variants(h.Variants)})
	}
	if h.Arch != "" || set != arch.All {
		return nil, fmt.Errorf("it describes a network unit by unit, so it must store all tensors and name no other network, but its arch is %q and its trainable set %s", h.Arch, set)
	}
	return arch.ParseDescription(h.Network.Name, h.Network.Units, input, h.Classes)
}

// generator is the name of package rng's generator.
const generator = "philox4x32-10"

// maxUnstored is the largest number of parameters that a network may have if its file stores
// no tensor of some unit. They take 1 GiB.
const maxUnstored = 1 << 28

// checkUnstored rejects a network of more than maxUnstored parameters if its file, which stores
// only the tensors that set trains, stores no tensor of some unit. Such units do not make the
// file larger, so that a small file could fill the memory.
func checkUnstored(net *arch.Network, set arch.TrainableSet) error {
	drawn := make([]bool, len(net.Units)+1) // whether all tensors of a unit are drawn; the output layer comes last
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
		return fmt.Errorf("%s has %d parameters, but with trainable set %s the file stores no tensor of some layers; such a network can have at most %d", net.Name, total, set, maxUnstored)
	}
	return nil
}

// Save writes the model to path as a .bnz file, atomically and durably, and sets Source to
// that file. The error is one that File, checkpoint.Encode or durable.WriteFile returns.
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
// there are any. If arch.Build cannot make the network from its name, the file describes it
// unit by unit.
// If all parameters are stored, those of removed channels are left out: the file then
// describes the network that Compact returns.
// The error is a *ModelError if the format cannot hold the model, for example because only
// some tensors of a network that is described unit by unit were trained.
func (m *Model) File() (*checkpoint.File, error) {
	if m.Kept != nil && m.stored() == arch.All {
		sliced, err := m.compactForFile()
		if err != nil {
			return nil, err
		}
		m = sliced
	}
	return m.file()
}

// stored returns the set of tensors that a file of the model stores.
func (m *Model) stored() arch.TrainableSet {
	if m.Origin == nil {
		return arch.All
	}
	return m.Origin.Trainable
}

// file returns the content of a file that stores the model without compacting it.
func (m *Model) file() (*checkpoint.File, error) {
	net, set := m.Network, m.stored()
	named := isNamed(net)
	if !named && set != arch.All {
		return nil, m.fail("its network cannot be built from a name, so a .bnz file must store all tensors, not only trainable set %s", set)
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
	if !named {
		units, err := net.Description()
		if err != nil {
			return nil, err
		}
		h := &f.Header
		h.Network = &checkpoint.Network{Name: net.Name, Units: units, Origins: m.Origins}
		h.Arch, h.Shortcut, h.Variants = "", "", checkpoint.Variants{}
	}
	f.Tensors = trainedTensors(nn.NewTrained(net, m.Params, set, m.seed()).Params)
	if m.Stored != nil {
		f.Tensors = append(f.Tensors, statisticsTensors(net, m.Stored)...)
	}
	return f, nil
}

// isNamed reports whether arch.Build makes the network from its name and options.
func isNamed(net *arch.Network) bool {
	named, err := arch.Build(net.Name, net.Options)
	return err == nil && reflect.DeepEqual(named.Units, net.Units) && named.Input == net.Input && named.Classes == net.Classes
}

// header returns the header of the model's file, in which the network is given by its name.
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
		Config:        m.Config,
	}
	if sel.ImageSize > 0 {
		h.Data.Crop = string(sel.Crop)
	}
	if origin := m.Origin; origin != nil {
		in := origin.Initialisers
		h.Seed, h.Trainable = origin.Seed, string(origin.Trainable)
		h.Initialisers = checkpoint.Initialisers{Generator: generator, Weights: in.Weights, Gamma: in.Gamma, Beta: in.Beta}
	}
	for _, e := range m.History {
		h.Provenance = append(h.Provenance, checkpoint.Event(e))
	}
	return h
}

// trainAction is the Event.Action of a run. The event's parameters are trainParameters.
const trainAction = "train"

// trainParameters holds the parameters of the event "train" in a file's provenance.
type trainParameters struct {
	Epochs int    `json:"epochs"`                // complete epochs; the run's settings may ask for more
	From   string `json:"from_sha256,omitempty"` // SHA-256 of the file that the run started from; missing for a new network

	// Rollbacks is the number of times that the run diverged and went back to an earlier
	// epoch with half the learning rate.
	Rollbacks int `json:"rollbacks,omitempty"`
}

// ModelInfo describes the model of a .bnz file, from the file's header alone.
type ModelInfo struct {
	Network *arch.Network
	Data    DataSet
	Origin  *Origin // as that of the Model
	Bytes   int64   // size of the file
}

// ReadModelInfo reads the header of the .bnz file at path. The error is a *ModelError if the
// header does not describe a valid model, or an error of package checkpoint if the header
// cannot be read.
func ReadModelInfo(path string) (*ModelInfo, error) {
	file, err := checkpoint.ReadInfo(path)
	if err != nil {
		return nil, err
	}
	m, _, err := describedModel(&file.Header)
	if err != nil {
		return nil, &ModelError{path, err.Error()}
	}
	return &ModelInfo{Network: m.Network, Data: m.Data, Origin: m.Origin, Bytes: file.FileSize}, nil
}
