package nn

import (
	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// weightGroups is the number of groups of images whose weight gradients are accumulated
// separately and then added in group order. A smaller batch size gives one group for each image.
// At most weightGroups threads can share the work. It is a constant so that the order of
// additions does not depend on the number of threads.
const weightGroups = 16

// backward is the part of a Training that computes gradients.
type backward[T kernel.Float] struct {
	units     []backwardUnit[T] // empty if only the output layer gets a gradient
	gradients *Params[T]
	dpooled   []T // image × features

	sumG, sumGY, sumGR []T // of one stage, image × channel; see kernel.Masking

	groups [][]T // accumulators of a weight gradient, by group of images

	// Methods of Training, as values that are created once, so that a step allocates nothing.
	maskHeadImage, chunk, group, reduce func(worker, item int)
}

// backwardUnit holds the kernels and memory that Backward uses for one unit.
type backwardUnit[T kernel.Float] struct {
	data   kernel.Conv[T]           // computes dx from dy; nil for a pool, or if the input is the picture
	weight kernel.WeightGradient[T] // nil if the weight gradient is not computed
	source kernel.Layout            // the padding of dy that data requires
	chunk  int                      // largest number of images in one call of data
	argmax []uint8                  // of a max pool: the index of each maximum in its window, image × size

	g  []T // gradient of the sum before the ReLU, image × size; a projection shares g with the unit that adds it
	dx []T // gradient of the input, or this unit's share of it

	// completes reports whether this unit is the last to contribute to its input's
	// gradient. If so, it adds the other contribution and applies the ReLU's mask, and
	// dx becomes the input's g.
	completes bool
	add       []T  // the other contribution; nil for none
	addSize   int  // elements of one image of add
	addSpread bool // add covers only every second row and column
	addMapped int  // unit whose channel map assigns add to the input's channels; -1 for none

	// Coefficients of BatchNorm's input gradient dy = cg·g + cy·y + c1, by channel.
	// Without BatchNorm dy = g.
	cg, cy, c1 []T
	mean       []T // of y, by channel
}

// newBackward plans and allocates the memory for t's gradients.
func newBackward[T kernel.Float](t *Training[T]) *backward[T] {
	b := &backward[T]{gradients: NewParams[T](t.net, t.o.Gradients.includes)}
	if !t.o.Gradients.beforeOutput() {
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
			bu.argmax = make([]uint8, u.size*t.o.Batch)
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
				w.reservePadded(bu.source, bu.chunk, lanes)
				w.work = grow(w.work, bu.data.Workspace(bu.chunk))
			}
			if bu.weight != nil {
				w.reservePadded(bu.weight.Source(), bu.chunk, lanes)
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
	b.planMemory(t)
	b.maskHeadImage, b.chunk, b.group, b.reduce = t.runMaskHeadImage, t.runBackwardChunk, t.runWeightGroup, t.runReduce
	return b
}

// subsamples reports whether a unit reads only every second row and column of an
// input that another unit reads as well. Its share of the input's gradient is then
// computed for those rows and columns only.
func (u *unit[T]) subsamples() bool {
	return u.Op == arch.Convolution && u.Kernel == 1 && u.Stride == 2 && u.Pad == 0 && !u.fresh
}

// shareSize returns the number of elements of a unit's share of the gradient of its
// input, in.
func (u *unit[T]) shareSize(in *unit[T], lanes int) int {
	if u.subsamples() {
		return in.blocks * u.area * lanes
	}
	return in.size
}

// backwardShape returns the shape of the convolution whose backward direction
// computes a unit's share of its input's gradient.
func backwardShape[T kernel.Float](u *unit[T]) kernel.ConvShape {
	s := convShape(u.Unit)
	if u.subsamples() {
		s.H, s.W, s.Stride = u.OutShape.H, u.OutShape.W, 1
	}
	return s
}

// packBackward packs unit i's filters for the backward direction, if it needs them.
// pool.run calls it for each unit.
func (t *Training[T]) packBackward(_, i int) {
	if conv := t.backward.units[i].data; conv != nil {
		conv.SetFilters(t.params.Of(i, arch.ConvWeight))
	}
}

// planMemory decides which gradients share memory: it goes through the backward pass once,
// assigns slots, and then allocates them.
func (b *backward[T]) planMemory(t *Training[T]) {
	n := len(t.units)
	var s slots
	g, dx, add := make([]int, n), make([]int, n), make([]int, n) // slots, by unit; -1 for none
	pending := make([]struct {
		slot, size int // of another unit's contribution to a unit's output gradient; slot -1 for none
		spread     bool
		mapped     int // unit whose channel map assigns the contribution to channels; -1 for none
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
			p := &pending[u.Add.From]
			p.slot, p.size, p.spread = g[i], u.size, u.residual == subsampledPad
			if u.residual == mapped {
				p.mapped = i
			}
			s.share(g[i])
		}
		if u.In != arch.Picture {
			in := u.In
			size := u.shareSize(&t.units[in], t.family.Lanes)
			if bu.data != nil && size == u.size && s.users[g[i]] == 1 {
				// Each call reads its images' g before it writes their dx, so dx
				// can overwrite g, which is in the cache.
				dx[i] = g[i]
				s.share(g[i])
			} else {
				dx[i] = s.take(size)
			}
			contributors[in]--
			if contributors[in] > 0 {
				p := &pending[in]
				p.slot, p.size, p.spread = dx[i], size, u.subsamples()
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
