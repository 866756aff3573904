//go:build amd64 && !noasm

package kernel

import "unsafe"

const directFetch = 4 // number of cache lines that a kernel prefetches in a step

// directTaps is the largest number of taps of blocks that are summed before the sum is
// stored to dst. Their filters, 18 KB for 16 outputs, then stay in the L1 cache for all pixels.
const directTaps = 36

// direct is either direction of a convolution, computed by its definition. A kernel
// computes a panel of output channels at a few pixels and keeps their sums over input
// channels and taps in registers. Tables hold the offsets of pixels and taps. There is a
// pair of tables for each phase; a backward convolution of stride 2 has four phases.
type direct struct {
	in, out  int // channels that this direction reads and writes
	kernel   int
	backward bool // the filters that SetFilters gets are in×out
	panels   []directPanel
	source   Layout
	dstPlane int // elements of a plane of dst
	phases   []directPhase
}

// directPhase holds the pixels of the destination that sum the same products.
type directPhase struct {
	pixels   []directPixel // count pixels, padded to whole groups
	count    int
	products []directProduct
	taps     []int32   // offsets of blocks of 8 products each, then of single products
	blocks   int       // number of blocks
	singles  int       // number of single products
	filters  []float32 // [panel][product][output]
}

func newDirectForward(s ConvShape, wide bool) Conv[float32] {
	d := &direct{
		in: s.In, out: s.Out, kernel: s.Kernel,
		panels:   directPanels(s.Out, wide),
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
		in: s.Out, out: s.In, kernel: s.Kernel, backward: true,
		panels: directPanels(s.In, wide),
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

// addPhase appends a phase with its tables.
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

// Workspace returns 0.
func (d *direct) Workspace(images int) int { return 0 }

// packedProducts is the number of products that are packed or unpacked at a time. They stay
// in the L1 cache while the weights, which lie far apart for different outputs, are read or
// written one output at a time.
const packedProducts = 64

func (d *direct) SetFilters(w []float32) {
	taps := d.kernel * d.kernel
	w = w[:d.in*d.out*taps]
	for _, p := range d.phases {
		for _, panel := range d.panels {
			filters := p.filters[panel.first*len(p.products):]
			outputs := min(panel.outputs, d.out-panel.first)
			if d.backward {
				for i, product := range p.products {
					for lane := range outputs {
						filters[i*panel.outputs+lane] = w[(product.channel*d.out+panel.first+lane)*taps+product.tap]
					}
				}
				continue
			}
			for first := 0; first < len(p.products); first += packedProducts {
				products := p.products[first:min(first+packedProducts, len(p.products))]
				for lane := range outputs {
					weights, packed := w[(panel.first+lane)*d.in*taps:], filters[first*panel.outputs+lane:]
					for i, product := range products {
						packed[i*panel.outputs] = weights[product.channel*taps+product.tap]
					}
				}
			}
		}
	}
}

func (d *direct) Run(dst, src []float32, images int, _ []float32, ahead ...[]float32) {
	srcLen := d.source.Len(lanes)
	dstLen := blocksOf(d.out) * d.dstPlane
	fetch := newPrefetcher(ahead, images*d.steps(), directFetch*cacheLine)
	for n := range images {
		image, result := src[n*srcLen:][:srcLen], dst[n*dstLen:][:dstLen]
		for i := range d.phases {
			p := &d.phases[i]
			for _, panel := range d.panels {
				d.convolve(result, image, p, panel, &fetch)
			}
		}
	}
}

// steps returns how often the kernels prefetch for an image: once for each group of
// pixels, panel and tap of a block.
func (d *direct) steps() int {
	steps := 0
	for i := range d.phases {
		p := &d.phases[i]
		for _, panel := range d.panels {
			larges, smalls := panel.groups(p.count)
			steps += (larges + smalls) * p.blocks
		}
	}
	return steps
}

// convolve computes the pixels of a phase for one panel. The pixels of a phase without taps,
// which occurs in the backward direction of a 1×1 convolution of stride 2, are zero.
func (d *direct) convolve(dst, src []float32, p *directPhase, panel directPanel, ahead *prefetcher) {
	larges, smalls := panel.groups(p.count)
	filters := p.filters[panel.first*len(p.products):]
	for done := 0; done == 0 || done < p.blocks; done += directTaps {
		blocks, singles := min(directTaps, p.blocks-done), 0
		if done+blocks == p.blocks {
			singles = p.singles
		}
		for group := 0; group < larges+smalls; {
			n, fetch := ahead.take(larges+smalls-group, blocks)
			step := ahead.pace
			if fetch == nil {
				fetch, step = &src[0], 0
			}
			large := max(min(n, larges-group), 0)
			pixel := min(group, larges)*panel.large + max(group-larges, 0)*directSmall
			panel.convolve(&dst[panel.first/lanes*d.dstPlane], &src[0], unsafe.SliceData(filters),
				directTable(p.taps[done:]), directTable(p.pixels[pixel:]),
				uintptr(blocks), uintptr(singles), uintptr(large), uintptr(n-large),
				uintptr(d.dstPlane*directElement), uintptr(done), fetch, uintptr(step*directElement))
			group += n
		}
		filters = filters[blocks*lanes*panel.outputs:]
	}
}
