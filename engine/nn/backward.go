package nn

import (
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// weightGroups is the number of image ranges whose weight gradients are
// summed apart and then in order: it bounds the threads that share a weight
// gradient, and is fixed so that the sum's order is.
const weightGroups = 16

// backward is what Training adds for gradients.
type backward[T kernel.Float] struct {
	units     []backwardUnit[T] // none where only the output layer gets a gradient
	gradients *Params[T]
	dpooled   []T // image × features

	sumG, sumGY, sumGR []T // of one stage, image × channel

	groups [][]T // weight-gradient accumulators

	maskHeadImage, chunk, group, reduce func(worker, item int)
}

// backwardUnit is one unit's way back.
type backwardUnit[T kernel.Float] struct {
	data   kernel.Conv[T]           // nil where the input needs no gradient, and for a pool
	weight kernel.WeightGradient[T] // nil where not asked for
	source kernel.Layout            // of data
	chunk  int
	which  []uint8 // which of its window each maximum of a max pool is, image × size

	g  []T // gradient of the sum before the ReLU, image × size; a projection shares its block's
	dx []T // gradient of the input, or this unit's share of it

	// Where this unit is the last to add to its input's gradient, dx becomes
	// the input's g: the share of the others is added and the ReLU's mask
	// applied.
	completes bool
	add       []T  // the other's share; nil for none
	addSize   int  // its elements of an image
	addSpread bool // it belongs to every second row and column
	addMapped int  // it belongs where this unit's channel map says; -1 for none

	// BatchNorm's input gradient as dy = cg·g + cy·y + c1, by channel; without
	// BatchNorm dy = g
	cg, cy, c1 []T
	mean       []T // of y, by channel
}

func newBackward[T kernel.Float](t *Training[T]) *backward[T] {
	b := &backward[T]{gradients: NewParams[T](t.net, t.o.Gradients.keeps)}
	if !t.o.Gradients.below() {
		return b
	}
	b.units = make([]backwardUnit[T], len(t.units))
	b.dpooled = make([]T, len(t.pooled))
	b.sumG, b.sumGY, b.sumGR = make([]T, len(t.sums[0])), make([]T, len(t.sums[0])), make([]T, len(t.sums[0]))
	lanes, accumulator, dySize := t.family.Lanes, 0, 0
	for i := range t.units {
		u, bu := &t.units[i], &b.units[i]
		channels := u.blocks * lanes
		bu.cg, bu.cy, bu.c1, bu.mean = make([]T, channels), make([]T, channels), make([]T, channels), make([]T, channels)
		bu.chunk = u.chunk
		if u.BN == "" {
			copy(bu.cg, t.ones)
		}
		if u.Op == arch.MaxPool {
			bu.which = make([]uint8, u.size*t.o.Batch)
		}
		if u.pooling != nil {
			dySize = max(dySize, bu.chunk*u.size)
		}
		if u.In != arch.Picture && u.pooling == nil {
			bu.data = t.family.NewBackward(backwardShape(u))
			bu.source = bu.data.Source()
		}
		if t.o.Gradients.weights(u.Shortcut) && u.pooling == nil {
			bu.weight = t.family.NewWeightGradient(convShape(u.Unit))
			accumulator = max(accumulator, bu.weight.Len())
			dySize = max(dySize, bu.chunk*u.size)
		}
		for _, w := range t.workers {
			if bu.data != nil {
				w.need(bu.source, bu.chunk, lanes)
				w.work = grow(w.work, bu.data.Workspace(bu.chunk))
			}
			if bu.weight != nil {
				w.need(bu.weight.Source(), bu.chunk, lanes)
				w.work = grow(w.work, bu.weight.Workspace(bu.chunk))
			}
			w.dy = grow(w.dy, dySize)
		}
	}
	if accumulator > 0 {
		b.groups = make([][]T, min(weightGroups, t.o.Batch))
		for i := range b.groups {
			b.groups[i] = make([]T, accumulator)
		}
	}
	b.place(t)
	b.maskHeadImage, b.chunk, b.group, b.reduce = t.runMaskHeadImage, t.runBackwardChunk, t.runWeightGroup, t.runReduce
	return b
}

// subsamples tells whether a unit reads only every second row and column of an
// input that another unit reads, too: its share of the input's gradient is then
// computed for these alone.
func (u *unit[T]) subsamples() bool {
	return u.Op == arch.Convolution && u.Kernel == 1 && u.Stride == 2 && u.Pad == 0 && !u.fresh
}

// shareSize is the elements of a unit's share of the gradient of its input, in.
func (u *unit[T]) shareSize(in *unit[T], lanes int) int {
	if u.subsamples() {
		return in.blocks * u.area * lanes
	}
	return in.size
}

// backwardShape is the convolution whose backward computes a unit's share of its
// input's gradient.
func backwardShape[T kernel.Float](u *unit[T]) kernel.ConvShape {
	s := convShape(u.Unit)
	if u.subsamples() {
		s.H, s.W, s.Stride = u.OutShape.H, u.OutShape.W, 1
	}
	return s
}

// packBackward packs a unit's filters for the way back, if it needs them. It is
// a pool's item.
func (t *Training[T]) packBackward(_, i int) {
	if conv := t.backward.units[i].data; conv != nil {
		conv.SetFilters(t.params.Of(i, arch.ConvWeight))
	}
}

// place plans which gradients share memory: it walks the backward pass once,
// handing out slots, and then allocates them.
func (b *backward[T]) place(t *Training[T]) {
	n := len(t.units)
	var s slots
	g, dx, add := make([]int, n), make([]int, n), make([]int, n)
	pending := make([]struct {
		slot, size int // of what another already adds to a unit's output gradient; slot -1 for none
		spread     bool
		mapped     int // the unit whose channel map leads to it; -1 for none
	}, n)
	contributors := make([]int, n)
	for i := range t.units {
		pending[i].slot, pending[i].mapped, dx[i], add[i] = -1, -1, -1, -1
		b.units[i].addMapped = -1
		if in := t.units[i].In; in != arch.Picture {
			contributors[in]++
		}
	}
	g[n-1] = s.take(t.units[n-1].size)
	for i := n - 1; i >= 0; i-- {
		u, bu := &t.units[i], &b.units[i]
		switch u.residual {
		case projection:
			g[u.Add.From] = g[i]
			s.share(g[i])
		case identity, subsampledPad, mapped:
			to := &pending[u.Add.From]
			to.slot, to.size, to.spread = g[i], u.size, u.residual == subsampledPad
			if u.residual == mapped {
				to.mapped = i
			}
			s.share(g[i])
		}
		if u.In != arch.Picture {
			in := u.In
			size := u.shareSize(&t.units[in], t.family.Lanes)
			if bu.data != nil && size == u.size && s.users[g[i]] == 1 {
				// A call reads the gradients of its images before it writes
				// theirs: in place, what it writes is in the cache.
				dx[i] = g[i]
				s.share(g[i])
			} else {
				dx[i] = s.take(size)
			}
			contributors[in]--
			if contributors[in] > 0 {
				to := &pending[in]
				to.slot, to.size, to.spread = dx[i], size, u.subsamples()
			} else {
				bu.completes = true
				g[in] = dx[i]
				if other := pending[in]; other.slot >= 0 {
					add[i], bu.addSize, bu.addSpread, bu.addMapped = other.slot, other.size, other.spread, other.mapped
					s.free(other.slot)
				}
			}
		}
		s.free(g[i])
	}
	memory := make([][]T, len(s.sizes))
	for i, size := range s.sizes {
		memory[i] = make([]T, size*t.o.Batch)
	}
	for i := range t.units {
		bu := &b.units[i]
		bu.g = memory[g[i]]
		if dx[i] >= 0 {
			bu.dx = memory[dx[i]]
		}
		if add[i] >= 0 {
			bu.add = memory[add[i]]
		}
	}
}

// Backward computes the gradients of the last Forward's mean loss, with its
// labels smoothed.
func (t *Training[T]) Backward() {
	b, last := t.backward, len(t.units)-1
	begin := t.begin()
	if t.o.Gradients.below() {
		t.pool.run(t.n, b.maskHeadImage)
		t.finishGradients(last)
	}
	if t.o.Gradients&OutputGradients != 0 {
		t.outputGradients()
	}
	t.end(begin, last+1, InputGradient)
	if !t.o.Gradients.below() {
		return
	}
	for i := last; i >= 0; i-- {
		t.stage = i
		u, bu := &t.units[i], &b.units[i]
		if bu.weight != nil {
			begin := t.begin()
			t.weightGradient(i)
			t.end(begin, i, WeightGradient)
		}
		if u.In == arch.Picture {
			continue
		}
		begin := t.begin()
		t.runChunks(bu.chunk, b.chunk)
		if bu.completes {
			t.finishGradients(u.In)
		}
		t.end(begin, i, InputGradient)
	}
}

// runMaskHeadImage takes one image's gradient from the logits back to the sum
// before the last ReLU.
func (t *Training[T]) runMaskHeadImage(worker, image int) {
	b, last := t.backward, len(t.units)-1
	u := &t.units[last]
	lanes, features, classes := t.family.Lanes, u.OutShape.C, t.net.Classes
	channels := u.blocks * lanes
	weight := t.params.Of(last+1, arch.OutputWeight)
	dpooled := b.dpooled[image*channels:][:channels]
	clear(dpooled)
	for k, d := range t.dlogits[image*classes:][:classes] {
		t.family.Axpy(dpooled[:features], d, weight[k*features:][:features])
	}
	g := b.units[last].g[image*u.size:][:u.size]
	scale := 1 / T(u.area)
	for block := range u.blocks {
		row := g[block*u.area*lanes:][:lanes]
		for c := range row {
			row[c] = dpooled[block*lanes+c] * scale
		}
		for at := lanes; at < u.area*lanes; at += lanes {
			copy(g[block*u.area*lanes+at:][:lanes], row)
		}
	}
	t.mask(t.workers[worker], last, image, g, nil)
}

// mask applies unit i's ReLU to one image's gradient g, after adding add, and
// takes the sums that its BatchNorm's gradient needs, and its projection's.
func (t *Training[T]) mask(w *worker[T], i, image int, g, add []T) {
	b, u := t.backward, &t.units[i]
	channels := u.blocks * t.family.Lanes
	at := image * channels
	m := &w.masking
	*m = kernel.Masking[T]{Blocks: u.blocks, H: u.OutShape.H, W: u.OutShape.W, G: g, Add: add,
		Scale: u.scale, Shift: u.shift, Floor: u.floor,
		Y: t.output(t.buffers, i, image, w.y), Mean: b.units[i].mean,
		SumG: b.sumG[at:][:channels], SumGY: b.sumGY[at:][:channels]}
	if mask := t.buffers.mask[i]; mask != nil {
		bytes := u.size / t.family.Lanes
		m.Mask = mask[image*bytes:][:bytes]
	}
	if u.residual == projection {
		m.R, m.RMean = t.output(t.buffers, u.Add.From, image, w.r), b.units[u.Add.From].mean
		m.SumGR = b.sumGR[at:][:channels]
	}
	t.family.MaskGradient(m)
}

// runBackwardChunk takes one chunk of images from the gradient before unit
// stage's ReLU to its input's.
func (t *Training[T]) runBackwardChunk(worker, item int) {
	w, u, bu := t.workers[worker], &t.units[t.stage], &t.backward.units[t.stage]
	first, images := t.divided.chunk(item)
	size := u.shareSize(&t.units[u.In], t.family.Lanes)
	dx := bu.dx[first*size:][:images*size]
	if u.pooling != nil {
		dy := w.dy[:images*u.size]
		for i := range images {
			t.inputGradient(w, t.stage, first+i, nil, kernel.Layout{}, dy[i*u.size:][:u.size])
		}
		u.pooling.gradient(dx, dy, images, t.which(t.stage, first, images))
	} else {
		padded := w.padded[bu.source]
		length := bu.source.Len(t.family.Lanes)
		for i := range images {
			t.inputGradient(w, t.stage, first+i, padded[i*length:][:length], bu.source, nil)
		}
		w.ahead = w.ahead[:0]
		if &bu.dx[0] != &bu.g[0] { // else it has just been read
			w.ahead = append(w.ahead, dx)
		}
		if bu.completes {
			w.ahead = append(w.ahead, t.buffers.yAhead(&t.units[u.In], first, images, t.n))
			if from := &t.units[u.In]; from.residual == projection {
				w.ahead = append(w.ahead, t.buffers.yAhead(&t.units[from.Add.From], first, images, t.n))
			}
			if bu.add != nil {
				w.ahead = append(w.ahead, part(bu.add, bu.addSize, first, images, t.n))
			}
		}
		w.ahead = append(w.ahead, part(bu.g, u.size, first+images, images, t.n), t.buffers.yAhead(u, first+images, images, t.n))
		bu.data.Run(dx, padded, images, w.work, w.ahead...)
	}
	if !bu.completes {
		return
	}
	in := &t.units[u.In]
	for i := range images {
		dx, add := dx[i*size:][:size], bu.add
		if add != nil {
			add = add[(first+i)*bu.addSize:][:bu.addSize]
		}
		switch {
		case bu.addSpread:
			t.family.SubsampleGradient(dx, add, in.blocks, in.OutShape.H, in.OutShape.W)
			add = nil
		case bu.addMapped >= 0:
			m := &t.units[bu.addMapped]
			mapGradient(dx, add, m.Add.Map, m.OutShape, in.OutShape, t.family.Lanes)
			add = nil
		}
		t.mask(w, u.In, first+i, dx, add)
	}
}

// inputGradient computes one image's gradient of unit i's convolution output.
func (t *Training[T]) inputGradient(w *worker[T], i, image int, padded []T, l kernel.Layout, plain []T) {
	u, bu := &t.units[i], &t.backward.units[i]
	w.gradient = kernel.InputGradient[T]{Blocks: u.blocks, H: u.OutShape.H, W: u.OutShape.W,
		G: bu.g[image*u.size:][:u.size], Y: t.output(t.buffers, i, image, w.y),
		CG: bu.cg, CY: bu.cy, C1: bu.c1, Padded: padded, Layout: l, Plain: plain}
	t.family.BatchNormGradient(&w.gradient)
}

// finishGradients turns the sums over images into the gradients of unit i's γ
// and β (or bias: before a BatchNorm its gradient is zero) and the coefficients of its input gradient, and of its projection's.
func (t *Training[T]) finishGradients(i int) {
	t.finishBatchNorm(i, t.backward.sumGY)
	if u := &t.units[i]; u.residual == projection {
		t.finishBatchNorm(u.Add.From, t.backward.sumGR)
	}
}

func (t *Training[T]) finishBatchNorm(i int, sumGY []T) {
	b, u, bu := t.backward, &t.units[i], &t.backward.units[i]
	channels, count := u.blocks*t.family.Lanes, float64(t.n*u.area)
	gs, gys := t.totals[0][:channels], t.totals[1][:channels]
	t.family.Totals(gs, b.sumG, t.n)
	if u.BN == "" {
		dbias := b.gradients.Of(i, arch.ConvBias)
		for c := range dbias {
			dbias[c] = T(gs[c])
		}
		return
	}
	t.family.Totals(gys, sumGY, t.n)
	gamma := t.params.Of(i, arch.Gamma)
	dgamma, dbeta := b.gradients.Of(i, arch.Gamma), b.gradients.Of(i, arch.Beta)
	for c := range u.OutShape.C {
		g, gy := gs[c], gys[c]
		mean, inv := t.means[i][c], 1/math.Sqrt(t.vars[i][c]+t.eps)
		// The sums were taken around the rounded mean.
		gx := (gy + (float64(bu.mean[c])-mean)*g) * inv
		if dgamma != nil {
			dgamma[c] = T(gx)
		}
		if dbeta != nil {
			dbeta[c] = T(g)
		}
		scale := inv
		if gamma != nil {
			scale = float64(gamma[c]) * inv
		}
		slope := -scale * inv * gx / count
		bu.cg[c], bu.cy[c], bu.c1[c] = T(scale), T(slope), T(-scale*g/count-slope*mean)
	}
}

// outputGradients sums the output layer's gradients in image order.
func (t *Training[T]) outputGradients() {
	last, classes := len(t.units)-1, t.net.Classes
	u := &t.units[last]
	channels, features := u.blocks*t.family.Lanes, u.OutShape.C
	dw, db := t.backward.gradients.Of(last+1, arch.OutputWeight), t.backward.gradients.Of(last+1, arch.OutputBias)
	clear(dw)
	clear(db)
	for i := range t.n {
		pooled := t.pooled[i*channels:][:features]
		for k, d := range t.dlogits[i*classes:][:classes] {
			t.family.Axpy(dw[k*features:][:features], d, pooled)
			db[k] += d
		}
	}
}

// weightGradient computes unit i's convolution weight gradient.
func (t *Training[T]) weightGradient(i int) {
	b, bu := t.backward, &t.backward.units[i]
	t.pool.run(len(b.groups), b.group)
	t.pool.run(reducePieces, b.reduce)
	bu.weight.Unpack(b.gradients.Of(i, arch.ConvWeight), b.groups[0][:bu.weight.Len()])
}

// runWeightGroup accumulates the weight gradient of one range of images.
func (t *Training[T]) runWeightGroup(worker, group int) {
	w, u, bu := t.workers[worker], &t.units[t.stage], &t.backward.units[t.stage]
	groups := len(t.backward.groups)
	acc := t.backward.groups[group][:bu.weight.Len()]
	clear(acc)
	end := (group + 1) * t.n / groups
	for first := group * t.n / groups; first < end; first += bu.chunk {
		images := min(bu.chunk, end-first)
		source := t.loadAgain(w, first, images, bu.weight.Source())
		for i := range images {
			t.inputGradient(w, t.stage, first+i, nil, kernel.Layout{}, w.dy[i*u.size:][:u.size])
		}
		bu.weight.Accumulate(acc, source, w.dy[:images*u.size], images, w.work)
	}
}

// loadAgain returns what stage's convolution read in Forward, padded as l says.
func (t *Training[T]) loadAgain(w *worker[T], first, images int, l kernel.Layout) []T {
	in := t.units[t.stage].In
	if in == arch.Picture {
		return t.load(w, t.buffers, t.stage, first, images, t.x, l)
	}
	if kept := t.keptUnpadded(t.buffers, in, first, images, l); kept != nil {
		return kept
	}
	padded, length := w.padded[l], l.Len(t.family.Lanes)
	for i := range images {
		t.activate(w, t.buffers, in, first+i, false, padded[i*length:][:length], l, nil)
	}
	return padded
}

// reducePieces splits the sum over groups for the threads.
const reducePieces = 16

// runReduce adds one piece of the groups' accumulators to the first's.
func (t *Training[T]) runReduce(_, piece int) {
	b := t.backward
	length := b.units[t.stage].weight.Len()
	from, to := piece*length/reducePieces, (piece+1)*length/reducePieces
	for _, g := range b.groups[1:] {
		t.family.Axpy(b.groups[0][from:to], 1, g[from:to])
	}
}
