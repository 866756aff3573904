//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"math"
	"unsafe"
)

const (
	directSmall = 4 // pixels, or taps, in a small group of either kernel

	directElement = 4 // bytes
)

// directPanel is output channels that a kernel computes at once.
type directPanel struct {
	first, outputs int
	large          int // pixels, or taps, in a large group

	convolve func(dst, src, filters *float32, taps, pixels *int32, blocks, singles, larges, smalls, plane, add uintptr, ahead *float32, aheadStep uintptr)
	gradient func(acc, x, dy *float32, taps, pixels *int32, count, larges, smalls, plane uintptr)
}

// directPanels divides outputs, rounded up to whole blocks, into panels. Wide
// ones give the same bits as others.
func directPanels(outputs int, wide bool) []directPanel {
	var panels []directPanel
	for first, end := 0, blocksOf(outputs)*lanes; first < end; first += panels[len(panels)-1].outputs {
		var p directPanel
		switch left := end - first; {
		case left >= 32 && wide:
			p = directPanel{first, 32, 6, directConvolve32AVX512, directGradient32AVX512}
		case left >= 16 && wide:
			p = directPanel{first, 16, 8, directConvolve16AVX512, directGradient16AVX512}
		case left >= 16:
			p = directPanel{first, 16, 6, directConvolve16, directGradient16}
		default:
			p = directPanel{first, 8, 8, directConvolve8, directGradient8}
		}
		panels = append(panels, p)
	}
	return panels
}

// groups covers n by large and then small groups with the least work to
// spare.
func (p directPanel) groups(n int) (larges, smalls int) {
	larges, smalls = n/p.large, ceilDiv(n%p.large, directSmall)
	switch {
	case n%p.large > directSmall:
		larges, smalls = larges+1, 0
	case larges > 0 && n%p.large > 0 && n%p.large <= 2*directSmall-p.large:
		larges, smalls = larges-1, 2
	}
	return larges, smalls
}

// grouped is what those groups cover.
func (p directPanel) grouped(n int) int {
	larges, smalls := p.groups(n)
	return larges*p.large + smalls*directSmall
}

// directPad repeats the last of x until any groups of n fit: what is computed
// twice is stored twice.
func directPad[E any](x []E) []E {
	n := len(x)
	for n > 0 && len(x) < max(directPanel{large: 6}.grouped(n), directPanel{large: 8}.grouped(n)) {
		x = append(x, x[n-1])
	}
	return x
}

// directPixel is where a pixel of the destination is and where what its taps
// add to is in the source, in bytes from the start of an image.
type directPixel struct{ src, dst int32 }

// directAxis is what the rows, or columns, of one phase have in common: row r
// of them is the destination's row first + r·step, and tap k of the kernel
// multiplies the source's row r·stride + k.offset.
type directAxis struct {
	first, step, count int
	stride             int
	taps               []directTap
}

// directTap is a kernel's row, or column, and the source's that it multiplies.
type directTap struct{ kernel, offset int }

// directForwardAxis is the only phase of an axis: all rows use all taps. The
// offsets are from the start of padding.
func directForwardAxis(size int, s ConvShape) directAxis {
	a := directAxis{step: 1, count: size, stride: s.Stride}
	for k := range s.Kernel {
		a.taps = append(a.taps, directTap{k, k})
	}
	return a
}

// directBackwardAxes splits the rows of x's gradient by their remainder on
// division by the stride, so that each phase has its own taps and no tap meets
// one of the zeros that a strided convolution's gradient would insert: y's row
// r is in x's row i by tap k where i = r·stride + k - pad.
//
// It also returns the padding of y's gradient that the taps reach into, above,
// and the rows with all padding.
func directBackwardAxes(size, outSize int, s ConvShape) (axes []directAxis, before, padded int) {
	low, high := 0, outSize-1
	for phase := range min(s.Stride, size) {
		a := directAxis{first: phase, step: s.Stride, count: ceilDiv(size-phase, s.Stride), stride: 1}
		for k := range s.Kernel {
			if d := phase + s.Pad - k; d%s.Stride == 0 {
				a.taps = append(a.taps, directTap{k, d / s.Stride})
				low, high = min(low, d/s.Stride), max(high, d/s.Stride+a.count-1)
			}
		}
		axes = append(axes, a)
	}
	for _, a := range axes {
		for i := range a.taps {
			a.taps[i].offset -= low
		}
	}
	return axes, -low, high - low + 1
}

// directPixels lists the pixels of a phase in row-major order, for a source as
// l describes it and a destination of cols columns.
func directPixels(rows, cols directAxis, l Layout, dstCols int) []directPixel {
	var pixels []directPixel
	for r := range rows.count {
		for c := range cols.count {
			pixels = append(pixels, directPixel{
				src: directOffset(r*rows.stride*l.Cols + c*cols.stride),
				dst: directOffset((rows.first+r*rows.step)*dstCols + cols.first + c*cols.step),
			})
		}
	}
	return pixels
}

// directOffset is the bytes of a number of blocks' lanes.
func directOffset(n int) int32 {
	bytes := n * lanes * directElement
	if bytes > math.MaxInt32 {
		panic(fmt.Sprintf("kernel: an image of more than %d bytes is too large to convolve", math.MaxInt32))
	}
	return int32(bytes)
}

// directProduct is one product of a pixel's sum: a channel of the source by a
// tap of the kernel (row·Kernel + column), and the source's offset in bytes.
type directProduct struct {
	channel, tap int
	offset       int32
}

// directProducts lists a phase's products: block by block, tap by tap, channel
// by channel, without the channels that a partial block lacks.
func directProducts(channels int, rows, cols directAxis, l Layout, kernel int) []directProduct {
	var products []directProduct
	for channel := 0; channel < channels; channel += lanes {
		for _, row := range rows.taps {
			for _, col := range cols.taps {
				at := directOffset((channel/lanes*l.Rows+row.offset)*l.Cols + col.offset)
				for lane := range min(lanes, channels-channel) {
					products = append(products, directProduct{
						channel: channel + lane,
						tap:     row.kernel*kernel + col.kernel,
						offset:  at + int32(lane*directElement),
					})
				}
			}
		}
	}
	return products
}

// directTable is the address of a table of offsets for a kernel, which does not
// look at an empty one.
func directTable[E int32 | directPixel](x []E) *int32 {
	return (*int32)(unsafe.Pointer(unsafe.SliceData(x)))
}
