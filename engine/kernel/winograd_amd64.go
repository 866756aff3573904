//go:build amd64 && !noasm

package kernel

import "unsafe"

const (
	winogradTile      = 4 // rows and columns of output in a tile
	winogradPoints    = winogradTile + 2
	winogradPositions = winogradPoints * winogradPoints
	winogradPanel     = 16 // outputs that winogradMultiply computes at once

	// winogradChannels is the largest number of input channels that are transformed
	// before they are multiplied. A panel of their filters, 8 KB, then stays in the L1
	// cache for all tiles of a block.
	winogradChannels = 128
	// The transformed input of a block of tiles, at most 432 KB, should stay in an L2
	// cache of 512 KB. With few channels, an image of 32×32 is one block. Filters that are
	// too large for any cache are read from memory once a block. That takes more time than
	// a block that exceeds the L2 cache, so blocks are then larger.
	winogradTiles       = 24
	winogradFewChannels = 16
	winogradImageTiles  = 64
	winogradManyFilters = 4 << 20 // elements
	winogradManyTiles   = 60
)

// winogradTiling describes the division of the images of a 3×3 convolution of stride 1 and
// padding 1 into tiles, and the layout of transformed tiles.
type winogradTiling struct {
	in, out int  // channels that this direction reads and writes
	h, w    int  // rows and columns of one image, the same on both sides
	wide    bool // whether to use AVX-512, with 16 floats in a register

	tileRows, tileCols int // tiles of one image
	tiles              int // tiles in a block, a multiple of 4

	inBlocks, outBlocks int // channel blocks of one image
	panels              int // of winogradPanel outputs

	// Elements between the tiles and positions of v, the transformed input,
	// [36][tiles][channels], and of m, the products, [36][tiles][panels·16].
	vTile, vPosition, mTile, mPosition int
}

func newWinogradTiling(in, out int, s ConvShape, wide bool) winogradTiling {
	if s.Kernel != 3 || s.Stride != 1 || s.Pad != 1 {
		panic("kernel: a Winograd convolution is 3×3, of stride 1 and padding 1")
	}
	t := winogradTiling{
		in: in, out: out, h: s.H, w: s.W, wide: wide,
		tileRows:  ceilDiv(s.H, winogradTile),
		tileCols:  ceilDiv(s.W, winogradTile),
		inBlocks:  blocksOf(in),
		outBlocks: blocksOf(out),
		panels:    ceilDiv(out, winogradPanel),
	}
	t.vTile = min(t.inBlocks*lanes, winogradChannels)
	t.mTile = t.panels * winogradPanel
	switch {
	case max(in, out) <= winogradFewChannels:
		t.tiles = winogradImageTiles
	case winogradPositions*in*t.mTile > winogradManyFilters:
		t.tiles = winogradManyTiles
	default:
		t.tiles = winogradTiles
	}
	t.vPosition = winogradStride(t.tiles * t.vTile)
	t.mPosition = winogradStride(t.tiles * t.mTile)
	return t
}

// winograd is a 3×3 convolution of stride 1 and padding 1, computed by Winograd's
// minimal filtering F(4×4, 3×3) (Lavin and Gray 2015, "Fast Algorithms for
// Convolutional Neural Networks") at the points 0, ±5/8, ±3/2 and ∞. Let d be a 6×6
// tile of the input, which overlaps its neighbours by 2, and g a filter. Then
//
//	y = Aᵀ[ Σ over input channels (GgGᵀ) ⊙ (BᵀdB) ]A
//
// At each of 36 positions, the sum is a matrix product of tiles × channels by
// channels × outputs. It is computed for a block of tiles at a time, which may span
// several images, so that data between the three steps stays in cache. The result for
// a tile depends neither on its block nor on the width of registers.
type winograd struct {
	winogradTiling
	backward bool // SetFilters gets in×out filters and rotates them by 180°

	// filters is [channels/128][36][panels][128][16]. The last group of channels may have
	// fewer than 128.
	filters []float32
}

func newWinogradForward(s ConvShape, wide bool) Conv[float32] {
	return newWinograd(newWinogradTiling(s.In, s.Out, s, wide), false)
}

// newWinogradBackward returns the backward direction: the gradient of a convolution of
// stride 1 is a convolution whose filters are rotated by 180° and have input and output
// channels swapped.
func newWinogradBackward(s ConvShape, wide bool) Conv[float32] {
	return newWinograd(newWinogradTiling(s.Out, s.In, s, wide), true)
}

func newWinograd(t winogradTiling, backward bool) *winograd {
	g := &winograd{
		winogradTiling: t, backward: backward,
		filters: winogradAlign(make([]float32, winogradPositions*t.in*t.mTile+cacheLine)),
	}
	if g.inPlace() {
		g.vPosition = max(t.vPosition, t.mPosition)
		g.mPosition = g.vPosition
	}
	return g
}

