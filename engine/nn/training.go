package nn

import (
	"fmt"
	"math"
	"time"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// Gradients says which tensors' gradients Training.Backward computes: a union
// of the choices below.
type Gradients int

// The choices of gradients.
const (
	BNGradients       Gradients = 1 << iota // γ and β of every BatchNorm
	OutputGradients                         // the output layer
	ShortcutGradients                       // the weights of shortcuts' convolutions
	ConvGradients                           // the weights of every convolution

	NoGradients  Gradients = 0 // Forward only, in less memory
	AllGradients           = BNGradients | OutputGradients | ConvGradients
)

// GradientsOf is the least that computes a gradient for all that set trains.
func GradientsOf(net *arch.Network, set arch.TrainableSet) Gradients {
	gradients := NoGradients
	tensors := net.Tensors()
	for i := range tensors {
		switch x := &tensors[i]; {
		case !set.Trains(x):
		case x.Kind == arch.Gamma || x.Kind == arch.Beta:
			gradients |= BNGradients
		case x.Kind == arch.OutputWeight || x.Kind == arch.OutputBias:
			gradients |= OutputGradients
		case x.Shortcut:
			gradients |= ShortcutGradients
		default:
			gradients |= ConvGradients
		}
	}
	return gradients
}

// keeps says whether the gradient of a tensor is computed.
func (g Gradients) keeps(t *arch.Tensor) bool {
	switch t.Kind {
	case arch.Gamma, arch.Beta:
		return g&BNGradients != 0
	case arch.OutputWeight, arch.OutputBias:
		return g&OutputGradients != 0
	}
	return g.weights(t.Shortcut)
}

// weights says whether a convolution, a shortcut's or another, gets a weight
// gradient.
func (g Gradients) weights(shortcut bool) bool {
	return g&ConvGradients != 0 || shortcut && g&ShortcutGradients != 0
}

// below says whether anything but the output layer gets a gradient, so that
// the gradient must be taken back through the units.
func (g Gradients) below() bool { return g&^OutputGradients != 0 }

// TrainingOptions are a Training's sizes.
type TrainingOptions struct {
	Batch     int // the most examples that a step takes
	Threads   int
	Gradients Gradients
	Eps       float64 // BatchNorm's; DefaultEps where 0
	// LabelSmoothing is the share of each label that is spread over all classes
	// in the loss that Backward differentiates; Forward's stays the cross-entropy
	// of the labels, so that it compares with a test's.
	LabelSmoothing float64
	// BF16 keeps the outputs of convolutions and pools, before BatchNorm, rounded
	// to bfloat16: half of their memory, which is most of a step's. All else is
	// kept, and everything is computed, in float32; the family must be one of it.
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

	// of the step under way
	x         []T
	labels    []int32
	n         int
	stage     int      // the first of those under way
	stagesEnd int      // the one after the last
	divided   chunking // n, for these stages

	sums, squares [2][]T       // of a stage's outputs, an even one's and an odd one's, image × channel
	totals        [2][]float64 // over images, by channel
	means, vars   [][]float64
	statistics    *Statistics

	pooled, logits, dlogits []T // image × features, classes, classes
	losses                  []float64
	correct                 []bool

	backward *backward[T] // nil with NoGradients

	forwardChunk, headImage, repack func(worker, item int)

	timer func(unit int, phase Phase, took time.Duration)
}

// Phase is what a step does for a unit.
type Phase string

// The phases of a step. The output layer and the pooling before it count as
// the unit after the last.
const (
	Forward        Phase = "forward"         // load the input, convolve, take statistics
	InputGradient  Phase = "input gradient"  // through BatchNorm and convolution, mask, take sums
	WeightGradient Phase = "weight gradient" // of the convolution
)

// SetTimer has every phase of every step reported, from the goroutine that
// runs the step; nil ends that.
func (t *Training[T]) SetTimer(timer func(unit int, phase Phase, took time.Duration)) {
	t.timer = timer
}

// begin is when a phase starts, if anybody wants to know.
func (t *Training[T]) begin() time.Time {
	if t.timer == nil {
		return time.Time{}
	}
	return time.Now()
}

// end reports a phase.
func (t *Training[T]) end(begin time.Time, unit int, phase Phase) {
	if t.timer != nil {
		t.timer(unit, phase, time.Since(begin))
	}
}

// NewTraining compiles net for steps of up to o.Batch examples. It reads γ, β
// and the output layer from params at every step, and the convolutions'
// weights now and at every Repack.
func NewTraining[T kernel.Float](net *arch.Network, family *kernel.Family[T], params *Params[T], o TrainingOptions) (*Training[T], error) {
	if o.Batch < 1 || o.Threads < 1 {
		return nil, fmt.Errorf("a batch of %d on %d threads: both must be at least 1", o.Batch, o.Threads)
	}
	if o.BF16 && family.RoundBF16 == nil {
		return nil, fmt.Errorf("the kernel family %s of %T cannot round to bfloat16: use one of float32", family.Name, *new(T))
	}
	p, err := compile(net, family, params, o.Eps)
	if err != nil {
		return nil, err
	}
	t := &Training[T]{plan: *p, o: o, workers: newWorkers[T](o.Threads), statistics: NewStatistics(net)}
	t.buffers = t.newBuffers(o.Batch, lifetimes{
		keepY:   o.Gradients.below(),
		keepOut: o.Gradients&(ConvGradients|ShortcutGradients) != 0,
		masks:   o.Gradients.below(),
		inPlace: true,
		bf16:    o.BF16,
	})
	widest, largest := 0, 0
	for i := range t.units {
		u := &t.units[i]
		widest, largest = max(widest, u.blocks*family.Lanes), max(largest, u.size)
		t.means, t.vars = append(t.means, make([]float64, u.OutShape.C)), append(t.vars, make([]float64, u.OutShape.C))
		for _, w := range t.workers {
			w.need(u.source, u.chunk, family.Lanes)
			w.work = grow(w.work, u.workspace(u.chunk))
			if o.BF16 {
				w.y, w.r = grow(w.y, u.chunk*u.size), grow(w.r, u.size)
			}
		}
	}
	for _, w := range t.workers {
		w.plain, w.last = make([]T, largest), make([]T, t.units[len(t.units)-1].size)
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

// Close ends the workers; the Training must not be used again.
func (t *Training[T]) Close() { t.pool.close() }

// Load takes over γ, β, biases and the output layer of params from the next step
// on; the convolutions keep the filters that are packed until a Repack.
func (t *Training[T]) Load(params *Params[T]) { t.params = params }

// Repack packs filters again after the weights changed: those of the
// convolutions whose weight gradients are computed, as no others are trained.
func (t *Training[T]) Repack() {
	t.pool.run(len(t.units), t.repack)
}

func (t *Training[T]) repackUnit(worker, i int) {
	if t.o.Gradients.weights(t.units[i].Shortcut) {
		t.packForward(worker, i)
		t.packBackward(worker, i)
	}
}

// Forward computes the logits and the loss of x, N×C×H×W with N = len(labels)
// at most the batch, normalising with the batch's own statistics. x must stay
// as it is until Backward is done.
func (t *Training[T]) Forward(x []T, labels []int32) Loss {
	in := t.net.Input
	if len(labels) == 0 || len(labels) > t.o.Batch || len(x) < len(labels)*in.C*in.H*in.W {
		panic(fmt.Sprintf("nn: %d values and %d labels for a batch of %d pictures of %v", len(x), len(labels), t.o.Batch, in))
	}
	t.x, t.labels, t.n = x, labels, len(labels)
	for i := 0; i < len(t.units); i = t.stagesEnd {
		begin := t.begin()
		t.stage, t.stagesEnd = i, t.together(i)
		most := t.units[i].chunk
		for j := range t.units[i:t.stagesEnd] {
			most = min(most, t.units[i+j].chunk)
		}
		t.runChunks(most, t.forwardChunk)
		for j := i; j < t.stagesEnd; j++ {
			t.finishStatistics(j)
		}
		t.end(begin, i, Forward)
	}
	begin := t.begin()
	t.stage = len(t.units)
	t.pool.run(t.n, t.headImage)
	t.end(begin, t.stage, Forward)
	l := Loss{Examples: t.n}
	for i := range t.n {
		l.Sum += t.losses[i]
		if t.correct[i] {
			l.Correct++
		}
	}
	return l
}

// together is the end of the stages from i on that run chunk by chunk beside each
// other: i's alone, or with a next one that reads the same, as a shortcut does,
// and finds it in the cache. They may share memory unless everything is kept, and
// a timer takes them one by one.
func (t *Training[T]) together(i int) int {
	u := &t.units[i]
	if next := i + 1; next < len(t.units) && t.units[next].In == u.In && u.In != arch.Picture &&
		t.o.Gradients.below() && t.timer == nil {
		return next + 1
	}
	return i + 1
}

// runChunks calls do for every chunk of the batch, of at most most images.
func (t *Training[T]) runChunks(most int, do func(worker, item int)) {
	t.divided = t.pool.divide(t.n, most)
	t.pool.run(t.divided.chunks, do)
}

// which is where a chunk's maxima are noted for Backward; nil where they need
// not be.
func (t *Training[T]) which(i, first, images int) []uint8 {
	if !t.o.Gradients.below() || t.backward.units[i].which == nil {
		return nil
	}
	size := t.units[i].size
	return t.backward.units[i].which[first*size:][:images*size]
}

// runForwardChunk takes one chunk of images through the stages under way.
func (t *Training[T]) runForwardChunk(worker, item int) {
	w := t.workers[worker]
	first, images := t.divided.chunk(item)
	for stage := t.stage; stage < t.stagesEnd; stage++ {
		w.ahead = append(w.ahead[:0], t.buffers.yAhead(&t.units[stage], first, images, t.n))
		if stage == t.stage {
			w.ahead = t.loadAhead(w.ahead, t.buffers, stage, first+images, images, t.n)
		}
		t.forwardImages(w, stage, first, images)
	}
}

// forwardImages convolves images and takes their moments while they are in the
// cache.
func (t *Training[T]) forwardImages(w *worker[T], stage, first, images int) {
	u := &t.units[stage]
	source := t.load(w, t.buffers, stage, first, images, t.x, u.source)
	y := t.destination(w, stage, first, images)
	u.apply(y, source, images, w.work, t.which(stage, first, images), w.ahead...)
	t.keep(y, stage, first, images)
	if u.BN == "" {
		return
	}
	channels := u.blocks * t.family.Lanes
	sums, squares := t.sums[stage%2], t.squares[stage%2]
	for i := range images {
		at := (first + i) * channels
		t.family.Moments(sums[at:][:channels], squares[at:][:channels], y[i*u.size:][:u.size], u.blocks, u.area)
	}
}

// finishStatistics combines the images' moments (Chan, Golub and LeVeque
// 1983) in image order, and sets unit i's BatchNorm.
func (t *Training[T]) finishStatistics(i int) {
	u := &t.units[i]
	if u.BN == "" {
		t.setAffine(i, nil, nil)
		return
	}
	bias := t.params.Of(i, arch.ConvBias)
	channels, count := u.blocks*t.family.Lanes, float64(t.n*u.area)
	mean, m2 := t.totals[0][:channels], t.totals[1][:channels]
	sums, squares := t.sums[i%2], t.squares[i%2]
	t.family.Totals(mean, sums, t.n)
	for c := range mean {
		mean[c] /= count
	}
	t.family.TotalSquares(m2, mean, sums, squares, t.n, u.area)
	for c := range u.OutShape.C {
		t.means[i][c], t.vars[i][c] = mean[c], m2[c]/count
		t.statistics.Mean[i][c] = mean[c]
		if bias != nil {
			t.statistics.Mean[i][c] += float64(bias[c])
		}
		// A batch of a single value has no unbiased variance; it counts as its
		// biased one, 0, rather than as NaN.
		t.statistics.Var[i][c] = m2[c] / math.Max(count-1, 1)
	}
	t.setAffine(i, t.means[i], t.vars[i])
	if t.o.Gradients.below() {
		for c, mean := range t.means[i] {
			t.backward.units[i].mean[c] = T(mean)
		}
	}
}

// runHeadImage takes one image from the last unit's convolution output to its
// loss and the loss's gradient with respect to the logits.
func (t *Training[T]) runHeadImage(worker, image int) {
	w, u := t.workers[worker], &t.units[len(t.units)-1]
	plain := w.last[:u.size]
	t.activate(w, t.buffers, u.index, image, true, nil, kernel.Layout{}, plain)
	channels, classes := u.blocks*t.family.Lanes, t.net.Classes
	pooled := t.pooled[image*channels:][:channels]
	logits := t.logits[image*classes:][:classes]
	t.head(pooled, logits, plain)
	var dlogits []T
	if t.backward != nil {
		dlogits = t.dlogits[image*classes:][:classes]
	}
	t.losses[image], t.correct[image] = crossEntropy(logits, int(t.labels[image]), dlogits, 1/float64(t.n), t.o.LabelSmoothing)
}

// head averages one image's last output over its area and applies the output
// layer.
func (p *plan[T]) head(pooled, logits, plain []T) {
	last := len(p.units) - 1
	u := &p.units[last]
	p.family.PlaneSums(pooled, plain, u.blocks, u.area)
	scale := 1 / T(u.area)
	for c := range pooled {
		pooled[c] *= scale
	}
	features := u.OutShape.C
	weight, bias := p.params.Of(last+1, arch.OutputWeight), p.params.Of(last+1, arch.OutputBias)
	for k := range logits {
		logits[k] = p.family.Dot(weight[k*features:][:features], pooled[:features]) + bias[k]
	}
}

// Logits are the last Forward's, N×classes.
func (t *Training[T]) Logits() []T { return t.logits[:t.n*t.net.Classes] }

// BatchStatistics are the last Forward's, valid until the next.
func (t *Training[T]) BatchStatistics() *Statistics { return t.statistics }

// Gradients are the last Backward's: of the mean loss over the batch, with its
// labels smoothed. The caller may change them until the next Backward. Values
// of tensors whose gradient is not computed are nil.
func (t *Training[T]) Gradients() *Params[T] {
	if t.backward == nil {
		return nil
	}
	return t.backward.gradients
}
