package nn

import (
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// pooling is a max or average pool of one shape. Pools take a small part of a
// step's time, so plain loops do.
type pooling[T kernel.Float] struct {
	*arch.Unit
	source kernel.Layout // as a convolution's: a halo of Pad around the input
	lanes  int
}

func newPooling[T kernel.Float](u *arch.Unit, lanes int) *pooling[T] {
	in := u.InShape
	return &pooling[T]{Unit: u, lanes: lanes, source: kernel.Layout{
		Blocks: (in.C + lanes - 1) / lanes,
		Rows:   in.H + 2*u.Pad, Cols: in.W + 2*u.Pad, Top: u.Pad, Left: u.Pad,
		H: in.H, W: in.W,
	}}
}

// clip is the part of window number at, along an axis of size inputs, that
// lies on inputs: elements first to end-1 of it, of which the first is input
// number from.
func (p *pooling[T]) clip(at, size int) (first, end, from int) {
	start := at*p.Stride - p.Pad
	first = max(-start, 0)
	return first, min(p.Kernel, size-start), start + first
}

// maxLanes is at least any kernel family's Lanes.
const maxLanes = 16

// run pools images padded copies from src to dst. A max pool notes in which,
// where that is not nil, the element of its window (row·Kernel + column) that
// each maximum is: the first of equals, as in PyTorch. A NaN is a maximum; which element it is
// noted as is left open.
func (p *pooling[T]) run(dst, src []T, images int, which []uint8) {
	l, out, at := &p.source, p.OutShape, 0
	plane := l.Rows * l.Cols * p.lanes
	begin := T(0)
	if p.Op == arch.MaxPool {
		begin = T(math.Inf(-1))
	}
	var elements [maxLanes]uint32
	for n := range images * l.Blocks {
		in := src[n*plane:][:plane]
		for h := range out.H {
			firstRow, endRow, row := p.clip(h, l.H)
			for w := range out.W {
				firstCol, endCol, col := p.clip(w, l.W)
				z := dst[at:][:p.lanes]
				for i := range z {
					z[i], elements[i] = begin, uint32(firstRow*p.Kernel+firstCol)
				}
				for r := firstRow; r < endRow; r++ {
					line := in[((row+r-firstRow+l.Top)*l.Cols+col+l.Left)*p.lanes:]
					for c := firstCol; c < endCol; c++ {
						x := line[(c-firstCol)*p.lanes:][:p.lanes]
						switch {
						case p.Op == arch.AveragePool:
							addShare(z, x, 1/T(p.Kernel*p.Kernel))
						case which == nil:
							takeMax(z, x)
						default:
							noteMax(z, x, elements[:p.lanes], uint32(r*p.Kernel+c))
						}
					}
				}
				if which != nil {
					for i, element := range elements[:p.lanes] {
						which[at+i] = uint8(element)
					}
				}
				at += p.lanes
			}
		}
	}
}

// addShare adds a share of x to z.
func addShare[T kernel.Float](z, x []T, share T) {
	for i, v := range x[:len(z)] {
		z[i] += T(v * share)
	}
}

// takeMax makes z the greater of z and x.
func takeMax[T kernel.Float](z, x []T) {
	for i, v := range x[:len(z)] {
		z[i] = max(z[i], v)
	}
}

// noteMax also notes where x is greater. It does not branch, as nobody can
// predict which is: 32 bits can be moved on a condition, 8 cannot.
func noteMax[T kernel.Float](z, x []T, elements []uint32, element uint32) {
	elements = elements[:len(z)]
	for i, v := range x[:len(z)] {
		e := elements[i]
		if v > z[i] {
			e = element
		}
		elements[i] = e
		z[i] = max(z[i], v)
	}
}

// gradient computes images inputs' gradients dx from their outputs' dy,
// neither padded, and what run noted.
func (p *pooling[T]) gradient(dx, dy []T, images int, which []uint8) {
	in, out, at := p.InShape, p.OutShape, 0
	plane := in.H * in.W * p.lanes
	share := 1 / T(p.Kernel*p.Kernel)
	clear(dx)
	for n := range images * p.source.Blocks {
		to := dx[n*plane:][:plane]
		for h := range out.H {
			firstRow, endRow, row := p.clip(h, in.H)
			for w := range out.W {
				firstCol, endCol, col := p.clip(w, in.W)
				g := dy[at:][:p.lanes]
				if p.Op == arch.MaxPool {
					for i, element := range which[at:][:p.lanes] {
						r, c := int(element)/p.Kernel, int(element)%p.Kernel
						to[((row+r-firstRow)*in.W+col+c-firstCol)*p.lanes+i] += g[i]
					}
				} else {
					for r := row; r < row+endRow-firstRow; r++ {
						for c := col; c < col+endCol-firstCol; c++ {
							x := to[(r*in.W+c)*p.lanes:][:p.lanes]
							for i, v := range g {
								x[i] += T(v * share)
							}
						}
					}
				}
				at += p.lanes
			}
		}
	}
}
