// Package prune removes what a network does not need: so far by clamping
// small γ to zero, so that a channel passes on nothing but its β.
package prune

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"bnkit/checkpoint"
	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
)

// Options say what is pruned.
type Options struct {
	Threshold float64 // γ with |γ| below it become 0
	ZeroBeta  bool    // β of those channels becomes 0 too; otherwise it is kept, as in Frankle et al. 2021, section 5
	Threads   int     // 0: as many as there are processors; changes no result
}

// OptionError says which option cannot be used.
type OptionError struct{ Reason string }

func (e *OptionError) Error() string { return e.Reason }

// Result is what a pruning did and what it cost. Accuracies are over the
// whole test split, in inference mode with statistics re-estimated for the
// network before and after.
type Result struct {
	Threshold float64           `json:"threshold"`
	Beta      string            `json:"beta"` // of clamped channels: "kept" or "zeroed"
	Clamped   int               `json:"clamped"`
	Channels  int               `json:"channels"`
	Layers    []Layer           `json:"layers"` // a BatchNorm each, in the network's order
	Before    engine.Evaluation `json:"before"`
	After     engine.Evaluation `json:"after"`

	// Bytes of the file before and after. Clamped γ are still stored, as zeros,
	// which compress.
	BytesBefore int `json:"bytes_before"`
	BytesAfter  int `json:"bytes_after"`

	// File is the pruned network, ready to be written. Running statistics that
	// the source stored are replaced by re-estimated ones.
	File *checkpoint.File `json:"-"`
}

// Layer is what happened to one BatchNorm.
type Layer struct {
	Name     string `json:"name"`
	Channels int    `json:"channels"`
	Clamped  int    `json:"clamped"`
}

// event is what a pruned file's provenance says of it.
type event struct {
	Threshold float64 `json:"threshold"`
	Beta      string  `json:"beta"`
	Clamped   int     `json:"clamped"`
	Source    string  `json:"source_sha256"` // of the file that was pruned
}

// Prune clamps small γ of the model that was loaded from m.Path, and measures
// it before and after on data, as m.OpenData returns it. It writes nothing,
// and m is as it was when it returns. The error is an *OptionError for a
// threshold that cannot be used, and for a model whose file would not store
// what is clamped, as its run did not train it.
func Prune(ctx context.Context, m *engine.Model, data *dataset.Data, o Options) (*Result, error) {
	if !(o.Threshold > 0) || math.IsInf(o.Threshold, 0) {
		return nil, &OptionError{fmt.Sprintf("threshold %v; use a positive number, e.g. 0.01", o.Threshold)}
	}
	if arch.GammaOnly.Parameters(m.Network) == 0 {
		return nil, &engine.ModelError{Path: m.Path, Reason: "it has no γ to clamp"}
	}
	if err := o.storable(m); err != nil {
		return nil, err
	}
	evaluator, err := m.Evaluator(data, o.Threads)
	if err != nil {
		return nil, err
	}
	defer evaluator.Close()
	r := &Result{Threshold: o.Threshold, Beta: "kept"}
	if o.ZeroBeta {
		r.Beta = "zeroed"
	}
	source, size, err := digest(m.Path)
	if err != nil {
		return nil, err
	}
	r.BytesBefore = size
	stats, err := evaluator.Reestimate(ctx)
	if err != nil {
		return nil, err
	}
	if r.Before, err = evaluator.Evaluate(ctx, stats); err != nil {
		return nil, err
	}

	defer restore(m)()
	r.clamp(m, o.ZeroBeta)
	if stats, err = evaluator.Reestimate(ctx); err != nil {
		return nil, err
	}
	if r.After, err = evaluator.Evaluate(ctx, stats); err != nil {
		return nil, err
	}
	if m.Stored != nil {
		m.Stored = stats
	}
	r.File = m.File()
	parameters, err := json.Marshal(event{o.Threshold, r.Beta, r.Clamped, source})
	if err != nil {
		return nil, err
	}
	r.File.Header.Provenance = append(r.File.Header.Provenance[:len(r.File.Header.Provenance):len(r.File.Header.Provenance)],
		checkpoint.Event{Action: "prune", Tool: "bnkit", Parameters: parameters})
	// A pruned network is a model, not a state to resume training from.
	r.File.Header.State = nil
	var encoded bytes.Buffer
	if err := checkpoint.Encode(&encoded, r.File); err != nil {
		return nil, err
	}
	r.BytesAfter = encoded.Len()
	return r, nil
}

// storable refuses to clamp what the model's file does not store.
func (o *Options) storable(m *engine.Model) error {
	set := arch.TrainableSet(m.Header.Trainable)
	for i := range m.Params.Tensors {
		x := &m.Params.Tensors[i]
		if (x.Kind == arch.Gamma || x.Kind == arch.Beta && o.ZeroBeta) && !set.Trains(x) {
			return &OptionError{fmt.Sprintf("%s trained %s, so its file stores no %v that could be pruned; use one trained with --trainable bn", m.Path, set.Meaning(), x.Kind)}
		}
	}
	return nil
}

// restore notes what clamping changes, and returns what sets it back.
func restore(m *engine.Model) func() {
	stored := m.Stored
	values := make([][]float32, len(m.Params.Values))
	for i := range m.Params.Tensors {
		if kind := m.Params.Tensors[i].Kind; kind == arch.Gamma || kind == arch.Beta {
			values[i] = slices.Clone(m.Params.Values[i])
		}
	}
	return func() {
		m.Stored = stored
		for i, v := range values {
			copy(m.Params.Values[i], v)
		}
	}
}

// clamp sets small γ to zero, and counts them.
func (r *Result) clamp(m *engine.Model, zeroBeta bool) {
	for i := range m.Network.Units {
		gamma, beta := m.Params.Of(i, arch.Gamma), m.Params.Of(i, arch.Beta)
		if gamma == nil {
			continue
		}
		layer := Layer{Name: m.Network.Units[i].BN, Channels: len(gamma)}
		for c, g := range gamma {
			if math.Abs(float64(g)) >= r.Threshold {
				continue
			}
			layer.Clamped++
			gamma[c] = 0
			if zeroBeta && beta != nil {
				beta[c] = 0
			}
		}
		r.Layers = append(r.Layers, layer)
		r.Clamped += layer.Clamped
		r.Channels += layer.Channels
	}
}

// digest is a file's SHA-256, in hex, and its size.
func digest(path string) (sum string, size int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", 0, fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), int(n), nil
}
