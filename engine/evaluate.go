package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// What the statistics of a measurement are, as reports name it.
const (
	StatisticsBatch       = "batch"        // the batch's own, as in training mode
	StatisticsRunning     = "running"      // averaged with momentum while training
	StatisticsStored      = "stored"       // those in the checkpoint
	StatisticsReestimated = "re-estimated" // averaged over batches of the training split
)

// inferenceBatch is how many pictures an inference takes at a time. Results do
// not depend on it.
const inferenceBatch = 128

// Evaluation is what a model reaches on a whole test split, in inference mode.
type Evaluation struct {
	TestAccuracy float64 // share from 0 to 1
	TestLoss     float64 // mean cross-entropy, nats; may be NaN or infinite
	Examples     int     // of the test split, all
	Statistics   string  // StatisticsStored or StatisticsReestimated
}

// MarshalJSON leaves out a loss that is not finite.
func (e Evaluation) MarshalJSON() ([]byte, error) {
	row := struct {
		TestAccuracy float64  `json:"test_accuracy"`
		TestLoss     *float64 `json:"test_loss,omitempty"`
		Examples     int      `json:"examples"`
		Statistics   string   `json:"statistics"`
	}{e.TestAccuracy, &e.TestLoss, e.Examples, e.Statistics}
	if !isFinite(e.TestLoss) {
		row.TestLoss = nil
	}
	return json.Marshal(row)
}

// Evaluator measures a model on its data. γ, β and the output layer of the
// model's Params may change between calls, convolutions may not. It is not
// safe for concurrent use.
type Evaluator struct {
	model      *Model
	data       *dataset.Data
	threads    int
	testing    *dataset.Loader
	estimating *dataset.Loader
	inference  *nn.Inference[float32] // made by the first Evaluate
	training   *nn.Training[float32]  // made by the first Reestimate
}

// Evaluator returns an evaluator on data, as OpenData returns it. Threads 0
// stands for as many as there are processors.
func (m *Model) Evaluator(data *dataset.Data, threads int) (*Evaluator, error) {
	in := arch.Shape{C: data.Train.Channels, H: data.Train.Height, W: data.Train.Width}
	if in != m.Network.Input || len(data.Classes) != m.Network.Classes {
		return nil, &ModelError{m.Path, fmt.Sprintf("it takes pictures of %v in %d classes, %s has %v in %d", m.Network.Input, m.Network.Classes, data.Name, in, len(data.Classes))}
	}
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	testing, err := newTestLoader(data, data.Test)
	if err != nil {
		return nil, err
	}
	estimating, err := newEstimationLoader(data, m.Header.Statistics)
	if err != nil {
		return nil, &ModelError{m.Path, fmt.Sprintf("cannot re-estimate statistics as recorded: %v", err)}
	}
	return &Evaluator{model: m, data: data, threads: threads, testing: testing, estimating: estimating}, nil
}

// Evaluate measures the whole test split in inference mode with the given
// statistics: the model's Stored ones or re-estimated ones.
func (e *Evaluator) Evaluate(ctx context.Context, stats *nn.Statistics) (Evaluation, error) {
	if e.inference == nil {
		var err error
		if e.inference, err = newInference(e.model.Network, e.model.Params, stats, e.threads, e.model.Header.Normalisation.Eps); err != nil {
			return Evaluation{}, err
		}
	}
	e.inference.Load(e.model.Params, stats)
	loss, err := testLoss(ctx, e.inference, e.model.Network.Classes, e.testing)
	if err != nil {
		return Evaluation{}, fmt.Errorf("evaluate: %w", err)
	}
	r := Evaluation{TestAccuracy: loss.Accuracy(), TestLoss: loss.Mean(), Examples: loss.Examples, Statistics: StatisticsReestimated}
	if stats == e.model.Stored {
		r.Statistics = StatisticsStored
	}
	return r, nil
}

// Close stops the evaluator's threads.
func (e *Evaluator) Close() {
	if e.inference != nil {
		e.inference.Close()
	}
	if e.training != nil {
		e.training.Close()
	}
}

func newInference(net *arch.Network, params *nn.Params[float32], stats *nn.Statistics, threads int, eps float64) (*nn.Inference[float32], error) {
	return nn.NewInference(net, kernel.Best(), params, stats, nn.InferenceOptions{Batch: inferenceBatch, Threads: threads, Eps: eps})
}

// newTestLoader loads a whole split of data, in its order and as it is.
func newTestLoader(data *dataset.Data, s *dataset.Split) (*dataset.Loader, error) {
	return dataset.NewLoader(s, dataset.LoaderConfig{Batch: inferenceBatch, Mean: data.Mean, Std: data.Std})
}

// testLoss is the loss over all of a loader's pictures.
func testLoss(ctx context.Context, inference *nn.Inference[float32], classes int, loader *dataset.Loader) (nn.Loss, error) {
	batches := loader.Start(ctx, 0, 0)
	defer batches.Close()
	var total nn.Loss
	for {
		b, ok := batches.Next()
		if !ok {
			return total, batches.Err()
		}
		total.Add(nn.CrossEntropy(inference.Run(b.Images, b.N), b.Labels, classes))
	}
}
