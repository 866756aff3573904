package nn

import (
	"fmt"
	"time"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// TrainingOptions holds the options of a Training.
type TrainingOptions struct {
	Batch     int // largest number of examples in a step
	Threads   int
	Gradients Gradients
	Eps       float64 // number that BatchNorm adds to a variance; 0 stands for DefaultEps
	// LabelSmoothing is the share of each label that is spread over all classes
	// in the loss that Backward differentiates. Forward returns the cross-entropy
	// of the labels without smoothing, which can be compared with a test loss.
	LabelSmoothing float64
	// BF16 stores the outputs of convolutions and pools, before BatchNorm, as
	// bfloat16. That halves their memory, which is most of a step's memory.
	// Everything else is stored in float32, and all arithmetic is float32. The kernel
	// family must be one for float32.
	BF16 bool
}

// Training runs a network with batch statistics, forward and backward. It is
// not safe for concurrent use.
type Training[T kernel.Float] struct {
	plan[T]
	o       TrainingOptions
	pool    *pool
	workers []*worker[T]
	buffers *buffers[T]

	// The current step.
	x         []T
	labels    []int32
	n         int
	stage     int      // first of the current stages
	stagesEnd int      // end of the current stages
	divided   chunking // chunks of the current stages

	sums, squares [2][]T       // moments of y, image × channel, for even and for odd stages
	totals        [2][]float64 // sums over images, by channel
	means, vars   [][]float64  // of y, by unit and channel; vars are biased
	statistics    *Statistics

	pooled, logits, dlogits []T // image × features for pooled, image × classes for the others
	losses                  []float64
	correct                 []bool

	backward *backward[T] // nil with NoGradients

	// Methods, as values that are created once, so that a step allocates nothing.
	forwardChunk, headImage, repack func(worker, item int)

	timer func(unit int, phase Phase, elapsed time.Duration)
}

// Phase is a part of the work that a step does for a unit.
type Phase string

// The phases of a step. The head counts as the unit after the last.
const (
	Forward        Phase = "forward"         // load the input, convolve, take statistics
	InputGradient  Phase = "input gradient"  // go back through BatchNorm and convolution, mask, take sums
	WeightGradient Phase = "weight gradient" // compute the gradient of the convolution's weights
)

// SetTimer makes every step call timer at the end of each phase, on the goroutine
// that runs the step. If timer is nil, steps are no longer timed.
func (t *Training[T]) SetTimer(timer func(unit int, phase Phase, elapsed time.Duration)) {
	t.timer = timer
}

// startTimer returns the current time, or zero if no timer is set.
func (t *Training[T]) startTimer() time.Time {
	if t.timer == nil {
		return time.Time{}
	}
	return time.Now()
}

// stopTimer reports the time of a phase since start to the timer, if one is set.
func (t *Training[T]) stopTimer(start time.Time, unit int, phase Phase) {
	if t.timer != nil {
		t.timer(unit, phase, time.Since(start))
	}
}

// NewTraining compiles net for steps of up to o.Batch examples. Every step reads γ,
// β, biases and the output layer from params; the convolutions' weights are read now
// and, if they are trained, at every Repack. It fails if net or o is invalid, the gradients of a
// max pool are not supported, params lacks weights, or o does not fit the family.
func NewTraining[T kernel.Float](net *arch.Network, family *kernel.Family[T], params *Params[T], o TrainingOptions) (*Training[T], error) {
	if o.Batch < 1 || o.Threads < 1 {
		return nil, fmt.Errorf("batch size %d and %d threads must both be at least 1", o.Batch, o.Threads)
	}
	if o.BF16 && family.RoundBF16 == nil {
		return nil, fmt.Errorf("kernel family %s of %T cannot round to bfloat16; use one for float32", family.Name, *new(T))
	}
	p, err := compile(net, family, params, o.Eps)
	if err != nil {
		return nil, err
	}
	if o.Gradients.beforeOutput() {
		if err := checkMaxPools(net); err != nil {
			return nil, err
		}
	}
	t := &Training[T]{plan: *p, o: o, workers: newWorkers[T](o.Threads), statistics: NewStatistics(net)}
	t.buffers = t.newBuffers(o.Batch, lifetimes{
		keepY:   o.Gradients.beforeOutput(),
		keepOut: o.Gradients&(ConvGradients|ShortcutGradients) != 0,
		masks:   o.Gradients.beforeOutput(),
		inPlace: true,
		bf16:    o.BF16,
	})
	widest, largestSize := 0, 0
	for i := range t.units {
		u := &t.units[i]
		widest, largestSize = max(widest, u.blocks*family.Lanes), max(largestSize, u.size)
		t.means, t.vars = append(t.means, make([]float64, u.OutShape.C)), append(t.vars, make([]float64, u.OutShape.C))
		for _, w := range t.workers {
			w.reservePadded(u.source, u.chunk, family.Lanes)
			w.work = grow(w.work, u.workspace(u.chunk))
			if o.BF16 {
				w.y, w.r = grow(w.y, u.chunk*u.size), grow(w.r, u.size)
			}
		}
	}
	for _, w := range t.workers {
		w.plain, w.last = make([]T, largestSize), make([]T, t.units[len(t.units)-1].size)
	}
	for i := range t.sums {
		t.sums[i], t.squares[i] = make([]T, o.Batch*widest), make([]T, o.Batch*widest)
	}
	t.totals = [2][]float64{make([]float64, widest), make([]float64, widest)}
	features := t.units[len(t.units)-1].blocks * family.Lanes
	t.pooled = make([]T, o.Batch*features)
	t.logits, t.dlogits = make([]T, o.Batch*net.Classes), make([]T, o.Batch*net.Classes)
	t.losses, t.correct = make([]float64, o.Batch), make([]bool, o.Batch)
	if o.Gradients != NoGradients {
		t.backward = newBackward(t)
	}
	t.forwardChunk, t.headImage, t.repack = t.runForwardChunk, t.runHeadImage, t.repackUnit
	t.pool = newPool(o.Threads)
	t.pool.run(len(t.units), t.packForward)
	if t.backward != nil {
		t.pool.run(len(t.backward.units), t.packBackward)
	}
	return t, nil
}

// Close stops the workers. The Training must not be used afterwards.
func (t *Training[T]) Close() { t.pool.close() }

// Load makes later steps read γ, β, biases and the output layer from params. The
// convolutions keep their packed filters; Repack replaces those that are trained.
func (t *Training[T]) Load(params *Params[T]) { t.params = params }

// Repack packs filters again after weights have changed. It does so only for the
// convolutions whose weight gradients are computed, since no others are trained.
func (t *Training[T]) Repack() {
	t.pool.run(len(t.units), t.repack)
}

// repackUnit packs unit i's filters again if they are trained. pool.run calls it for each
// unit.
func (t *Training[T]) repackUnit(worker, i int) {
	if t.o.Gradients.weights(t.units[i].Shortcut) {
		t.packForward(worker, i)
		t.packBackward(worker, i)
	}
}

// Logits returns the logits of the last Forward, N×classes, valid until the next.
func (t *Training[T]) Logits() []T { return t.logits[:t.n*t.net.Classes] }

// BatchStatistics returns the statistics of the last Forward's batch, valid until
// the next Forward.
func (t *Training[T]) BatchStatistics() *Statistics { return t.statistics }

// Gradients returns the gradients of the last Backward, which are those of the mean
// loss over the batch with smoothed labels. The caller may change them until the
// next Backward. Values of tensors whose gradient is not computed are nil. With
// NoGradients it returns nil.
func (t *Training[T]) Gradients() *Params[T] {
	if t.backward == nil {
		return nil
	}
	return t.backward.gradients
}