// inPlace reports whether the products of a block overwrite the transformed channels from
// which they are computed. They cannot if the products of further channels are added to them.
func (g *winograd) inPlace() bool { return g.in <= winogradChannels }

// ceilDiv returns a/b, rounded up.
func ceilDiv(a, b int) int { return (a + b - 1) / b }

// winogradStride rounds n elements up to an odd number of cache lines. If it were a power
// of two, all 36 positions of a tile would fall into the same set of the L1 cache.
func winogradStride(n int) int {
	return (ceilDiv(n, cacheLine) | 1) * cacheLine
}

// winogradAlign returns x without the elements before its first cache line boundary.
func winogradAlign(x []float32) []float32 {
	misalignment := int(uintptr(unsafe.Pointer(unsafe.SliceData(x))) / 4 % cacheLine)
	return x[(cacheLine-misalignment)%cacheLine:]
}

// Source returns a padding of 1 that extends to whole tiles at the right and bottom.
func (t *winogradTiling) Source() Layout {
	return Layout{
		Blocks: t.inBlocks,
		Rows:   t.tileRows*winogradTile + 2,
		Cols:   t.tileCols*winogradTile + 2,
		Top:    1, Left: 1,
		H: t.h, W: t.w,
	}
}

// stripLen returns the number of elements that the transforms keep between their two
// passes.
func (t *winogradTiling) stripLen() int {
	const blocks = 2 // transformed at once with AVX-512
	return winogradStride((t.tileCols*winogradTile + 2) * winogradPoints * lanes * blocks)
}

// Workspace returns the number of elements that a block needs. It does not depend on
// images.
func (g *winograd) Workspace(images int) int {
	positions := 2 * winogradPositions
	if g.inPlace() {
		positions = winogradPositions + 1
	}
	return cacheLine + g.stripLen() + positions*max(g.vPosition, g.mPosition)
}

// split returns the parts of a workspace. If the products are in place, those of a
// position overwrite the channels of the previous position, which are no longer needed.
func (g *winograd) split(work []float32) (strip, v, m []float32) {
	work = winogradAlign(work)
	strip, work = work[:g.stripLen()], work[g.stripLen():]
	if g.inPlace() {
		return strip, work[g.mPosition:], work
	}
	return strip, work[:winogradPositions*g.vPosition], work[winogradPositions*g.vPosition:]
}

func (g *winograd) SetFilters(w []float32) {
	w = w[:g.in*g.out*9]
	for panel := range g.panels {
		first := panel * winogradPanel
		var u [winogradPositions][winogradPanel]float32 // zero beyond the last output
		for i := range g.in {
			for lane := range min(winogradPanel, g.out-first) {
				filter := ((first+lane)*g.in + i) * 9
				if g.backward {
					filter = (i*g.out + first + lane) * 9
				}
				winogradFilter(&u, lane, (*[9]float32)(w[filter:]), g.backward)
			}
			chunk := i / winogradChannels * winogradChannels
			channels := min(winogradChannels, g.in-chunk)
			packed := g.filters[chunk*winogradPositions*g.mTile+(panel*channels+i-chunk)*winogradPanel:]
			for p := range u {
				copy(packed[p*channels*g.mTile:], u[p][:])
			}
		}
	}
}

// winogradFilter writes GgGᵀ to one lane of u. It computes in float64 and rounds at the
// end. If rotate is set, it rotates g by 180° first.
func winogradFilter(u *[winogradPositions][winogradPanel]float32, lane int, g *[9]float32, rotate bool) {
	var x [9]float64
	for i, v := range g {
		if rotate {
			i = 8 - i
		}
		x[i] = float64(v)
	}
	var rows [winogradPoints][3]float64 // Gg
	for c := range 3 {
		rows[0][c], rows[1][c], rows[2][c], rows[3][c], rows[4][c], rows[5][c] =
			winogradFilterPoints(x[c], x[3+c], x[6+c])
	}
	for r := range rows {
		row, points := &rows[r], u[r*winogradPoints:][:winogradPoints]
		zero, plusA, minusA, plusB, minusB, infinity := winogradFilterPoints(row[0], row[1], row[2])
		points[0][lane], points[1][lane], points[2][lane] = float32(zero), float32(plusA), float32(minusA)
		points[3][lane], points[4][lane], points[5][lane] = float32(plusB), float32(minusB), float32(infinity)
	}
}

