package nn

import (
	"unsafe"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// buffers holds activations of the whole batch in training and of a chunk in
// inference. Slices whose lifetimes do not overlap share memory.
//
// With bf16 the outputs y, which take most of a step's memory, are stored as
// bfloat16 in half the memory. Kept outputs and gradients stay float32, and all
// arithmetic is float32: an operation writes float32 to its worker's scratch memory,
// roundY stores the rounded values in y, and output expands them again.
type buffers[T kernel.Float] struct {
	y    [][]T     // outputs of convolutions and pools, by unit
	bf16 bool      // y holds bfloat16s, two in each element
	out  [][]T     // kept outputs, by unit
	mask [][]uint8 // where the sum before the ReLU was above 0, for units with a residual; nil if not needed

	allocated int // elements of the memory that holds y and out
}

// lifetimes selects the buffers that must survive the forward pass, and their form.
type lifetimes struct {
	keepY, keepOut, masks bool
	bf16                  bool // y is stored as bfloat16
	// inPlace lets a kept output overwrite its residual when the residual is read for
	// the last time, since that memory is in the cache anyway. It requires that no
	// output is computed more than once.
	inPlace bool
}

// newBuffers plans and allocates buffers for the given number of images.
func (p *plan[T]) newBuffers(images int, l lifetimes) *buffers[T] {
	n := len(p.units)
	b := &buffers[T]{y: make([][]T, n), bf16: l.bf16, out: make([][]T, n), mask: make([][]uint8, n)}
	lastY, lastOut := p.lastReads()
	var s slots
	ySlot, outSlot := make([]int, n), make([]int, n)
	for stage := range n + 1 {
		if stage < n {
			ySlot[stage] = s.take(b.elements(&p.units[stage], 1))
		}
		if in := p.input(stage); in != arch.Picture && p.units[in].kept && p.fresh(stage) {
			u := &p.units[in]
			if l.inPlace && u.residual == identity && lastOut[u.Add.From] == stage && !l.keepOut {
				outSlot[in] = outSlot[u.Add.From]
				s.share(outSlot[in])
			} else {
				outSlot[in] = s.take(u.size)
			}
		}
		for i := range n {
			if lastY[i] == stage && !l.keepY {
				s.free(ySlot[i])
			}
			if lastOut[i] == stage && p.units[i].kept && !l.keepOut {
				s.free(outSlot[i])
			}
		}
	}
	memory := make([][]T, len(s.sizes))
	for i, size := range s.sizes {
		memory[i] = make([]T, size*images)
		b.allocated += size * images
	}
	for i := range p.units {
		u := &p.units[i]
		b.y[i] = memory[ySlot[i]][:b.elements(u, images)]
		if u.kept {
			b.out[i] = memory[outSlot[i]][:u.size*images]
		}
		if l.masks && u.residual != noResidual {
			b.mask[i] = make([]uint8, u.size/p.family.Lanes*images)
		}
	}
	return b
}

// lastReads returns the last stage that reads each unit's convolution output
// and each unit's kept output.
func (p *plan[T]) lastReads() (y, out []int) {
	y, out = make([]int, len(p.units)), make([]int, len(p.units))
	for stage := range len(p.units) + 1 {
		in := p.input(stage)
		if in == arch.Picture {
			continue
		}
		out[in] = stage
		if !p.fresh(stage) {
			continue
		}
		y[in] = stage
		switch u := &p.units[in]; u.residual {
		case projection:
			y[u.Add.From] = stage
		case identity, subsampledPad, mapped:
			out[u.Add.From] = max(out[u.Add.From], stage)
		}
	}
	return y, out
}

// slots is a set of numbered pieces of memory, which buffers take, share and free.
type slots struct {
	sizes []int
	users []int // number of users of each slot; 0 if it is free
}

// take returns the smallest free slot of at least the given size. If there is none, it
// grows the largest free slot or, if no slot is free, adds one.
func (s *slots) take(size int) int {
	best := -1
	for i, slotSize := range s.sizes {
		if s.users[i] > 0 {
			continue
		}
		switch {
		case best < 0,
			slotSize >= size && (s.sizes[best] < size || slotSize < s.sizes[best]),
			slotSize < size && slotSize > s.sizes[best] && s.sizes[best] < size:
			best = i
		}
	}
	if best < 0 {
		s.sizes, s.users = append(s.sizes, 0), append(s.users, 0)
		best = len(s.sizes) - 1
	}
	s.sizes[best] = max(s.sizes[best], size)
	s.users[best] = 1
	return best
}

// share adds a user to a slot. The slot is free when every user has freed it.
func (s *slots) share(slot int) { s.users[slot]++ }

// free removes a user from a slot.
func (s *slots) free(slot int) { s.users[slot]-- }

// elements returns the number of elements of memory that unit u's y takes for the
// given number of images. With bf16, an element holds two values.
func (b *buffers[T]) elements(u *unit[T], images int) int {
	if b.bf16 {
		return u.size / 2 * images
	}
	return u.size * images
}

// yBF16 returns unit u's y of images first to first+images-1, which is stored as bfloat16.
func (b *buffers[T]) yBF16(u *unit[T], first, images int) []uint16 {
	memory := b.y[u.index][b.elements(u, first):][:b.elements(u, images)]
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(memory))), images*u.size)
}
