package engine

import (
	"context"
	"fmt"
	"runtime"

	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// The kinds of BatchNorm statistics that a measurement can use, as reports name them.
const (
	StatisticsBatch       = "batch"        // the batch's own, as in training mode
	StatisticsRunning     = "running"      // averaged with momentum while training
	StatisticsStored      = "stored"       // those in the checkpoint
	StatisticsReestimated = "re-estimated" // averaged over batches of the training split
)

// inferenceBatch is the number of pictures in a batch in inference mode. Results do not
// depend on it.
const inferenceBatch = 128

// Evaluation is the result of a model on a whole test split, in inference mode.
type Evaluation struct {
	TestAccuracy float64    `json:"test_accuracy"`          // share from 0 to 1
	Interval     [2]float64 `json:"test_accuracy_interval"` // its 95% confidence interval, see Wilson
	TestLoss     float64    `json:"test_loss"`              // mean cross-entropy, nats
	Examples     int        `json:"examples"`               // number of pictures in the test split
	Statistics   string     `json:"statistics"`             // StatisticsStored or StatisticsReestimated
}

// Evaluator measures a model and its variants on data. It does not change the models. It is
// not safe for concurrent use.
type Evaluator struct {
	model *Model
	*measurement
}

// measurement holds the values shared by the evaluators of a model and its variants: the data, and
// the network compiled with the weights of its convolutions.
type measurement struct {
	threads          int
	testLoader       *dataset.Loader // batches of the test split
	estimationLoader *dataset.Loader // training batches for Reestimate
	estimation       Estimation
	inference        *nn.Inference[float32] // made by the first Evaluate
	training         *nn.Training[float32]  // made by the first Reestimate
}

// Evaluator returns an evaluator of the model on data, which OpenData or Normalised returns.
// If threads is 0, it uses runtime.GOMAXPROCS(0) threads. The error is a *ModelError if
// the model cannot be used on such data. The caller must call Close.
func (m *Model) Evaluator(data *dataset.Data, threads int) (*Evaluator, error) {
	in := arch.Shape{C: data.Train.Channels, H: data.Train.Height, W: data.Train.Width}
	if in != m.Network.Input || len(data.Classes) != m.Network.Classes {
		return nil, m.fail("its network is for pictures of %v in %d classes, but %s has pictures of %v in %d classes", m.Network.Input, m.Network.Classes, data.Name, in, len(data.Classes))
	}
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	testLoader, err := newTestLoader(data, data.Test)
	if err != nil {
		return nil, m.fail("%v", err)
	}
	estimation := m.Estimation
	if estimation == (Estimation{}) && data.Train.Len() > 0 {
		estimation = newEstimation(m.seed(), data.Train.Len())
	}
	estimationLoader, err := newEstimationLoader(data, estimation)
	if err != nil {
		return nil, m.fail("cannot re-estimate statistics as recorded: %v", err)
	}
	return &Evaluator{m, &measurement{threads: threads, testLoader: testLoader, estimationLoader: estimationLoader, estimation: estimation}}, nil
}

// ForVariant returns an evaluator of a variant of the model. It shares everything that e has
// compiled, so making it takes no time. Closing one of the two closes both. The error is a
// *ModelError if the variant does not share its network and convolutions with e's model.
func (e *Evaluator) ForVariant(variant *Model) (*Evaluator, error) {
	shared := variant.Network == e.model.Network
	for i := range variant.Params.Tensors {
		if shared && variant.Params.Tensors[i].Kind == arch.ConvWeight {
			shared = &variant.Params.Values[i][0] == &e.model.Params.Values[i][0]
		}
	}
	if !shared {
		return nil, variant.fail("it is not a variant of the evaluator's model: its convolutions differ")
	}
	return &Evaluator{variant, e.measurement}, nil
}

// Estimation returns the batches over which Reestimate computes statistics: those that the
// model specifies, or else the default.
func (e *Evaluator) Estimation() Estimation { return e.estimation }

// Evaluate measures the whole test split in inference mode with the given statistics, which
// are the model's Stored statistics or re-estimated. If the loss is not finite, it returns the
// Evaluation and a *LossError.
func (e *Evaluator) Evaluate(ctx context.Context, stats *nn.Statistics) (Evaluation, error) {
	if err := e.loadInference(stats); err != nil {
		return Evaluation{}, err
	}
	loss, err := testLoss(ctx, e.inference, e.model.Network.Classes, e.testLoader)
	if err != nil {
		return Evaluation{}, fmt.Errorf("evaluate: %w", err)
	}
	low, high := Wilson(loss.Correct, loss.Examples)
	r := Evaluation{
		TestAccuracy: loss.Accuracy(), Interval: [2]float64{low, high},
		TestLoss: loss.Mean(), Examples: loss.Examples, Statistics: StatisticsReestimated,
	}
	if stats == e.model.Stored {
		r.Statistics = StatisticsStored
	}
	if !isFinite(r.TestLoss) {
		return r, &LossError{e.model.Source.Path, r}
	}
	return r, nil
}

// loadInference compiles e.inference if necessary, and loads the model's parameters and the
// given statistics into it.
func (e *Evaluator) loadInference(stats *nn.Statistics) error {
	if e.inference == nil {
		if err := e.model.CheckInference(inferenceBatch, e.threads); err != nil {
			return err
		}
		var err error
		if e.inference, err = newInference(e.model.Network, e.model.Params, stats, e.threads, e.model.Preprocessing.Eps); err != nil {
			return err
		}
	}
	e.inference.Load(e.model.Params, stats)
	return nil
}

// Close stops the evaluator's threads, and those of its variants' evaluators.
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

// newTestLoader returns a loader of a whole split, in its order and without augmentation.
func newTestLoader(data *dataset.Data, s *dataset.Split) (*dataset.Loader, error) {
	return dataset.NewLoader(s, dataset.LoaderConfig{Batch: inferenceBatch, Mean: data.Mean, Std: data.Std})
}

// testLoss returns the loss over all pictures of a loader, in inference mode.
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
