// Package prune removes channels that a network does not need. A Plan lists the channels that
// each layer keeps. The γ of the others are clamped to 0, so that each outputs only its β, and
// then they are removed where the shapes of residual sums allow it.
package prune

import (
	"context"
	"encoding/json"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// Options selects the channels to prune, by Plan or, if it is nil, by the other fields.
type Options struct {
	Threshold   float64  // prune channels with |γ| below this
	Remove      float64  // or prune this share of all channels, beginning with the least important
	Protect     []string // names or patterns of layers that keep all channels
	MaxPerLayer float64  // largest share of a layer's channels to prune; 0 for no limit
	ZeroBeta    bool     // set β of pruned channels to 0 too; otherwise it is kept, as in Frankle et al. 2021, section 5

	// MeanBeta sets β of pruned channels so that each channel's output becomes its mean
	// before pruning. ZeroBeta is then ignored.
	MeanBeta bool

	Policy // how channels are compared; with a policy or a target, only whole groups are pruned
	Target // how much is pruned, in place of Threshold and Remove

	Plan *Plan // replaces all fields above; nil for no plan

	Recovery Recovery // training of γ and β after pruning; zero for none

	Threads int // 0 for as many as there are processors; only times depend on it, and so the choice by Target.Latency

	// Progress, if not nil, is called from time to time with the name of the work and the
	// numbers of steps done and in total.
	Progress func(work string, done, total int)
}

// OptionError reports an option that cannot be used.
type OptionError struct{ Reason string }

func (e *OptionError) Error() string { return e.Reason }

// Result is the effect and the cost of pruning. Accuracies are over the whole test split, in
// inference mode. Before and After have statistics that are re-estimated for each.
type Result struct {
	Threshold float64 `json:"threshold,omitempty"` // missing if it was not used
	Remove    float64 `json:"remove,omitempty"`    // missing if it was not used

	Protect     []string `json:"protect,omitempty"`       // names or patterns of layers that kept all channels; missing if there are none
	MaxPerLayer float64  `json:"max_per_layer,omitempty"` // missing if there was no limit

	Beta     string            `json:"beta"`     // what happened to β of clamped channels: BetaKept, BetaZeroed or BetaMean
	Clamped  int               `json:"clamped"`  // channels held constant
	Removed  int               `json:"removed"`  // clamped channels that were removed
	Channels int               `json:"channels"` // channels of all BatchNorms that have γ
	Layers   []Layer           `json:"layers"`   // one for each BatchNorm that has γ, in the order of the network
	Before   engine.Evaluation `json:"before"`
	After    engine.Evaluation `json:"after"` // of the clamped network after the last step of pruning, before the training that follows

	Policy                       // zero if channels were compared one by one, by |γ|, or a plan chose them
	Target                       // zero if a threshold, a share or a plan determined the size
	Split     string             `json:"split,omitempty"` // split on which the drop of accuracy was measured, "validation" or "test"; missing without MaxDrop
	Recovery                     // zero if the network was not trained after pruning
	Recovered *engine.Evaluation `json:"recovered,omitempty"` // after training; nil if the network was not trained after pruning

	// AfterOriginalStatistics is the evaluation of the clamped network with the
	// statistics of Before. Its difference from After is the effect of re-estimation.
	AfterOriginalStatistics engine.Evaluation `json:"after_original_statistics"`

	// PredictionsChanged is the number of pictures of the test split for which the network of
	// Before and that of After predict different classes.
	// Agreement is the share of the test split for which Model with its clamped channels and
	// the compacted network predict the same class, with the same statistics.
	PredictionsChanged int     `json:"predictions_changed"`
	Agreement          float64 `json:"agreement"`

	// Sizes of the network before pruning and of the compacted network. MACs are those
	// of one picture. TrainedBefore counts the parameters that the source's run trained.
	// TrainedAfter counts the parameters that the same run of the compacted network would
	// train. Both are missing if the trainable set is not known. Buffers hold the
	// activations of inference, for one thread.
	MACsBefore        int64 `json:"macs_before"`
	MACsAfter         int64 `json:"macs_after"`
	ParametersBefore  int   `json:"parameters_before"`
	ParametersAfter   int   `json:"parameters_after"`
	TrainedBefore     *int  `json:"trained_before,omitempty"`
	TrainedAfter      *int  `json:"trained_after,omitempty"`
	BufferBytesBefore int64 `json:"buffer_bytes_before"`
	BufferBytesAfter  int64 `json:"buffer_bytes_after"`

	// Speeds of the clamped network, which has all channels, and of the compacted one, which
	// are measured in turn: inference in batches of InferenceBatch, inference of single
	// pictures, and the passes of a step that trains γ and β, forward and backward, in batches of
	// TrainingBatch.
	ImagesPerSecondBefore         float64 `json:"images_per_second_before"`
	ImagesPerSecondAfter          float64 `json:"images_per_second_after"`
	ImagesPerSecondSingleBefore   float64 `json:"images_per_second_single_before"`
	ImagesPerSecondSingleAfter    float64 `json:"images_per_second_single_after"`
	ImagesPerSecondTrainingBefore float64 `json:"images_per_second_training_before"`
	ImagesPerSecondTrainingAfter  float64 `json:"images_per_second_training_after"`
	InferenceBatch                int     `json:"inference_batch"`
	TrainingBatch                 int     `json:"training_batch"`

	// BytesBefore is the size of the file that was pruned; missing if there is none.
	BytesBefore int64 `json:"bytes_before,omitempty"`

	// Model is the pruned network, ready to be saved. Clamped γ are stored as zeros,
	// which compress well. If the source stored running statistics, Model stores
	// re-estimated ones.
	Model *engine.Model `json:"-"`
}

// Event holds the parameters of the event "prune" in a file's provenance. Parameters that were
// not used are missing. If a plan chose the channels, the event does not say how they were chosen.
type Event struct {
	Threshold   float64  `json:"threshold,omitempty"`
	Remove      float64  `json:"remove,omitempty"`
	Protect     []string `json:"protect,omitempty"`
	MaxPerLayer float64  `json:"max_per_layer,omitempty"`
	Beta        string   `json:"beta"`
	Clamped     int      `json:"clamped"`
	Source      string   `json:"source_sha256,omitempty"` // of the file that was pruned; missing if there is none
	Policy
	Target
	Recovery
}

// MakePlan returns the plan for m that the options describe. It does not support a policy, a
// target or MeanBeta; use Choose for them. The error is an *OptionError if the options cannot be
// used, or an *engine.ModelError if m has no γ.
func MakePlan(m *engine.Model, o Options) (*Plan, error) {
	if arch.GammaOnly.Parameters(m.Network) == 0 {
		return nil, &engine.ModelError{Path: m.Source.Path, Reason: "it has no γ to clamp"}
	}
	if o.Plan != nil {
		p := *o.Plan
		clamped, err := p.Apply(m)
		if err != nil {
			return nil, err
		}
		return &p, p.describe(clamped)
	}
	return NewPlan(m, o.choice(), o.beta())
}

// Prune prunes a variant of m, and measures it before and after on data, which m.OpenData
// or m.Normalised returns. It does not change m or write files. The error is one that Choose or
// Recover returns, or an *engine.LossError if a loss is not finite.
func Prune(ctx context.Context, m *engine.Model, data *dataset.Data, o Options) (*Result, error) {
	p, start, err := chooseSteps(ctx, m, data, o)
	if err != nil {
		return nil, err
	}
	evaluator, err := m.Evaluator(data, o.Threads)
	if err != nil {
		return nil, err
	}
	defer evaluator.Close()
	r := &Result{
		Beta:    p.Beta,
		Clamped: p.Clamped, Removed: p.Removed, Channels: p.Channels,
		MACsBefore: p.MACsBefore, MACsAfter: p.MACsAfter, ParametersBefore: p.ParametersBefore, ParametersAfter: p.ParametersAfter,
		BytesBefore: m.Source.Bytes,
	}
	if o.Plan == nil { // a plan may have been edited, so its Choice may not describe it
		r.Threshold, r.Remove = o.Threshold, o.Remove
		r.Protect, r.MaxPerLayer = o.Protect, o.MaxPerLayer
		r.Policy, r.Target = p.Choice.Policy, p.Choice.Target
		if o.Target.MaxDrop > 0 {
			_, r.Split = dropSplit(data)
		}
	}
	stats, err := evaluator.Reestimate(ctx)
	if err != nil {
		return nil, err
	}
	if r.Before, err = evaluator.Evaluate(ctx, stats); err != nil {
		return nil, err
	}
	before, err := evaluator.Predictions(ctx, stats)
	if err != nil {
		return nil, err
	}
	if r.Model, err = p.Apply(start); err != nil {
		return nil, err
	}
	if evaluator, err = evaluator.ForVariant(r.Model); err != nil {
		return nil, err
	}
	if r.AfterOriginalStatistics, err = evaluator.Evaluate(ctx, stats); err != nil {
		return nil, err
	}
	if stats, err = evaluator.Reestimate(ctx); err != nil {
		return nil, err
	}
	if r.After, err = evaluator.Evaluate(ctx, stats); err != nil {
		return nil, err
	}
	after, err := evaluator.Predictions(ctx, stats)
	if err != nil {
		return nil, err
	}
	r.PredictionsChanged = countDifferent(before, after)
	if o.Recovery.Epochs > 0 {
		r.Recovery = o.Recovery.resolved()
		if evaluator, stats, err = r.recover(ctx, evaluator, data, o); err != nil {
			return nil, err
		}
		if after, err = evaluator.Predictions(ctx, stats); err != nil {
			return nil, err
		}
	}
	if m.Stored != nil {
		r.Model.Stored = stats
	}
	if err := r.compare(ctx, m, evaluator, stats, after, data, o.Threads); err != nil {
		return nil, err
	}
	parameters, err := json.Marshal(Event{r.Threshold, r.Remove, r.Protect, r.MaxPerLayer, r.Beta, r.Clamped, m.Source.SHA256, r.Policy, r.Target, r.Recovery})
	if err != nil {
		return nil, err
	}
	r.Model.History = append(r.Model.History, engine.Event{Action: "prune", Tool: "bnkit", Parameters: parameters})
	r.Model.Source = engine.Source{}
	return r, nil
}

// compare compares the compacted network with the clamped one. stats are the statistics of the
// clamped network, want its predictions, and source is the model before pruning.
func (r *Result) compare(ctx context.Context, source *engine.Model, clamped *engine.Evaluator, stats *nn.Statistics, want []int, data *dataset.Data, threads int) error {
	small, compacted, err := r.Model.Compact()
	if err != nil {
		return err
	}
	r.Layers = layersOf(r.Model, compacted.Origins)
	compact, err := small.Evaluator(data, threads)
	if err != nil {
		return err
	}
	defer compact.Close()
	got, err := compact.Predictions(ctx, compacted.Statistics(stats))
	if err != nil {
		return err
	}
	r.Agreement = float64(len(want)-countDifferent(got, want)) / float64(len(want))
	r.countTrained(source.Origin, compacted)
	return r.measureSpeeds(ctx, clamped, compact)
}

// countDifferent returns the number of elements in which two slices of the same length differ.
func countDifferent(a, b []int) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// countTrained sets TrainedBefore and TrainedAfter if the origin of the source, and with it the
// trainable set, is known.
func (r *Result) countTrained(origin *engine.Origin, compacted *nn.Compacted[float32]) {
	if origin == nil {
		return
	}
	before, after := origin.Trainable.Parameters(r.Model.Network), 0
	for _, values := range compacted.Trained(r.Model.Params, origin.Trainable, origin.Seed).Values {
		after += len(values)
	}
	r.TrainedBefore, r.TrainedAfter = &before, &after
}

// measureSpeeds measures the speed and the buffers of the clamped network, which has all
// channels, and of the compacted network.
func (r *Result) measureSpeeds(ctx context.Context, clamped, compact *engine.Evaluator) error {
	speeds, err := engine.MeasureSpeeds(ctx, clamped, compact)
	if err != nil {
		return err
	}
	speedBefore, speedAfter := speeds.Models[0], speeds.Models[1]
	r.ImagesPerSecondBefore, r.ImagesPerSecondAfter = speedBefore.Inference, speedAfter.Inference
	r.ImagesPerSecondSingleBefore, r.ImagesPerSecondSingleAfter = speedBefore.Single, speedAfter.Single
	r.ImagesPerSecondTrainingBefore, r.ImagesPerSecondTrainingAfter = speedBefore.Training, speedAfter.Training
	r.InferenceBatch, r.TrainingBatch = speeds.InferenceBatch, speeds.TrainingBatch
	if r.BufferBytesBefore, err = clamped.BufferBytes(); err != nil {
		return err
	}
	r.BufferBytesAfter, err = compact.BufferBytes()
	return err
}
