package nn

import (
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// Backward computes the gradients of the mean loss, with smoothed labels, of the batch of
// the last Forward.
func (t *Training[T]) Backward() {
	b, last := t.backward, len(t.units)-1
	start := t.startTimer()
	if t.o.Gradients.beforeOutput() {
		t.pool.run(t.n, b.maskHeadImage)
		t.finishGradients(last)
	}
	if t.o.Gradients&OutputGradients != 0 {
		t.outputGradients()
	}
	t.stopTimer(start, last+1, InputGradient)
	if !t.o.Gradients.beforeOutput() {
		return
	}
	for i := last; i >= 0; i-- {
		t.stage = i
		u, bu := &t.units[i], &b.units[i]
		if bu.weight != nil {
			start := t.startTimer()
			t.weightGradient(i)
			t.stopTimer(start, i, WeightGradient)
		}
		if u.In == arch.Picture {
			continue
		}
		start := t.startTimer()
		t.runChunks(bu.chunk, b.chunk)
		if bu.completes {
			t.finishGradients(u.In)
		}
		t.stopTimer(start, i, InputGradient)
	}
}

// runMaskHeadImage propagates one image's gradient from the logits back to the sum before
// the last ReLU.
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
		for offset := lanes; offset < u.area*lanes; offset += lanes {
			copy(g[block*u.area*lanes+offset:][:lanes], row)
		}
	}
	t.mask(t.workers[worker], last, image, g, nil)
}

// mask adds add to one image's gradient g of unit i's output and sets g to zero where
// the ReLU's output is zero. It computes the sums that are needed for the gradients of
// the unit's BatchNorm and of its projection's BatchNorm.
func (t *Training[T]) mask(w *worker[T], i, image int, g, add []T) {
	b, u := t.backward, &t.units[i]
	channels := u.blocks * t.family.Lanes
	offset := image * channels
	m := &w.masking
	*m = kernel.Masking[T]{Blocks: u.blocks, H: u.OutShape.H, W: u.OutShape.W, G: g, Add: add,
		Scale: u.scale, Shift: u.shift, Floor: u.floor,
		Y: t.output(t.buffers, i, image, w.y), Mean: b.units[i].mean,
		SumG: b.sumG[offset:][:channels], SumGY: b.sumGY[offset:][:channels]}
	if mask := t.buffers.mask[i]; mask != nil {
		bytes := u.size / t.family.Lanes
		m.Mask = mask[image*bytes:][:bytes]
	}
	if u.residual == projection {
		m.R, m.RMean = t.output(t.buffers, u.Add.From, image, w.r), b.units[u.Add.From].mean
		m.SumGR = b.sumGR[offset:][:channels]
	}
	t.family.MaskGradient(m)
}

// runBackwardChunk computes the gradient of the current stage's input, or the stage's share of
// it, from the stage's g, for one chunk of images.
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
		u.pooling.gradient(dx, dy, images, t.argmax(t.stage, first, images))
	} else {
		padded := w.padded[bu.source]
		length := bu.source.Len(t.family.Lanes)
		for i := range images {
			t.inputGradient(w, t.stage, first+i, padded[i*length:][:length], bu.source, nil)
		}
		w.prefetch = w.prefetch[:0]
		if &bu.dx[0] != &bu.g[0] { // otherwise it is in the cache, because inputGradient has just read it
			w.prefetch = append(w.prefetch, dx)
		}
		if bu.completes {
			w.prefetch = append(w.prefetch, t.buffers.yImages(&t.units[u.In], first, images, t.n))
			if from := &t.units[u.In]; from.residual == projection {
				w.prefetch = append(w.prefetch, t.buffers.yImages(&t.units[from.Add.From], first, images, t.n))
			}
			if bu.add != nil {
				w.prefetch = append(w.prefetch, imageRange(bu.add, bu.addSize, first, images, t.n))
			}
		}
		w.prefetch = append(w.prefetch, imageRange(bu.g, u.size, first+images, images, t.n), t.buffers.yImages(u, first+images, images, t.n))
		bu.data.Run(dx, padded, images, w.work, w.prefetch...)
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

// inputGradient computes dy, the gradient of one image's y of unit i, and writes it to padded
// and plain, either of which may be nil.
func (t *Training[T]) inputGradient(w *worker[T], i, image int, padded []T, l kernel.Layout, plain []T) {
	u, bu := &t.units[i], &t.backward.units[i]
	w.gradient = kernel.InputGradient[T]{Blocks: u.blocks, H: u.OutShape.H, W: u.OutShape.W,
		G: bu.g[image*u.size:][:u.size], Y: t.output(t.buffers, i, image, w.y),
		CG: bu.cg, CY: bu.cy, C1: bu.c1, Padded: padded, Layout: l, Plain: plain}
	t.family.BatchNormGradient(&w.gradient)
}

// finishGradients turns the sums over images into gradients of γ and β, or of a bias
// without BatchNorm, and into the coefficients of the input gradient, for unit i and
// its projection. The gradient of a bias before BatchNorm is zero.
func (t *Training[T]) finishGradients(i int) {
	t.finishBatchNorm(i, t.backward.sumGY)
	if u := &t.units[i]; u.residual == projection {
		t.finishBatchNorm(u.Add.From, t.backward.sumGR)
	}
}

// finishBatchNorm is finishGradients for one BatchNorm, or for one bias without BatchNorm.
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
		// sumGY was computed with the rounded mean.
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

// outputGradients computes the output layer's gradients, in image order.
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

// weightGradient computes the weight gradient of unit i's convolution.
func (t *Training[T]) weightGradient(i int) {
	b, bu := t.backward, &t.backward.units[i]
	t.pool.run(len(b.groups), b.group)
	t.pool.run(reducePieces, b.reduce)
	bu.weight.Unpack(b.gradients.Of(i, arch.ConvWeight), b.groups[0][:bu.weight.Len()])
}

// runWeightGroup accumulates the weight gradient over one group of images.
func (t *Training[T]) runWeightGroup(worker, group int) {
	w, u, bu := t.workers[worker], &t.units[t.stage], &t.backward.units[t.stage]
	groups := len(t.backward.groups)
	acc := t.backward.groups[group][:bu.weight.Len()]
	clear(acc)
	end := (group + 1) * t.n / groups
	for first := group * t.n / groups; first < end; first += bu.chunk {
		images := min(bu.chunk, end-first)
		source := t.reload(w, first, images, bu.weight.Source())
		for i := range images {
			t.inputGradient(w, t.stage, first+i, nil, kernel.Layout{}, w.dy[i*u.size:][:u.size])
		}
		bu.weight.Accumulate(acc, source, w.dy[:images*u.size], images, w.work)
	}
}

// reload computes the input of the current stage's convolution again, for images first to
// first+images-1, padded according to l.
func (t *Training[T]) reload(w *worker[T], first, images int, l kernel.Layout) []T {
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

// reducePieces is the number of pieces into which the sum over groups is split, so that
// several threads can compute it.
const reducePieces = 16

// runReduce adds one piece of each further group's accumulator to the first group's.
func (t *Training[T]) runReduce(_, piece int) {
	b := t.backward
	length := b.units[t.stage].weight.Len()
	start, end := piece*length/reducePieces, (piece+1)*length/reducePieces
	for _, g := range b.groups[1:] {
		t.family.Axpy(b.groups[0][start:end], 1, g[start:end])
	}
}
