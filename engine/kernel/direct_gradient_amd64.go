//go:build amd64 && !noasm

package kernel

// directGradientPixels is the largest number of pixels that are summed before the sum is
// added to the accumulator. A panel's dy, 8 KB for 16 outputs, then stays in the L1 cache for
// all taps.
const directGradientPixels = 128

// directGradient is a filter gradient, computed by its definition. A kernel takes a
// panel of output channels and a few products, each an input channel times a tap, and
// keeps their sums over pixels in registers. The sums are added to the accumulator in the
// order of images and pixels.
type directGradient struct {
	shape    ConvShape
	source   Layout
	pixels   []directPixel
	products []directProduct
	taps     []int32 // offsets of products, padded to whole groups
	panels   []directGradientPanel
	length   int // elements of an accumulator
}

// directGradientPanel is a panel with the position of its sums in an accumulator. They are
// [product][output], beginning at start, with products padded to whole groups.
type directGradientPanel struct {
	directPanel
	start          int
	larges, smalls int
}

func newDirectWeightGradient(s ConvShape, wide bool) WeightGradient[float32] {
	g := &directGradient{shape: s, source: paddedInput(s)}
	rows, cols := directForwardAxis(s.OutH(), s), directForwardAxis(s.OutW(), s)
	g.pixels = directPixels(rows, cols, g.source, s.OutW())
	g.products = directProducts(s.In, rows, cols, g.source, s.Kernel)
	for _, p := range g.products {
		g.taps = append(g.taps, p.offset)
	}
	g.taps = directPad(g.taps)
	for _, panel := range directPanels(s.Out, wide) {
		p := directGradientPanel{directPanel: panel, start: g.length}
		p.larges, p.smalls = p.groups(len(g.products))
		g.length += p.roundUp(len(g.products)) * p.outputs
		g.panels = append(g.panels, p)
	}
	return g
}

func (g *directGradient) Source() Layout { return g.source }

func (g *directGradient) Len() int { return g.length }

// Workspace returns 0.
func (g *directGradient) Workspace(images int) int { return 0 }

func (g *directGradient) Accumulate(acc, x, dy []float32, images int, _ []float32) {
	acc = acc[:g.length]
	xLen := g.source.Len(lanes)
	plane := len(g.pixels) * lanes
	dyLen := blocksOf(g.shape.Out) * plane
	for n := range images {
		x, dy := x[n*xLen:][:xLen], dy[n*dyLen:][:dyLen]
		for first := 0; first < len(g.pixels); first += directGradientPixels {
			count := min(directGradientPixels, len(g.pixels)-first)
			for _, p := range g.panels {
				p.gradient(&acc[p.start], &x[0], &dy[p.first/lanes*plane+first*lanes],
					directTable(g.taps), directTable(g.pixels[first:]),
					uintptr(count), uintptr(p.larges), uintptr(p.smalls),
					uintptr(plane*directElement))
			}
		}
	}
}

func (g *directGradient) Unpack(dw, acc []float32) {
	taps := g.shape.Kernel * g.shape.Kernel
	for _, p := range g.panels {
		for first := 0; first < len(g.products); first += packedProducts {
			products := g.products[first:min(first+packedProducts, len(g.products))]
			for lane := range min(p.outputs, g.shape.Out-p.first) {
				sums, weights := acc[p.start+first*p.outputs+lane:], dw[(p.first+lane)*g.shape.In*taps:]
				for i, product := range products {
					weights[product.channel*taps+product.tap] = sums[i*p.outputs]
				}
			}
		}
	}
}