// winogradFilterPoints returns Gg: the values of the polynomial g at 0, a, -a, b and -b,
// each divided by the product of the point's differences from the other finite points, and
// its value at ∞, g2. The conversions keep the compiler from fusing operations, so that
// every build gives the same bits.
func winogradFilterPoints(g0, g1, g2 float64) (zero, plusA, minusA, plusB, minusB, infinity float64) {
	const (
		a, b   = 5.0 / 8, 3.0 / 2
		scale0 = 1 / (a * a * b * b)
		scaleA = 1 / (2 * a * a * (a*a - b*b))
		scaleB = 1 / (2 * b * b * (b*b - a*a))
	)
	evenA, oddA := float64((g0+float64(a*a*g2))*scaleA), float64(g1*(a*scaleA))
	evenB, oddB := float64((g0+float64(b*b*g2))*scaleB), float64(g1*(b*scaleB))
	return float64(g0 * scale0), evenA + oddA, evenA - oddA, evenB + oddB, evenB - oddB, g2
}

func (g *winograd) Run(dst, src []float32, images int, work []float32, ahead ...[]float32) {
	src = src[:images*g.Source().Len(lanes)]
	dst = dst[:images*g.outBlocks*g.h*g.w*lanes]
	strip, v, m := g.split(work[:g.Workspace(images)])
	totalTiles := images * g.tileRows * g.tileCols
	fetch := newPrefetcher(ahead, g.steps(totalTiles), prefetchLimit(g.wide))
	for first := 0; first < totalTiles; first += g.tiles {
		tiles := min(g.tiles, totalTiles-first)
		for channel := 0; channel < g.in; channel += winogradChannels {
			channels := min(winogradChannels, g.in-channel)
			g.transformInput(v, src, strip, first, tiles, channel, channels)
			g.multiply(m, v, tiles, channel, channels, &fetch)
		}
		g.transformOutput(dst, m, strip, first, tiles)
	}
}

// winogradRun is a run of horizontally neighbouring tiles of one image.
type winogradRun struct {
	image, row, col int // row and col of the first tile, in tiles
	tiles           int
}

// run returns the longest run of at most tiles tiles that begins at tile.
func (t *winogradTiling) run(tile, tiles int) winogradRun {
	row, col := tile/t.tileCols, tile%t.tileCols
	return winogradRun{
		image: row / t.tileRows, row: row % t.tileRows, col: col,
		tiles: min(tiles, t.tileCols-col),
	}
}

// transformInput writes BᵀdB of a block of tiles to v, for some of the channels.
func (t *winogradTiling) transformInput(v, src, strip []float32, first, tiles, channel, channels int) {
	l := t.Source()
	row := l.Cols * lanes
	plane := l.Rows * row
	for done := 0; done < tiles; {
		r := t.run(first+done, tiles-done)
		offset := (r.image*l.Blocks+channel/lanes)*plane +
			r.row*winogradTile*row + r.col*winogradTile*lanes
		pairs, blocks := t.pairs(blocksOf(channels))
		if pairs > 0 {
			winogradInputAVX512(&v[done*t.vTile], &src[offset], &strip[0],
				uintptr(r.tiles), uintptr(pairs),
				uintptr(row*4), uintptr(plane*4), uintptr(t.vTile*4), uintptr(t.vPosition*4))
		}
		if blocks > 0 {
			winogradInput(&v[done*t.vTile+2*pairs*lanes], &src[offset+2*pairs*plane], &strip[0],
				uintptr(r.tiles), uintptr(blocks),
				uintptr(row*4), uintptr(plane*4), uintptr(t.vTile*4), uintptr(t.vPosition*4))
		}
		done += r.tiles
	}
}

// pairs divides channel blocks into pairs, which AVX-512 transforms take, and single
// blocks.
func (t *winogradTiling) pairs(blocks int) (pairs, singles int) {
	if !t.wide {
		return 0, blocks
	}
	return blocks / 2, blocks % 2
}

// steps returns the number of steps in which multiply processes all tiles of a call.
func (g *winograd) steps(totalTiles int) int {
	steps := totalTiles / g.tiles * g.product(g.tiles, g.in).steps(g.wide)
	if rest := totalTiles % g.tiles; rest > 0 {
		steps += g.product(rest, g.in).steps(g.wide)
	}
	return steps * winogradPositions
}

// product returns the product for the given numbers of tiles and channels.
func (g *winograd) product(tiles, channels int) winogradProduct {
	return winogradProduct{
		rows: tiles, blocks: g.outBlocks, depth: channels,
		mRow: g.mTile, mPosition: g.mPosition,
		vRow: g.vTile, vPosition: g.vPosition, vDepth: 1,
		uPosition: channels * g.mTile, uPanel: channels * winogradPanel, uDepth: winogradPanel,
	}
}

