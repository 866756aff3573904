package analysis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"

	"bnkit/engine"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/prune"
)

// Options selects what Run measures.
type Options struct {
	Threads         int       // 0 for as many as there are processors; does not change results
	NearZero        []float64 // thresholds for |γ| and |β|; DefaultNearZero if empty
	Thresholds      []float64 // thresholds of the clamping sweep, which always includes 0; DefaultThresholds if empty
	GradientBatches int       // number of batches over which gradients are averaged; DefaultGradientBatches if 0

	// Sensitivity lists shares, from 0 to 1, of a layer's channels that are clamped while all
	// other layers keep theirs. If it is empty, sensitivity is not measured.
	Sensitivity []float64
	// SensitivityPictures is the number of pictures that sensitivity is measured on, the first
	// of the test split; 0 for all.
	SensitivityPictures int

	// Progress, if not nil, is called from time to time with the name of the measurement and
	// the numbers of steps done and in total.
	Progress func(what string, done, total int)
}

// Defaults of Options. Accuracy usually falls at thresholds between 0.1 and 1, so the default
// thresholds are closest together there.
var (
	DefaultNearZero   = []float64{0.001, 0.01, 0.1}
	DefaultThresholds = []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1}
)

// DefaultSensitivity is a usual choice for Options.Sensitivity. Half of the channels of most
// layers can be clamped with little loss of accuracy, so the largest shares are closest together.
var DefaultSensitivity = []float64{0.25, 0.5, 0.75, 0.9}

// DefaultGradientBatches is the default number of batches for gradients.
const DefaultGradientBatches = 10

// OptionError reports an option that cannot be used.
type OptionError struct{ Reason string }

func (e *OptionError) Error() string { return e.Reason }

// WrongUsage reports that the option is at fault.
func (e *OptionError) WrongUsage() bool { return true }

