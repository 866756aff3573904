package nn

import (
	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// worker is one goroutine's scratch memory: nothing in it outlives an item.
type worker[T kernel.Float] struct {
	padded     map[kernel.Layout][]T // images as convolutions read them; halos are zero
	work       []T                   // the convolutions' workspace
	plain      []T                   // one image, e.g. of a subsampled residual
	last       []T                   // one image of the last unit's output
	y          []T                   // with bfloat16: a chunk's outputs of an operation, or one image's that was kept
	r          []T                   // with bfloat16: one image's outputs of a projection
	dy         []T                   // a chunk's gradient of a convolution's output
	ahead      [][]T                 // what a convolution may fetch meanwhile
	activation kernel.Activation[T]
	masking    kernel.Masking[T]
	gradient   kernel.InputGradient[T]
}

func newWorkers[T kernel.Float](n int) []*worker[T] {
	ws := make([]*worker[T], n)
	for i := range ws {
		ws[i] = &worker[T]{padded: map[kernel.Layout][]T{}}
	}
	return ws
}

// need makes room for images padded as l says.
func (w *worker[T]) need(l kernel.Layout, images, lanes int) {
	if size := images * l.Len(lanes); len(w.padded[l]) < size {
		w.padded[l] = make([]T, size)
	}
}

// grow returns s with room for at least n elements.
func grow[T kernel.Float](s []T, n int) []T {
	if len(s) < n {
		return make([]T, n)
	}
	return s
}

// load returns the images first to first+images-1 that stage's operation reads,
// padded as l says: the worker's copies, or, of a kept output that needs no
// padding, the images themselves. x is the batch's pictures, N×C×H×W.
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

// keptUnpadded returns images of unit in's output where they are kept; nil where
// they are not, or have to be padded as l says.
func (p *plan[T]) keptUnpadded(b *buffers[T], in, first, images int, l kernel.Layout) []T {
	u := &p.units[in]
	if !u.kept || l.Padded() {
		return nil
	}
	return b.out[in][first*u.size:][:images*u.size]
}

// loadAhead appends to ahead the memory that load touches for those images, or
// those of them that the batch of n has.
func (p *plan[T]) loadAhead(ahead [][]T, b *buffers[T], stage, first, images, n int) [][]T {
	in := p.input(stage)
	if in == arch.Picture {
		return ahead
	}
	u := &p.units[in]
	if u.kept && !p.fresh(stage) {
		return append(ahead, part(b.out[in], u.size, first, images, n))
	}
	ahead = append(ahead, b.yAhead(u, first, images, n))
	switch u.residual {
	case identity:
		ahead = append(ahead, part(b.out[u.Add.From], u.size, first, images, n))
	case projection:
		ahead = append(ahead, b.yAhead(&p.units[u.Add.From], first, images, n))
	}
	if u.kept {
		ahead = append(ahead, part(b.out[in], u.size, first, images, n))
	}
	return ahead
}

// part is images images of x, size elements each, from first on, or those of
// them that the batch of n has.
func part[T kernel.Float](x []T, size, first, images, n int) []T {
	return x[min(first, n)*size : min(first+images, n)*size]
}

// activate computes one image's output of unit i into padded (nil for none)
// and plain (nil for none). The first time (fresh) it comes from the
// convolution's output and is also written to where it is kept, with its
// mask; afterwards from where it is kept.
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

// packPicture writes a picture, C×H×W, to the interior of its padded copy;
// the lanes of missing channels become zero.
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

// subsample writes every second row and column of src, shaped from, to dst,
// shaped to; the channels that src lacks become zero.
func subsample[T kernel.Float](dst, src []T, to, from arch.Shape, lanes int) {
	clear(dst)
	for block := range (from.C + lanes - 1) / lanes {
		for h := range to.H {
			for w := range to.W {
				copy(dst[((block*to.H+h)*to.W+w)*lanes:][:lanes],
					src[((block*from.H+2*h)*from.W+2*w)*lanes:][:lanes])
			}
		}
	}
}
