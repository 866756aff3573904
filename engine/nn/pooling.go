package nn

import (
	"fmt"
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// pooling is a max or average pool of one shape. Plain loops are fast enough,
// because pools take a small part of a step's time.
type pooling[T kernel.Float] struct {
	*arch.Unit
	source kernel.Layout // a halo of Pad around the input, as for a convolution
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

// clip returns the part of a window that lies on the input, along one axis. window is the index
// of the window, and size the size of the input. The window's elements first to end-1 lie on
// the input, and element first lies at index input.
func (p *pooling[T]) clip(window, size int) (first, end, input int) {
	start := window*p.Stride - p.Pad
	first = max(-start, 0)
	return first, min(p.Kernel, size-start), start + first
}

// maxLanes is at least any kernel family's Lanes.
const maxLanes = 16

// run pools the given number of padded images from src to dst. Unless argmax is nil, a
// max pool writes to it the position (row·Kernel + column) of each maximum in its
// window. The first of several equal maxima counts, as in PyTorch. A NaN counts as a
// maximum, but its position is unspecified.
func (p *pooling[T]) run(dst, src []T, images int, argmax []uint8) {
	l, out, offset := &p.source, p.OutShape, 0
	plane := l.Rows * l.Cols * p.lanes
	initial := T(0)
	if p.Op == arch.MaxPool {
		initial = T(math.Inf(-1))
	}
	var elements [maxLanes]uint32
	for n := range images * l.Blocks {
		in := src[n*plane:][:plane]
		for h := range out.H {
			firstRow, endRow, row := p.clip(h, l.H)
			for w := range out.W {
				firstCol, endCol, col := p.clip(w, l.W)
				z := dst[offset:][:p.lanes]
				for i := range z {
					z[i], elements[i] = initial, uint32(firstRow*p.Kernel+firstCol)
				}
				for r := firstRow; r < endRow; r++ {
					line := in[((row+r-firstRow+l.Top)*l.Cols+col+l.Left)*p.lanes:]
					for c := firstCol; c < endCol; c++ {
						x := line[(c-firstCol)*p.lanes:][:p.lanes]
						switch {
						case p.Op == arch.AveragePool:
							addScaled(z, x, 1/T(p.Kernel*p.Kernel))
						case argmax == nil:
							setMax(z, x)
						default:
							setMaxAndElement(z, x, elements[:p.lanes], uint32(r*p.Kernel+c))
						}
					}
				}
				if argmax != nil {
					for i, element := range elements[:p.lanes] {
						argmax[offset+i] = uint8(element)
					}
				}
				offset += p.lanes
			}
		}
	}
}

// addScaled adds share·x to z.
func addScaled[T kernel.Float](z, x []T, share T) {
	for i, v := range x[:len(z)] {
		z[i] += T(v * share)
	}
}

// setMax sets z to the greater of z and x.
func setMax[T kernel.Float](z, x []T) {
	for i, v := range x[:len(z)] {
		z[i] = max(z[i], v)
	}
}

// setMaxAndElement is like setMax, and also sets elements[i] to element if x[i] is greater.
// Elements have 32 bits so that the compiler uses a conditional move, which does not
// exist for 8 bits. A branch would be unpredictable.
func setMaxAndElement[T kernel.Float](z, x []T, elements []uint32, element uint32) {
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

// checkMaxPools returns an error if gradient cannot go back through a max pool: if positions in
// its window do not fit into the bytes of argmax, or if a window can lie on padding alone, where
// it has no maximum.
func checkMaxPools(net *arch.Network) error {
	const maxKernel = 16
	for i := range net.Units {
		if u := &net.Units[i]; u.Op == arch.MaxPool && (u.Kernel > maxKernel || u.Pad >= u.Kernel) {
			return fmt.Errorf("%s is a max pool with kernel %d and padding %d; training supports kernels up to %d with less padding than the kernel", u.Name, u.Kernel, u.Pad, maxKernel)
		}
	}
	return nil
}

// gradient computes the gradient dx of the inputs of the given number of images from
// the gradient dy of their outputs and the argmax that run wrote. Neither dx nor dy is
// padded.
func (p *pooling[T]) gradient(dx, dy []T, images int, argmax []uint8) {
	in, out, offset := p.InShape, p.OutShape, 0
	plane := in.H * in.W * p.lanes
	share := 1 / T(p.Kernel*p.Kernel)
	clear(dx)
	for n := range images * p.source.Blocks {
		dxBlock := dx[n*plane:][:plane]
		for h := range out.H {
			firstRow, endRow, row := p.clip(h, in.H)
			for w := range out.W {
				firstCol, endCol, col := p.clip(w, in.W)
				g := dy[offset:][:p.lanes]
				if p.Op == arch.MaxPool {
					for i, element := range argmax[offset:][:p.lanes] {
						r, c := int(element)/p.Kernel, int(element)%p.Kernel
						dxBlock[((row+r-firstRow)*in.W+col+c-firstCol)*p.lanes+i] += g[i]
					}
				} else {
					for r := row; r < row+endRow-firstRow; r++ {
						for c := col; c < col+endCol-firstCol; c++ {
							x := dxBlock[(r*in.W+c)*p.lanes:][:p.lanes]
							for i, v := range g {
								x[i] += T(v * share)
							}
						}
					}
				}
				offset += p.lanes
			}
		}
	}
}
