//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"math"
	"unsafe"
)

const (
	directSmall = 4 // pixels in a small group of convolve, and products in one of gradient

	directElement = 4 // bytes in an element
)

// directPanel describes the output channels that a kernel computes at once.
type directPanel struct {
	first, outputs int // first channel, and number of channels
	large          int // pixels in a large group of convolve, and products in one of gradient

	convolve func(dst, src, filters *float32, taps, pixels *int32, blocks, singles, larges, smalls, plane, add uintptr, ahead *float32, aheadStep uintptr)
	gradient func(acc, x, dy *float32, taps, pixels *int32, count, larges, smalls, plane uintptr)
}

// directPanels divides outputs, rounded up to whole blocks, into panels. If wide is
// true, the panels use AVX-512, which gives the same bits.
func directPanels(outputs int, wide bool) []directPanel {
	var panels []directPanel
	for first, end := 0, blocksOf(outputs)*lanes; first < end; first += panels[len(panels)-1].outputs {
		var p directPanel
		switch remaining := end - first; {
		case remaining >= 32 && wide:
			p = directPanel{first, 32, 6, directConvolve32AVX512, directGradient32AVX512}
		case remaining >= 16 && wide:
			p = directPanel{first, 16, 8, directConvolve16AVX512, directGradient16AVX512}
		case remaining >= 16:
			p = directPanel{first, 16, 6, directConvolve16, directGradient16}
		default:
			p = directPanel{first, 8, 8, directConvolve8, directGradient8}
		}
		panels = append(panels, p)
	}
	return panels
}

// groups returns the numbers of large and small groups that cover n pixels or products with
// the least wasted work. The large groups come first.
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

// roundUp returns n, a number of pixels or products, rounded up to whole groups.
func (p directPanel) roundUp(n int) int {
	larges, smalls := p.groups(n)
	return larges*p.large + smalls*directSmall
}

// directPad repeats the last element of x until it fills the groups of every kind of
// panel. Repeated pixels write the same result to the same place, and Unpack leaves out the
// sums of repeated products.
func directPad[E any](x []E) []E {
	n := len(x)
	for n > 0 && len(x) < max(directPanel{large: 6}.roundUp(n), directPanel{large: 8}.roundUp(n)) {
		x = append(x, x[n-1])
	}
	return x
}

// directPixel holds two offsets of a pixel in bytes from the start of an image: dst in the
// destination, and src in the source. A tap reads at src plus the tap's own offset.
type directPixel struct{ src, dst int32 }

// directAxis describes the rows, or columns, of one phase. Row r of the phase is row
// first + r·step of the destination, and tap k multiplies row r·stride + k.offset of
// the source.
type directAxis struct {
	first, step, count int
	stride             int
	taps               []directTap
}

// directTap is a row, or column, of the kernel and the offset of the source's row that
// it multiplies.
type directTap struct{ kernel, offset int }

// directForwardAxis returns the only phase of an axis in the forward direction, in
// which all rows use all taps. Offsets count from the start of the padding.
func directForwardAxis(size int, s ConvShape) directAxis {
	a := directAxis{step: 1, count: size, stride: s.Stride}
	for k := range s.Kernel {
		a.taps = append(a.taps, directTap{k, k})
	}
	return a
}

// directBackwardAxes splits the rows of x's gradient into phases by their remainder on
// division by the stride. Row r of y contributes to row i of x by tap k if
// i = r·stride + k - pad, so each phase has its own taps, and no tap multiplies the
// zeros that the gradient of a strided convolution would insert.
//
// It also returns the rows of padding above y's gradient that the taps reach, and the
// number of rows including all padding.
func directBackwardAxes(size, outSize int, s ConvShape) (axes []directAxis, padding, total int) {
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

// directPixels lists the pixels of a phase in row-major order, for a source with layout
// l and a destination of dstCols columns.
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

// directOffset returns the number of bytes of n positions of a block. It panics if
// they do not fit in an offset.
func directOffset(n int) int32 {
	bytes := n * lanes * directElement
	if bytes > math.MaxInt32 {
		panic(fmt.Sprintf("kernel: an image of more than %d bytes is too large to convolve", math.MaxInt32))
	}
	return int32(bytes)
}

// directProduct is one product of a pixel's sum: a channel of the source times a tap of
// the kernel (row·Kernel + column). offset is the offset in the source, in bytes.
type directProduct struct {
	channel, tap int
	offset       int32
}

// directProducts lists the products of a phase by block, tap and channel. It leaves out
// the unused channels of a partial block.
func directProducts(channels int, rows, cols directAxis, l Layout, kernel int) []directProduct {
	var products []directProduct
	for channel := 0; channel < channels; channel += lanes {
		for _, row := range rows.taps {
			for _, col := range cols.taps {
				offset := directOffset((channel/lanes*l.Rows+row.offset)*l.Cols + col.offset)
				for lane := range min(lanes, channels-channel) {
					products = append(products, directProduct{
						channel: channel + lane,
						tap:     row.kernel*kernel + col.kernel,
						offset:  offset + int32(lane*directElement),
					})
				}
			}
		}
	}
	return products
}

// directTable returns the address of a table of offsets for a kernel. The kernel does
// not read an empty table.
func directTable[E int32 | directPixel](x []E) *int32 {
	return (*int32)(unsafe.Pointer(unsafe.SliceData(x)))
}
