package nn

import "unsafe"

// A step with bfloat16 keeps the operations' outputs y, which are most of what
// it keeps, in half the memory; kept outputs of units and gradients stay
// float32. An operation writes a chunk of float32 to its worker's scratch, where
// it is rounded before anything reads it. BatchNorm's statistics are those of
// the rounded values, too: what forward normalises is what backward
// differentiates.

// elements is the length of unit u's y for so many images, in the elements of
// its memory: two bfloat16s in one.
func (b *buffers[T]) elements(u *unit[T], images int) int {
	if b.bf16 {
		return u.size / 2 * images
	}
	return u.size * images
}

// half is unit u's y of images as bfloat16s.
func (b *buffers[T]) half(u *unit[T], first, images int) []uint16 {
	memory := b.y[u.index][b.elements(u, first):][:b.elements(u, images)]
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(memory))), images*u.size)
}

// yAhead is the memory of unit u's y that images take, or those of them that
// the batch of n has, for a convolution to fetch.
func (b *buffers[T]) yAhead(u *unit[T], first, images, n int) []T {
	return part(b.y[u.index], b.elements(u, 1), first, images, n)
}

// output is one image's y of unit i: where it is kept, or, as float32, in room.
func (p *plan[T]) output(b *buffers[T], i, image int, room []T) []T {
	u := &p.units[i]
	if !b.bf16 {
		return b.y[i][image*u.size:][:u.size]
	}
	y := room[:u.size]
	p.family.ExpandBF16(y, b.half(u, image, 1))
	return y
}

// destination is where the operation of unit i writes a chunk of images.
func (t *Training[T]) destination(w *worker[T], i, first, images int) []T {
	u := &t.units[i]
	if t.buffers.bf16 {
		return w.y[:images*u.size]
	}
	return t.buffers.y[i][first*u.size:][:images*u.size]
}

// keep rounds what an operation wrote to its destination y, there and to where
// it is kept.
func (t *Training[T]) keep(y []T, i, first, images int) {
	if !t.buffers.bf16 {
		return
	}
	half := t.buffers.half(&t.units[i], first, images)
	t.family.RoundBF16(half, y)
	if t.units[i].BN != "" {
		t.family.ExpandBF16(y, half)
	}
}
