// Package prune removes what a network does not need. It clamps small γ to zero, so that the
// BatchNorm output of a channel is only its β.
package prune

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
)

// Options says what is pruned.
type Options struct {
	Threshold float64 // every γ with |γ| below it becomes 0
	ZeroBeta  bool    // β of those channels becomes 0 too; otherwise it is kept, as in Frankle et al. 2021, section 5
	Threads   int     // 0: as many as there are processors; does not change results
}

// OptionError reports an option that cannot be used.
type OptionError struct{ Reason string }

func (e *OptionError) Error() string { return e.Reason }

// Result is the effect and the cost of pruning. Accuracies are over the whole test split, in
// inference mode, with statistics that are re-estimated before and after.
type Result struct {
	Threshold float64           `json:"threshold"`
	Beta      string            `json:"beta"` // of clamped channels: "kept" or "zeroed"
	Clamped   int               `json:"clamped"`
	Channels  int               `json:"channels"`
	Layers    []Layer           `json:"layers"` // one for each BatchNorm, in the order of the network
	Before    engine.Evaluation `json:"before"`
	After     engine.Evaluation `json:"after"`

	// BytesBefore is the size of the file that was pruned; missing if there is none.
	BytesBefore int64 `json:"bytes_before,omitempty"`

	// Model is the pruned network, ready to be saved. Clamped γ are stored as zeros,
	// which compress. If the source stored running statistics, it has re-estimated
	// ones.
	Model *engine.Model `json:"-"`
}

// event is the parameters of the event "prune" in a file's provenance.
type event struct {
	Threshold float64 `json:"threshold"`
	Beta      string  `json:"beta"`
	Clamped   int     `json:"clamped"`
	Source    string  `json:"source_sha256,omitempty"` // of the file that was pruned; missing if there is none
}

// Prune clamps small γ of m, and measures the network before and after on data, which
// m.OpenData or m.Normalised returns. It does not write files or change m. The error is an
// *OptionError if the threshold cannot be used, or if a file of the model would not store
// what is clamped because the run did not train it, and an *engine.LossError if a loss is
// not finite.
func Prune(ctx context.Context, m *engine.Model, data *dataset.Data, o Options) (*Result, error) {
	if !(o.Threshold > 0) || math.IsInf(o.Threshold, 0) {
		return nil, &OptionError{fmt.Sprintf("threshold %v; use a positive number, e.g. 0.01", o.Threshold)}
	}
	if arch.GammaOnly.Parameters(m.Network) == 0 {
		return nil, &engine.ModelError{Path: m.Source.Path, Reason: "it has no γ to clamp"}
	}
	if err := o.storable(m); err != nil {
		return nil, err
	}
	evaluator, err := m.Evaluator(data, o.Threads)
	if err != nil {
		return nil, err
	}
	defer evaluator.Close()
	r := &Result{Threshold: o.Threshold, Beta: "kept", BytesBefore: m.Source.Bytes}
	if o.ZeroBeta {
		r.Beta = "zeroed"
	}
	stats, err := evaluator.Reestimate(ctx)
	if err != nil {
		return nil, err
	}
	if r.Before, err = evaluator.Evaluate(ctx, stats); err != nil {
		return nil, err
	}

	r.Model, r.Layers = Clamp(m, o.Threshold, o.ZeroBeta)
	for _, l := range r.Layers {
		r.Clamped += l.Clamped
		r.Channels += l.Channels
	}
	if evaluator, err = evaluator.Of(r.Model); err != nil {
		return nil, err
	}
	if stats, err = evaluator.Reestimate(ctx); err != nil {
		return nil, err
	}
	if r.After, err = evaluator.Evaluate(ctx, stats); err != nil {
		return nil, err
	}
	if m.Stored != nil {
		r.Model.Stored = stats
	}
	parameters, err := json.Marshal(event{o.Threshold, r.Beta, r.Clamped, m.Source.SHA256})
	if err != nil {
		return nil, err
	}
	r.Model.History = append(r.Model.History, engine.Event{Action: "prune", Tool: "bnkit", Parameters: parameters})
	r.Model.Source = engine.Source{}
	return r, nil
}

// storable returns an error if a file of the model would not store what is clamped.
func (o *Options) storable(m *engine.Model) error {
	if m.Origin == nil {
		return nil // it stores everything
	}
	set := m.Origin.Trainable
	for i := range m.Params.Tensors {
		x := &m.Params.Tensors[i]
		if (x.Kind == arch.Gamma || x.Kind == arch.Beta && o.ZeroBeta) && !set.Trains(x) {
			return &OptionError{fmt.Sprintf("%s trained %s, so its file stores no %v that could be pruned; use one trained with --trainable bn", cmp.Or(m.Source.Path, "the model"), set.Meaning(), x.Kind)}
		}
	}
	return nil
}
