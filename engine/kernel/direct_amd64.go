//go:build amd64 && !noasm

package kernel

import "unsafe"

// directTaps bounds how many blocks' taps are summed before the sum goes to
// dst: their filters, 18 KB a panel, then stay in the L1 cache for all pixels.
const directTaps = 36

// direct is either direction of a convolution by its definition. A kernel takes
// 16 output channels of a few pixels and keeps their sums in registers over
// input channels and taps. Where pixels and taps are comes from tables, a pair
// for each phase: a backward convolution of stride 2 has four.
type direct struct {
	in, out  int // channels, of this direction
	kernel   int
	backward bool // filters come as in×out
	wide     bool // computed 16 floats at a time, which gives the same bits
	source   Layout
	dstPlane int // elements of a plane of dst
	phases   []directPhase
}

// directPhase is the pixels of the destination that sum the same products.
type directPhase struct {
	pixels   []directPixel // count, and on to whole groups
	count    int
	products []directProduct
	taps     []int32 // offsets: blocks of 8 products each, then singles
	blocks   int
	singles  int
	filters  []float32 // [panel][product][16], or [8] in the last panel
}

func newDirectForward(s ConvShape, wide bool) Conv[float32] {
	d := &direct{
		in: s.In, out: s.Out, kernel: s.Kernel, wide: wide,
		source:   paddedInput(s),
		dstPlane: s.OutH() * s.OutW() * lanes,
	}
	d.addPhase(directForwardAxis(s.OutH(), s), directForwardAxis(s.OutW(), s), s.OutW())
	return d
}

func newDirectBackward(s ConvShape, wide bool) Conv[float32] {
	rows, top, paddedRows := directBackwardAxes(s.H, s.OutH(), s)
	cols, left, paddedCols := directBackwardAxes(s.W, s.OutW(), s)
	d := &direct{
		in: s.Out, out: s.In, kernel: s.Kernel, backward: true, wide: wide,
		source: Layout{
			Blocks: blocksOf(s.Out),
			Rows:   paddedRows, Cols: paddedCols,
			Top: top, Left: left,
			H: s.OutH(), W: s.OutW(),
		},
		dstPlane: s.H * s.W * lanes,
	}
	for _, row := range rows {
		for _, col := range cols {
			d.addPhase(row, col, s.W)
		}
	}
	return d
}

func (d *direct) addPhase(rows, cols directAxis, dstCols int) {
	pixels := directPixels(rows, cols, d.source, dstCols)
	products := directProducts(d.in, rows, cols, d.source, d.kernel)
	p := directPhase{
		pixels: directPad(pixels), count: len(pixels),
		products: products,
		blocks:   len(rows.taps) * len(cols.taps) * (d.in / lanes),
		filters:  make([]float32, len(products)*blocksOf(d.out)*lanes),
	}
	p.singles = len(products) - p.blocks*lanes
	for i := 0; i < len(products); {
		p.taps = append(p.taps, products[i].offset)
		if i < p.blocks*lanes {
			i += lanes
		} else {
			i++
		}
	}
	d.phases = append(d.phases, p)
}

func (d *direct) Source() Layout { return d.source }

// Workspace is none.
func (d *direct) Workspace(images int) int { return 0 }

func (d *direct) SetFilters(w []float32) {
	taps := d.kernel * d.kernel
	w = w[:d.in*d.out*taps]
	for _, p := range d.phases {
		for out := range d.out {
			first := out / directPanel * directPanel
			width := d.panel(first).outputs
			for i, product := range p.products {
				from := out*d.in + product.channel
				if d.backward {
					from = product.channel*d.out + out
				}
				p.filters[first*len(p.products)+i*width+out-first] = w[from*taps+product.tap]
			}
		}
	}
}

// panel is the kernels for the panel from output first on.
func (d *direct) panel(first int) directKernels {
	return directPanelKernels(blocksOf(d.out)*lanes-first, d.wide)
}

func (d *direct) Run(dst, src []float32, images int, _ []float32, _ ...[]float32) {
	srcLen := d.source.Len(lanes)
	dstLen := blocksOf(d.out) * d.dstPlane
	for n := range images {
		from, to := src[n*srcLen:][:srcLen], dst[n*dstLen:][:dstLen]
		for i := range d.phases {
			p := &d.phases[i]
			for out := 0; out < d.out; out += directPanel {
				d.convolve(to, from, p, out)
			}
		}
	}
}

// convolve computes a phase's pixels of the panel from output first on. A phase
// without taps, as of a 1×1 convolution of stride 2, is all zeros.
func (d *direct) convolve(dst, src []float32, p *directPhase, first int) {
	k := d.panel(first)
	larges, smalls := k.groups(p.count)
	filters := p.filters[first*len(p.products):]
	for done := 0; done == 0 || done < p.blocks; done += directTaps {
		blocks, singles := min(directTaps, p.blocks-done), 0
		if done+blocks == p.blocks {
			singles = p.singles
		}
		k.convolve(&dst[first/lanes*d.dstPlane], &src[0], unsafe.SliceData(filters),
			directTable(p.taps[done:]), directTable(p.pixels),
			uintptr(blocks), uintptr(singles), uintptr(larges), uintptr(smalls),
			uintptr(d.dstPlane*directElement), uintptr(done))
		filters = filters[blocks*lanes*k.outputs:]
	}
}
