package nn

import (
	"fmt"
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// The functions in this file appear in the order in which a stage needs them. They
// split the batch into chunks, load the input (which computes the previous unit's
// activation), convolve, take moments, and turn these into BatchNorm's scale and
// shift. The head comes last. Inference also uses load, activate, apply, setAffine and
// head.

// Forward computes the logits and the loss of x, N×C×H×W, and normalises with the
// statistics of x itself. N is len(labels) and at most the batch size. x must not
// change until Backward has returned.
func (t *Training[T]) Forward(x []T, labels []int32) Loss {
	in := t.net.Input
	if len(labels) == 0 || len(labels) > t.o.Batch || len(x) < len(labels)*in.C*in.H*in.W {
		panic(fmt.Sprintf("nn: %d values and %d labels for a batch of 1 to %d pictures of %v", len(x), len(labels), t.o.Batch, in))
	}
	t.x, t.labels, t.n = x, labels, len(labels)
	for i := 0; i < len(t.units); i = t.stagesEnd {
		start := t.startTimer()
		t.stage, t.stagesEnd = i, t.fusedEnd(i)
		limit := t.units[i].chunk
		for j := range t.units[i:t.stagesEnd] {
			limit = min(limit, t.units[i+j].chunk)
		}
		t.runChunks(limit, t.forwardChunk)
		for j := i; j < t.stagesEnd; j++ {
			t.finishStatistics(j)
		}
		t.stopTimer(start, i, Forward)
	}
	start := t.startTimer()
	t.stage = len(t.units)
	t.pool.run(t.n, t.headImage)
	t.stopTimer(start, t.stage, Forward)
	l := Loss{Examples: t.n}
	for i := range t.n {
		l.Sum += t.losses[i]
		if t.correct[i] {
			l.Correct++
		}
	}
	return l
}

// fusedEnd returns the end of the stage group that starts at i. Each chunk runs
// through all stages of its group. If stage i and the next one read the same unit, as
// a shortcut does, they form a group, so that the second stage finds the input in the
// cache. All other stages form a group alone. So do all stages if a timer measures each of
// them, or if the units need no gradients, because their y may then share memory.
func (t *Training[T]) fusedEnd(i int) int {
	u := &t.units[i]
	if next := i + 1; next < len(t.units) && t.units[next].In == u.In && u.In != arch.Picture &&
		t.o.Gradients.beforeOutput() && t.timer == nil {
		return next + 1
	}
	return i + 1
}

// runChunks divides the batch into chunks of at most limit images and calls do for
// each chunk.
func (t *Training[T]) runChunks(limit int, do func(worker, item int)) {
	t.divided = t.pool.divide(t.n, limit)
	t.pool.run(t.divided.chunks, do)
}

// runForwardChunk runs the current stages on one chunk of images.
func (t *Training[T]) runForwardChunk(worker, item int) {
	w := t.workers[worker]
	first, images := t.divided.chunk(item)
	for stage := t.stage; stage < t.stagesEnd; stage++ {
		w.prefetch = append(w.prefetch[:0], t.buffers.yImages(&t.units[stage], first, images, t.n))
		if stage == t.stage {
			w.prefetch = t.appendLoadMemory(w.prefetch, t.buffers, stage, first+images, images, t.n)
		}
		t.forwardImages(w, stage, first, images)
	}
}

// forwardImages convolves images and computes their moments while they are in the cache.
func (t *Training[T]) forwardImages(w *worker[T], stage, first, images int) {
	u := &t.units[stage]
	source := t.load(w, t.buffers, stage, first, images, t.x, u.source)
	y := t.destination(w, stage, first, images)
	u.apply(y, source, images, w.work, t.argmax(stage, first, images), w.prefetch...)
	t.roundY(y, stage, first, images)
	if u.BN == "" {
		return
	}
	channels := u.blocks * t.family.Lanes
	sums, squares := t.sums[stage%2], t.squares[stage%2]
	for i := range images {
		offset := (first + i) * channels
		t.family.Moments(sums[offset:][:channels], squares[offset:][:channels], y[i*u.size:][:u.size], u.blocks, u.area)
	}
}

// input returns the unit whose output a stage reads. The stage of a unit reads the unit's
// In, and the head reads the last unit.
func (p *plan[T]) input(stage int) int {
	if stage == len(p.units) {
		return stage - 1
	}
	return p.units[stage].In
}

// fresh reports whether a stage is the first to read its input.
func (p *plan[T]) fresh(stage int) bool {
	return stage == len(p.units) || p.units[stage].fresh
}

// load returns the input of stage's operation for images first to first+images-1,
// padded according to l. The result is the worker's padded copy, or the images
// themselves if they were kept and need no padding. x holds the batch's pictures,
// N×C×H×W.
func (p *plan[T]) load(w *worker[T], b *buffers[T], stage, first, images int, x []T, l kernel.Layout) []T {
	padded, length := w.padded[l], l.Len(p.family.Lanes)
	in := p.input(stage)
	if in == arch.Picture {
		shape := p.net.Input
		size := shape.C * shape.H * shape.W
		for i := range images {
			packPicture(padded[i*length:][:length], x[(first+i)*size:][:size], shape, l, p.family.Lanes)
		}
		return padded
	}
	fresh := p.fresh(stage)
	if kept := p.keptUnpadded(b, in, first, images, l); kept != nil {
		for i := 0; fresh && i < images; i++ {
			p.activate(w, b, in, first+i, fresh, nil, l, nil)
		}
		return kept
	}
	for i := range images {
		p.activate(w, b, in, first+i, fresh, padded[i*length:][:length], l, nil)
	}
	return padded
}

// packPicture writes a picture, C×H×W, to the interior of its padded copy. The
// lanes of missing channels become zero.
func packPicture[T kernel.Float](dst, picture []T, s arch.Shape, l kernel.Layout, lanes int) {
	area := s.H * s.W
	for block := range l.Blocks {
		channels := min(lanes, s.C-block*lanes)
		for h := range s.H {
			row := dst[((block*l.Rows+l.Top+h)*l.Cols+l.Left)*lanes:][:s.W*lanes]
			clear(row)
			for c := range channels {
				for w, v := range picture[(block*lanes+c)*area+h*s.W:][:s.W] {
					row[w*lanes+c] = v
				}
			}
		}
	}
}

// keptUnpadded returns unit in's kept output of some images. It returns nil if the
// output is not kept or l requires padding.
func (p *plan[T]) keptUnpadded(b *buffers[T], in, first, images int, l kernel.Layout) []T {
	u := &p.units[in]
	if !u.kept || l.Padded() {
		return nil
	}
	return b.out[in][first*u.size:][:images*u.size]
}

// activate computes one image's output of unit i and writes it to padded and to
// plain, either of which may be nil. If fresh is set, it also stores the output's mask, if
// that is needed, and stores a kept output in its buffer instead of in plain. If fresh is not
// set, it reads a kept output instead of computing it from y again.
func (p *plan[T]) activate(w *worker[T], b *buffers[T], i, image int, fresh bool, padded []T, l kernel.Layout, plain []T) {
	u := &p.units[i]
	a := &w.activation
	*a = kernel.Activation[T]{Blocks: u.blocks, H: u.OutShape.H, W: u.OutShape.W,
		Padded: padded, Layout: l, Plain: plain}
	if !fresh && u.kept {
		a.Y, a.Scale, a.Shift, a.Floor = b.out[i][image*u.size:][:u.size], p.ones, p.zeros, p.noFloor
		p.family.Activate(a)
		return
	}
	a.Y, a.Scale, a.Shift, a.Floor = p.output(b, i, image, w.y), u.scale, u.shift, u.floor
	switch u.residual {
	case identity:
		a.R = b.out[u.Add.From][image*u.size:][:u.size]
	case projection:
		from := &p.units[u.Add.From]
		a.R, a.RScale, a.RShift = p.output(b, u.Add.From, image, w.r), from.scale, from.shift
	case subsampledPad:
		from := &p.units[u.Add.From]
		a.R = w.plain[:u.size]
		subsample(a.R, b.out[u.Add.From][image*from.size:][:from.size], u.OutShape, from.OutShape, p.family.Lanes)
	case mapped:
		from := &p.units[u.Add.From]
		a.R = w.plain[:u.size]
		mapChannels(a.R, b.out[u.Add.From][image*from.size:][:from.size], u.Add.Map, u.OutShape, from.OutShape, p.family.Lanes)
	}
	if fresh && u.kept {
		a.Plain = b.out[i][image*u.size:][:u.size]
	}
	if fresh && b.mask[i] != nil {
		bytes := u.size / p.family.Lanes
		a.Mask = b.mask[i][image*bytes:][:bytes]
	}
	p.family.Activate(a)
}

// output returns one image's y of unit i as T. If y is stored as bfloat16, output
// expands it into scratch.
func (p *plan[T]) output(b *buffers[T], i, image int, scratch []T) []T {
	u := &p.units[i]
	if !b.bf16 {
		return b.y[i][image*u.size:][:u.size]
	}
	y := scratch[:u.size]
	p.family.ExpandBF16(y, b.yBF16(u, image, 1))
	return y
}

// destination returns the memory to which the operation of unit i writes a chunk of
// images: y itself, or the worker's scratch memory, which roundY then rounds to
// bfloat16.
func (t *Training[T]) destination(w *worker[T], i, first, images int) []T {
	u := &t.units[i]
	if t.buffers.bf16 {
		return w.y[:images*u.size]
	}
	return t.buffers.y[i][first*u.size:][:images*u.size]
}

// argmax returns the memory in which a max pool stores the positions of a chunk's maxima for
// Backward, or nil if Backward does not need them.
func (t *Training[T]) argmax(i, first, images int) []uint8 {
	if !t.o.Gradients.beforeOutput() || t.backward.units[i].argmax == nil {
		return nil
	}
	size := t.units[i].size
	return t.backward.units[i].argmax[first*size:][:images*size]
}

// apply runs the unit's convolution or pool on padded images. A max pool stores the positions
// of its maxima in argmax, unless argmax is nil. A convolution prefetches the given memory.
func (u *unit[T]) apply(dst, padded []T, images int, work []T, argmax []uint8, prefetch ...[]T) {
	if u.pooling != nil {
		u.pooling.run(dst, padded, images, argmax)
		return
	}
	u.forward.Run(dst, padded, images, work, prefetch...)
}

// roundY stores y, which unit i's operation has just written to its destination, as
// bfloat16. Before a BatchNorm it rounds y in place too, so that the statistics are computed
// from the values that Backward will read. It does nothing if y is stored as float32.
func (t *Training[T]) roundY(y []T, i, first, images int) {
	if !t.buffers.bf16 {
		return
	}
	half := t.buffers.yBF16(&t.units[i], first, images)
	t.family.RoundBF16(half, y)
	if t.units[i].BN != "" {
		t.family.ExpandBF16(y, half)
	}
}

// appendLoadMemory appends to prefetch most of the memory that load reads and writes for images
// first to first+images-1: the y and kept outputs of units, except residuals that go through a
// channel map. It leaves out images beyond the batch of n.
func (p *plan[T]) appendLoadMemory(prefetch [][]T, b *buffers[T], stage, first, images, n int) [][]T {
	in := p.input(stage)
	if in == arch.Picture {
		return prefetch
	}
	u := &p.units[in]
	if u.kept && !p.fresh(stage) {
		return append(prefetch, imageRange(b.out[in], u.size, first, images, n))
	}
	prefetch = append(prefetch, b.yImages(u, first, images, n))
	switch u.residual {
	case identity:
		prefetch = append(prefetch, imageRange(b.out[u.Add.From], u.size, first, images, n))
	case projection:
		prefetch = append(prefetch, b.yImages(&p.units[u.Add.From], first, images, n))
	}
	if u.kept {
		prefetch = append(prefetch, imageRange(b.out[in], u.size, first, images, n))
	}
	return prefetch
}

// yImages returns the memory of unit u's y for images first to first+images-1, without images
// beyond the batch of n.
func (b *buffers[T]) yImages(u *unit[T], first, images, n int) []T {
	return imageRange(b.y[u.index], b.elements(u, 1), first, images, n)
}

// imageRange returns images first to first+images-1 of x, size elements each, without those
// beyond the batch of n.
func imageRange[T kernel.Float](x []T, size, first, images, n int) []T {
	return x[min(first, n)*size : min(first+images, n)*size]
}

// finishStatistics combines the images' moments (Chan, Golub and LeVeque 1983) in
// image order, and sets the scale and shift of unit i's BatchNorm.
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
		// The unbiased variance of a single value would be NaN; use 0, its biased
		// variance.
		t.statistics.Var[i][c] = m2[c] / math.Max(count-1, 1)
	}
	t.setAffine(i, t.means[i], t.vars[i])
	if t.o.Gradients.beforeOutput() {
		for c, mean := range t.means[i] {
			t.backward.units[i].mean[c] = T(mean)
		}
	}
}

// setAffine sets unit i's scale and shift from each channel's mean and variance and the
// current γ and β. Without BatchNorm, the shift is the bias. mean is the mean of y, which
// does not include the bias.
func (p *plan[T]) setAffine(i int, mean, variance []float64) {
	u := &p.units[i]
	if u.BN == "" {
		bias := p.params.Of(i, arch.ConvBias)
		copy(u.shift, bias)
		for c := range u.OutShape.C {
			u.scale[c] = 1
		}
		return
	}
	gamma, beta := p.params.Of(i, arch.Gamma), p.params.Of(i, arch.Beta)
	for c := range mean {
		scale, shift := 1/math.Sqrt(variance[c]+p.eps), 0.0
		if gamma != nil {
			scale = float64(gamma[c]) / math.Sqrt(variance[c]+p.eps)
		}
		if beta != nil {
			shift = float64(beta[c])
		}
		u.scale[c] = T(scale)
		u.shift[c] = T(shift - mean[c]*scale)
	}
}

// runHeadImage computes one image's logits and loss from the last unit's y and, unless
// Gradients is NoGradients, the gradient of the mean loss with respect to the logits.
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

// head averages plain, one image's output of the last unit, over its area into pooled, and
// applies the output layer.
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
