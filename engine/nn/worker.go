package nn

import "bnkit/engine/kernel"

// worker is one goroutine's scratch memory. Apart from the zeros of halos, nothing in it
// outlives an item of a pool's run.
type worker[T kernel.Float] struct {
	padded     map[kernel.Layout][]T // images as convolutions read them, by layout; halos are zero
	work       []T                   // the convolutions' workspace
	plain      []T                   // one image of a residual after its channel map
	last       []T                   // one image of the last unit's output or, in Inference, of an inspected one
	y          []T                   // with bfloat16: a chunk's y before rounding, or one image's after expanding
	r          []T                   // with bfloat16: one image's expanded y of a projection
	dy         []T                   // a chunk's gradient of the output of a convolution or pool
	prefetch   [][]T                 // memory that a convolution prefetches
	activation kernel.Activation[T]
	masking    kernel.Masking[T]
	gradient   kernel.InputGradient[T]
}

// newWorkers returns n workers without scratch memory. reservePadded and grow add it.
func newWorkers[T kernel.Float](n int) []*worker[T] {
	ws := make([]*worker[T], n)
	for i := range ws {
		ws[i] = &worker[T]{padded: map[kernel.Layout][]T{}}
	}
	return ws
}

// reservePadded makes sure that there is memory for the given number of images, padded
// according to l.
func (w *worker[T]) reservePadded(l kernel.Layout, images, lanes int) {
	if size := images * l.Len(lanes); len(w.padded[l]) < size {
		w.padded[l] = make([]T, size)
	}
}

// grow returns s, or a new slice of n elements if s is shorter.
func grow[T kernel.Float](s []T, n int) []T {
	if len(s) < n {
		return make([]T, n)
	}
	return s
}
