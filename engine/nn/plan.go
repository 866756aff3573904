package nn

import (
	"fmt"
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// DefaultEps is what BatchNorm adds to a variance, as PyTorch does.
const DefaultEps = 1e-5

// plan is what training and inference share: the units with their packed
// forward filters, the current scale and shift of each BatchNorm, and where
// each unit's activations go.
type plan[T kernel.Float] struct {
	net    *arch.Network
	family *kernel.Family[T]
	params *Params[T]
	units  []unit[T]
	eps    float64

	// identity coefficients, to copy a kept output by the pass that otherwise
	// computes it
	ones, zeros []T
	noFloor     T
}

// unit is one arch.Unit compiled.
type unit[T kernel.Float] struct {
	*arch.Unit
	index    int
	blocks   int            // of the output
	area     int            // output positions
	size     int            // elements of one image's output
	chunk    int            // images that one call convolves
	forward  kernel.Conv[T] // nil for a pool
	pooling  *pooling[T]    // nil for a convolution
	source   kernel.Layout  // of either
	floor    T
	scale    []T // BatchNorm, or a bias alone, as z = scale·y + shift, blocks×lanes
	shift    []T
	residual residual

	// fresh: this unit is the first to read its input, so it computes it and,
	// if kept, writes it out; otherwise it reads what was kept.
	fresh bool
	// kept: the output is read more than once, so it is written out.
	kept bool
}

// residual is how a unit's residual is computed.
type residual int

const (
	noResidual    residual = iota
	identity               // another unit's kept output
	projection             // another unit's convolution output through its BatchNorm alone
	subsampledPad          // option A: every second row and column, missing channels zero
	mapped                 // of any other channel map
)

// residualOf settles how what a unit adds is computed.
func residualOf(net *arch.Network, add *arch.Residual) residual {
	switch add.Kind {
	case arch.Identity:
		return identity
	case arch.Projection:
		return projection
	case arch.Mapped:
		if add.Map.Stride == 2 && add.Map.Leading(net.Units[add.From].OutShape.C) {
			return subsampledPad
		}
		return mapped
	}
	return noResidual
}

// chunkElements bounds a call's padded source and its destination, so that
// both and the workspace stay in a second-level cache, while small images still
// fill the Winograd kernel's blocks of tiles.
const chunkElements = 64 << 10

// compile leaves the filters to be packed.
func compile[T kernel.Float](net *arch.Network, family *kernel.Family[T], params *Params[T], eps float64) (*plan[T], error) {
	if err := net.Check(); err != nil {
		return nil, err
	}
	if eps <= 0 {
		eps = DefaultEps
	}
	p := &plan[T]{net: net, family: family, params: params, eps: eps, noFloor: T(math.Inf(-1))}
	p.units = make([]unit[T], len(net.Units))
	widest := 0
	for i := range net.Units {
		a := &net.Units[i]
		u := &p.units[i]
		u.Unit, u.index = a, i
		u.blocks = (a.OutShape.C + family.Lanes - 1) / family.Lanes
		u.area = a.OutShape.H * a.OutShape.W
		u.size = u.blocks * u.area * family.Lanes
		if a.Op == arch.Convolution {
			u.forward = family.NewForward(convShape(a))
			u.source = u.forward.Source()
		} else {
			u.pooling = newPooling[T](a, family.Lanes)
			u.source = u.pooling.source
		}
		u.chunk = min(max(chunkElements/(u.source.Len(family.Lanes)+u.size), 1), 16)
		if !a.ReLU {
			u.floor = p.noFloor
		}
		widest = max(widest, u.blocks*family.Lanes)
		u.scale = make([]T, u.blocks*family.Lanes)
		u.shift = make([]T, u.blocks*family.Lanes)
	}
	p.ones, p.zeros = make([]T, widest), make([]T, widest)
	for i := range p.ones {
		p.ones[i] = 1
	}
	if err := p.link(); err != nil {
		return nil, err
	}
	for i := range p.units {
		if p.units[i].forward == nil {
			continue
		}
		if params.Of(i, arch.ConvWeight) == nil {
			return nil, fmt.Errorf("no weights for %s", p.units[i].Name)
		}
	}
	return p, nil
}

// packForward packs a unit's filters, if it has any. It is a pool's item.
func (p *plan[T]) packForward(_, i int) {
	if conv := p.units[i].forward; conv != nil {
		conv.SetFilters(p.params.Of(i, arch.ConvWeight))
	}
}

// link settles who reads whose output, and how.
func (p *plan[T]) link() error {
	readers := make([]int, len(p.units)) // operations that read each output
	added := make([]int, len(p.units))   // residual sums that read it
	for i := range p.units {
		u := &p.units[i]
		if u.In != arch.Picture {
			u.fresh = readers[u.In] == 0
			readers[u.In]++
		}
		u.residual = residualOf(p.net, &u.Add)
		if u.residual == noResidual {
			continue
		}
		added[u.Add.From]++
		if u.residual != projection && readers[u.Add.From] == 0 {
			return fmt.Errorf("%s adds the output of %s before anything reads it", u.Name, p.units[u.Add.From].Name)
		}
	}
	for i := range p.units {
		u := &p.units[i]
		if u.residual == projection && readers[u.Add.From]+added[u.Add.From] > 1 {
			return fmt.Errorf("%s adds the output of %s, which is read elsewhere, too", u.Name, p.units[u.Add.From].Name)
		}
	}
	last := len(p.units) - 1
	projected := make([]bool, len(p.units))
	for i := range p.units {
		if p.units[i].residual == projection {
			projected[p.units[i].Add.From] = true
		}
	}
	for i := range p.units {
		u := &p.units[i]
		pooled := 0
		if i == last {
			pooled = 1
		}
		switch total := readers[i] + added[i] + pooled; {
		case total == 0:
			return fmt.Errorf("nothing reads the output of %s", u.Name)
		case total > 2:
			return fmt.Errorf("%d units read the output of %s; at most 2 are possible", total, u.Name)
		case !projected[i]:
			u.kept = total == 2
		}
	}
	return nil
}

// apply does unit i's operation on padded images; which, where not nil,
// receives what a maximum's gradient goes to. A convolution fetches ahead
// meanwhile.
func (u *unit[T]) apply(dst, padded []T, images int, work []T, which []uint8, ahead ...[]T) {
	if u.pooling != nil {
		u.pooling.run(dst, padded, images, which)
		return
	}
	u.forward.Run(dst, padded, images, work, ahead...)
}

// workspace is what apply needs of work.
func (u *unit[T]) workspace(images int) int {
	if u.pooling != nil {
		return 0
	}
	return u.forward.Workspace(images)
}

func convShape(u *arch.Unit) kernel.ConvShape {
	return kernel.ConvShape{In: u.InShape.C, Out: u.OutShape.C, H: u.InShape.H, W: u.InShape.W,
		Kernel: u.Kernel, Stride: u.Stride, Pad: u.Pad}
}

// setAffine makes BatchNorm i the affine function of a channel's mean and
// biased variance, with the current γ and β. Where there is no BatchNorm, it
// adds the bias. Training takes the mean before a bias, which BatchNorm takes
// away again, is added.
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

// buffers hold a number of images' activations: the whole batch's in
// training, a chunk's in inference. Slices of units whose lifetimes do not
// overlap share memory.
type buffers[T kernel.Float] struct {
	y    [][]T     // the operations' outputs, by unit
	bf16 bool      // y holds bfloat16s, two in each element
	out  [][]T     // kept outputs, by unit
	mask [][]uint8 // where the ReLU after a residual sum let through, by unit; nil where not needed
}

// lifetimes says what must survive the forward pass.
type lifetimes struct {
	keepY, keepOut, masks bool
	bf16                  bool // y is kept as bfloat16s
	// inPlace writes a kept output over its residual where that is read for the
	// last time: memory that is in the cache anyway. An output is then computed
	// only once.
	inPlace bool
}

// newBuffers plans and allocates buffers for images images.
func (p *plan[T]) newBuffers(images int, l lifetimes) *buffers[T] {
	n := len(p.units)
	b := &buffers[T]{y: make([][]T, n), bf16: l.bf16, out: make([][]T, n), mask: make([][]uint8, n)}
	yUntil, outUntil := p.lastReads()
	var s slots
	ySlot, outSlot := make([]int, n), make([]int, n)
	for stage := range n + 1 {
		if stage < n {
			ySlot[stage] = s.take(b.elements(&p.units[stage], 1))
		}
		if in := p.input(stage); in != arch.Picture && p.units[in].kept && p.fresh(stage) {
			u := &p.units[in]
			if l.inPlace && u.residual == identity && outUntil[u.Add.From] == stage && !l.keepOut {
				outSlot[in] = outSlot[u.Add.From]
				s.share(outSlot[in])
			} else {
				outSlot[in] = s.take(u.size)
			}
		}
		for i := range n {
			if yUntil[i] == stage && !l.keepY {
				s.free(ySlot[i])
			}
			if outUntil[i] == stage && p.units[i].kept && !l.keepOut {
				s.free(outSlot[i])
			}
		}
	}
	memory := make([][]T, len(s.sizes))
	for i, size := range s.sizes {
		memory[i] = make([]T, size*images)
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

// input is the unit whose output a stage reads: stage i < len(units) is unit
// i's convolution, the one after the last is the pooling.
func (p *plan[T]) input(stage int) int {
	if stage == len(p.units) {
		return stage - 1
	}
	return p.units[stage].In
}

// fresh says whether a stage is the first to read its input.
func (p *plan[T]) fresh(stage int) bool {
	return stage == len(p.units) || p.units[stage].fresh
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

// slots hands out numbered pieces of memory of at least a size.
type slots struct {
	sizes []int
	users []int // 0: free
}

// take returns a free slot, the smallest that fits or else the largest, grown.
func (s *slots) take(size int) int {
	best := -1
	for i, have := range s.sizes {
		if s.users[i] > 0 {
			continue
		}
		switch {
		case best < 0,
			have >= size && (s.sizes[best] < size || have < s.sizes[best]),
			have < size && have > s.sizes[best] && s.sizes[best] < size:
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

// share adds a user to a slot; it is free when each has freed it.
func (s *slots) share(slot int) { s.users[slot]++ }

func (s *slots) free(slot int) { s.users[slot]-- }
