package nn

import (
	"fmt"
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// DefaultEps is the number that BatchNorm adds to a variance, as in PyTorch.
const DefaultEps = 1e-5

// plan is the part of a compiled network that Training and Inference share: the units
// with their packed forward filters and the current scale and shift of each BatchNorm.
type plan[T kernel.Float] struct {
	net    *arch.Network
	family *kernel.Family[T]
	params *Params[T]
	units  []unit[T]
	eps    float64

	// Coefficients with which kernel.Activate copies a kept output unchanged.
	ones, zeros []T
	noFloor     T
}

// unit is one compiled arch.Unit.
type unit[T kernel.Float] struct {
	*arch.Unit
	index    int
	blocks   int            // blocks of the output's channels, each of family.Lanes channels
	area     int            // output positions
	size     int            // elements of one image's output: blocks × area × lanes
	chunk    int            // largest number of images in one call of forward or pooling
	forward  kernel.Conv[T] // nil for a pool
	pooling  *pooling[T]    // nil for a convolution
	source   kernel.Layout  // the padding that forward or pooling requires
	floor    T              // 0 with a ReLU, -Inf without
	scale    []T            // BatchNorm or a bias, as z = scale·y + shift; blocks × lanes
	shift    []T
	residual residual

	// fresh reports whether this unit is the first to read another unit's output. If so, it
	// computes this input and, if it is kept, writes it out. Otherwise it reads the picture
	// or the kept input.
	fresh bool
	// kept reports whether the output is read more than once. If so, its first reader
	// writes it out.
	kept bool
}

// residual is a way to compute a unit's residual.
type residual int

const (
	noResidual    residual = iota
	identity               // another unit's kept output
	projection             // another unit's convolution output through its BatchNorm alone
	subsampledPad          // option A: every second row and column, missing channels zero
	mapped                 // any other channel map
)

// residualOf returns the way to compute the residual add.
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

// chunkElements limits the elements of one call's padded source and destination together,
// unless a single image exceeds it. Both then stay in a second-level cache with the workspace,
// and small images still fill the Winograd kernel's blocks of tiles.
const chunkElements = 64 << 10

// compile builds the plan of net. Its filters are not packed yet.
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
			return nil, fmt.Errorf("the parameters have no weights for %s", p.units[i].Name)
		}
	}
	return p, nil
}

// packForward packs unit i's filters, if it has any. pool.run calls it for each unit.
func (p *plan[T]) packForward(_, i int) {
	if conv := p.units[i].forward; conv != nil {
		conv.SetFilters(p.params.Of(i, arch.ConvWeight))
	}
}

// link determines which units read each output, and sets fresh, kept and residual.
func (p *plan[T]) link() error {
	readers := make([]int, len(p.units)) // for each output, the convolutions and pools that read it
	added := make([]int, len(p.units))   // for each output, the residual sums that read it
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
			return fmt.Errorf("%s adds the projection %s, whose output another unit reads too", u.Name, p.units[u.Add.From].Name)
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
		headReads := 0
		if i == last {
			headReads = 1
		}
		switch total := readers[i] + added[i] + headReads; {
		case total == 0:
			return fmt.Errorf("nothing reads the output of %s", u.Name)
		case total > 2:
			return fmt.Errorf("the output of %s is read %d times; at most 2 are supported", u.Name, total)
		case !projected[i]:
			u.kept = total == 2
		}
	}
	return nil
}

// workspace returns the number of elements of work that apply needs.
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