// complete checks the options and sets defaults.
func (o *Options) complete() error {
	if o.Threads < 1 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if len(o.NearZero) == 0 {
		o.NearZero = DefaultNearZero
	}
	if len(o.Thresholds) == 0 {
		o.Thresholds = DefaultThresholds
	}
	if o.GradientBatches == 0 {
		o.GradientBatches = DefaultGradientBatches
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.GradientBatches < 0 {
		return &OptionError{fmt.Sprintf("gradients cannot be averaged over %d batches; use at least 1", o.GradientBatches)}
	}
	if o.SensitivityPictures < 0 {
		return &OptionError{fmt.Sprintf("sensitivity cannot be measured over %d pictures; use at least 1, or 0 for all", o.SensitivityPictures)}
	}
	for _, share := range o.Sensitivity {
		if !(share >= 0 && share <= 1) {
			return &OptionError{fmt.Sprintf("a share of %v of a layer's channels is out of range; use 0 to 1, e.g. 0.5", share)}
		}
	}
	o.Sensitivity = slices.Clone(o.Sensitivity)
	slices.Sort(o.Sensitivity)
	o.Sensitivity = slices.Compact(o.Sensitivity)
	// The sweep always measures the unclamped network, so threshold 0 is removed here.
	o.Thresholds = slices.DeleteFunc(slices.Clone(o.Thresholds), func(t float64) bool { return t == 0 })
	for _, list := range []*[]float64{&o.NearZero, &o.Thresholds} {
		for _, t := range *list {
			if !(t > 0) || math.IsInf(t, 0) {
				return &OptionError{fmt.Sprintf("threshold %v is not a positive number; use, for example, 0.01", t)}
			}
		}
		*list = slices.Clone(*list)
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return nil
}

// Run measures m on data, which m.OpenData or m.Normalised returns. It does not change m.
// The error is an *OptionError if the options cannot be used; otherwise it is the error of
// ctx or an error of the engine.
func Run(ctx context.Context, m *engine.Model, data *dataset.Data, o Options) (*Report, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := checkAnalysable(m); err != nil {
		return nil, err
	}
	evaluator, err := m.Evaluator(data, o.Threads)
	if err != nil {
		return nil, err
	}
	defer evaluator.Close()
	o.Progress("statistics", 0, 1)
	stats, err := evaluator.Reestimate(ctx)
	if err != nil {
		return nil, err
	}
	r, estimation := describe(m, o.NearZero), evaluator.Estimation()
	r.Reestimated = &Scope{Split: "train", Statistics: engine.StatisticsBatch,
		Batches: estimation.Batches, Examples: estimation.Batches * estimation.Batch}
	if err := r.measureSparsity(ctx, m, data, stats, &o); err != nil {
		return nil, fmt.Errorf("measure activation sparsity: %w", err)
	}
	if err := r.measureGradients(ctx, m, data, estimation.Seed, &o); err != nil {
		return nil, fmt.Errorf("measure gradients: %w", err)
	}
	if err := r.sweep(ctx, m, evaluator, stats, &o); err != nil {
		return nil, fmt.Errorf("measure accuracy: %w", err)
	}
	if len(o.Sensitivity) > 0 {
		if err := r.measureSensitivity(ctx, m, data, stats, &o); err != nil {
			return nil, fmt.Errorf("measure sensitivity: %w", err)
		}
	}
	return r, nil
}

// Describe reports the distributions of γ and β, which need no data. All other values are
// missing. The error is an *engine.ModelError if the network has no BatchNorm, or one with a
// fixed γ or β.
func Describe(m *engine.Model) (*Report, error) {
	if err := checkAnalysable(m); err != nil {
		return nil, err
	}
	return describe(m, DefaultNearZero), nil
}

// sweep measures the accuracy of m, with stats and with its stored statistics, and of networks
// whose small γ are clamped to zero.
func (r *Report) sweep(ctx context.Context, m *engine.Model, evaluator *engine.Evaluator, stats *nn.Statistics, o *Options) error {
	test, err := evaluate(ctx, evaluator, stats)
	if err != nil {
		return err
	}
	r.Accuracy = &Scope{Split: "test", Examples: test.Examples, Statistics: test.Statistics}
	r.Sweep = []Sweep{{Accuracy: accuracyOf(test)}}
	if m.Stored != nil {
		stored, err := evaluate(ctx, evaluator, m.Stored)
		if err != nil {
			return err
		}
		a := accuracyOf(stored)
		r.Stored = &a
	}
	for i, threshold := range o.Thresholds {
		o.Progress("accuracy with γ clamped", i, len(o.Thresholds))
		row := Sweep{Threshold: threshold}
		clamped, layers := prune.Clamp(m, threshold, false)
		for j, l := range layers {
			row.Clamped += l.Clamped - len(r.Layers[j].Pruned)
		}
		row.Share = float64(row.Clamped) / float64(max(r.Total.Channels-r.Total.Pruned, 1))
		if row.Accuracy, err = accuracyOfVariant(ctx, evaluator, clamped); err != nil {
			return err
		}
		r.Sweep = append(r.Sweep, row)
	}
	return nil
}

// accuracyOfVariant measures a variant of the evaluator's model, with statistics that are
// re-estimated for it.
func accuracyOfVariant(ctx context.Context, evaluator *engine.Evaluator, variant *engine.Model) (Accuracy, error) {
	e, err := evaluator.ForVariant(variant)
	if err != nil {
		return Accuracy{}, err
	}
	stats, err := e.Reestimate(ctx)
	if err != nil {
		return Accuracy{}, err
	}
	test, err := evaluate(ctx, e, stats)
	return accuracyOf(test), err
}

// evaluate is e.Evaluate without the error for a loss that is not finite, which clamping may
// cause. The report leaves such a loss out.
func evaluate(ctx context.Context, e *engine.Evaluator, stats *nn.Statistics) (engine.Evaluation, error) {
	test, err := e.Evaluate(ctx, stats)
	var loss *engine.LossError
	if errors.As(err, &loss) {
		err = nil
	}
	return test, err
}

// accuracyOf returns the accuracy and the loss of an evaluation.
func accuracyOf(e engine.Evaluation) Accuracy {
	a := Accuracy{TestAccuracy: e.TestAccuracy, Interval: e.Interval}
	if finite(e.TestLoss) {
		a.TestLoss = &e.TestLoss
	}
	return a
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