// multiply writes the products of a block to m, or adds them to m if channel is not 0.
// It also prefetches part of ahead.
func (g *winograd) multiply(m, v []float32, tiles, channel, channels int, ahead *prefetcher) {
	p := g.product(tiles, channels)
	p.add = channel > 0
	filters := g.filters[channel*winogradPositions*g.mTile:]
	for done := 0; done < winogradPositions; {
		positions, fetch := ahead.take(winogradPositions-done, p.steps(g.wide))
		p.run(g.wide, m[done*g.mPosition:], v[done*g.vPosition:], filters[done*p.uPosition:], positions, fetch, ahead.pace)
		done += positions
	}
}

// winogradProduct describes the matrix product m = v·u, or m += v·u, of rows×depth by
// depth×(8·blocks) at each of several positions. u is in panels of two blocks; the second
// block of the last panel is not read if blocks is odd. The strides are in elements.
type winogradProduct struct {
	rows, blocks, depth       int
	mRow, mPosition           int
	vRow, vPosition, vDepth   int
	uPosition, uPanel, uDepth int
	add                       bool
}

// prefetchLimit returns the number of elements that the kernel can prefetch in a step.
func prefetchLimit(wide bool) int {
	if wide {
		return 2 * cacheLine
	}
	return cacheLine
}

// steps returns how often the kernel prefetches at a position of the product: once for
// each group of rows and blocks and each step of depth.
func (p winogradProduct) steps(wide bool) int {
	if wide {
		return ceilDiv(p.rows, 12) * ceilDiv(p.blocks, 4) * p.depth
	}
	return (p.blocks/2*ceilDiv(p.rows, 6) + p.blocks%2*ceilDiv(p.rows, 12)) * p.depth
}

// fitsMultiply16 reports whether winogradMultiply16AVX512 or winogradMultiply16x8AVX512 can
// compute the product.
func (p winogradProduct) fitsMultiply16() bool {
	return p.depth == 16 && p.vDepth == 1 && p.blocks <= 2 && p.uDepth == 16 && p.uPosition == 16*16 && !p.add
}

// run computes the product at the given number of positions. If fetch is not nil, it
// prefetches the memory that begins at fetch, pace elements a step.
func (p winogradProduct) run(wide bool, m, v, u []float32, positions int, fetch *float32, pace int) {
	if fetch == nil {
		fetch, pace = &v[0], 0
	}
	if wide && p.fitsMultiply16() {
		multiply := winogradMultiply16AVX512
		if p.blocks == 1 {
			multiply = winogradMultiply16x8AVX512
		}
		multiply(&m[0], &v[0], &u[0], uintptr(positions), uintptr(p.rows),
			uintptr(p.mRow*4), uintptr(p.mPosition*4), uintptr(p.vRow*4), uintptr(p.vPosition*4),
			fetch, uintptr(pace*4))
		return
	}
	multiply := winogradMultiply
	if wide {
		multiply = winogradMultiplyAVX512
	}
	add := uintptr(0)
	if p.add {
		add = 1
	}
	multiply(&m[0], &v[0], &u[0], uintptr(positions), uintptr(p.rows), uintptr(p.blocks), uintptr(p.depth),
		uintptr(p.mRow*4), uintptr(p.mPosition*4),
		uintptr(p.vRow*4), uintptr(p.vPosition*4), uintptr(p.vDepth*4),
		uintptr(p.uPosition*4), uintptr(p.uPanel*4), uintptr(p.uDepth*4),
		add, fetch, uintptr(pace*4))
}

// transformOutput writes AᵀmA of a block of tiles to dst. It leaves out rows and columns
// beyond the edges of an image.
func (g *winograd) transformOutput(dst, m, scratch []float32, first, tiles int) {
	row := g.w * lanes
	plane := g.h * row
	for done := 0; done < tiles; {
		r := g.run(first+done, tiles-done)
		offset := r.image*g.outBlocks*plane +
			r.row*winogradTile*row + r.col*winogradTile*lanes
		rows, columns := min(winogradTile, g.h-r.row*winogradTile), g.w-r.col*winogradTile
		pairs, blocks := g.pairs(g.outBlocks)
		if pairs > 0 {
			winogradOutputAVX512(&dst[offset], &m[done*g.mTile], &scratch[0],
				uintptr(r.tiles), uintptr(pairs), uintptr(rows), uintptr(columns),
				uintptr(row*4), uintptr(plane*4), uintptr(g.mTile*4), uintptr(g.mPosition*4))
		}
		if blocks > 0 {
			winogradOutput(&dst[offset+2*pairs*plane], &m[done*g.mTile+2*pairs*lanes], &scratch[0],
				uintptr(r.tiles), uintptr(blocks), uintptr(rows), uintptr(columns),
				uintptr(row*4), uintptr(plane*4), uintptr(g.mTile*4), uintptr(g.mPosition*4))
		}
		done += r.tiles
	}
}
