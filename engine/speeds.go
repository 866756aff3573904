package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// Speed holds the speeds of a model, in pictures a second.
type Speed struct {
	Inference float64 // inference in batches of InferenceBatch
	Single    float64 // inference of one picture at a time
	Training  float64 // forward and backward passes that train γ and β, in batches of TrainingBatch
}

// Speeds holds the speeds of several models, in the order in which they were given.
type Speeds struct {
	Models         []Speed
	InferenceBatch int // up to 128
	TrainingBatch  int // up to 128; fewer if the activations of a batch would take more than 1 GiB
}

const (
	// speedRounds is the number of timed runs of each kind for each model, after an untimed
	// one.
	speedRounds = 9
	// speedSingles is the number of pictures in a run of Speed.Single.
	speedSingles = 16
	// speedMemory limits the activations that a training step keeps, in bytes.
	speedMemory = 1 << 30
)

// MeasureSpeeds measures the models of evaluators on the first pictures of the test split.
// The models take turns, and each speed is the median over the runs of a model.
func MeasureSpeeds(ctx context.Context, evaluators ...*Evaluator) (*Speeds, error) {
	s := &Speeds{Models: make([]Speed, len(evaluators)), TrainingBatch: inferenceBatch}
	for _, e := range evaluators {
		s.TrainingBatch = min(s.TrainingBatch, max(speedMemory/activationBytes(e.model.Network), 1))
	}
	var inferences, singles, steps []timedRun
	for i, e := range evaluators {
		images, labels, err := e.firstBatch(ctx)
		if err != nil {
			return nil, err
		}
		s.InferenceBatch, s.TrainingBatch = len(labels), min(s.TrainingBatch, len(labels))
		training, err := nn.NewTraining(e.model.Network, kernel.Best(), e.model.Params, nn.TrainingOptions{
			Batch: s.TrainingBatch, Threads: e.threads, Gradients: nn.GradientsOf(e.model.Network, arch.BN), Eps: e.model.Preprocessing.Eps,
		})
		if err != nil {
			return nil, fmt.Errorf("measure speed: %w", err)
		}
		defer training.Close()
		inferences = append(inferences, timedRun{&s.Models[i].Inference, len(labels), func() { e.inference.Run(images, len(labels)) }})
		picture, count := len(images)/len(labels), min(speedSingles, len(labels))
		singles = append(singles, timedRun{&s.Models[i].Single, count, func() {
			for n := range count {
				e.inference.Run(images[n*picture:], 1)
			}
		}})
		steps = append(steps, timedRun{&s.Models[i].Training, s.TrainingBatch, func() {
			training.Forward(images, labels[:s.TrainingBatch])
			training.Backward()
		}})
	}
	return s, timeInTurns(ctx, slices.Concat(inferences, singles, steps))
}

// InferenceSpeeds measures only Speed.Inference, in the same way as MeasureSpeeds.
func InferenceSpeeds(ctx context.Context, evaluators ...*Evaluator) ([]float64, error) {
	speeds := make([]float64, len(evaluators))
	var runs []timedRun
	for i, e := range evaluators {
		images, labels, err := e.firstBatch(ctx)
		if err != nil {
			return nil, err
		}
		runs = append(runs, timedRun{&speeds[i], len(labels), func() { e.inference.Run(images, len(labels)) }})
	}
	return speeds, timeInTurns(ctx, runs)
}

// firstBatch prepares e.inference for a measurement of speed, and returns the first batch of
// the test split.
func (e *Evaluator) firstBatch(ctx context.Context) (images []float32, labels []int32, err error) {
	if err := e.loadInference(nn.NewStatistics(e.model.Network)); err != nil {
		return nil, nil, err
	}
	batches := e.testLoader.Start(ctx, 0, 0)
	defer batches.Close()
	b, ok := batches.Next()
	if !ok {
		return nil, nil, fmt.Errorf("measure speed: %w", batches.Err())
	}
	return slices.Clone(b.Images), slices.Clone(b.Labels), nil
}

// timedRun is work on a number of pictures, and the place where its speed is stored.
type timedRun struct {
	speed    *float64
	pictures int
	do       func()
}

// timeInTurns times the runs in turn, so that changes of the machine's speed affect all of
// them, and sets the speed of each from its median time.
func timeInTurns(ctx context.Context, runs []timedRun) error {
	times := make([][]float64, len(runs))
	for round := range 1 + speedRounds {
		for i := range runs {
			if err := ctx.Err(); err != nil {
				return err
			}
			begin := time.Now()
			runs[i].do()
			if round > 0 {
				times[i] = append(times[i], time.Since(begin).Seconds())
			}
		}
	}
	for i, r := range runs {
		slices.Sort(times[i])
		*r.speed = float64(r.pictures) / times[i][speedRounds/2]
	}
	return nil
}

// activationBytes returns the size of the outputs of all units for one picture.
func activationBytes(net *arch.Network) int {
	total := 0
	for i := range net.Units {
		s := net.Units[i].OutShape
		total += 4 * s.C * s.H * s.W
	}
	return total
}

// BufferBytes returns the size of the activations that each thread keeps in inference.
func (e *Evaluator) BufferBytes() (int64, error) {
	if e.inference == nil {
		if err := e.loadInference(nn.NewStatistics(e.model.Network)); err != nil {
			return 0, err
		}
	}
	return e.inference.BufferBytes(), nil
}
