//go:build amd64 && !noasm

package kernel

// winogradGradient is the filter gradient of a 3×3 convolution of stride 1 and padding
// 1, computed by the adjoint of winograd's steps. Let d be a tile of the input and dy
// the gradient of the same tile of the output. Then
//
//	dg = Gᵀ[ Σ over tiles (A·dy·Aᵀ) ⊙ (BᵀdB) ]G
//
// At each of 36 positions, the sum is a matrix product of channels × tiles by
// tiles × outputs. It runs over the images of a call; the transform by G then adds
// filters to the accumulator.
type winogradGradient struct {
	winogradTiling
	partial bool // whether some tiles extend beyond dy
}

func newWinogradGradient(s ConvShape, wide bool) WeightGradient[float32] {
	return &winogradGradient{
		winogradTiling: newWinogradTiling(s.In, s.Out, s, wide),
		partial:        s.H%winogradTile != 0 || s.W%winogradTile != 0,
	}
}

// Len returns the length of [channels][3·3][panels·16], where channels are rounded up to
// whole blocks.
func (g *winogradGradient) Len() int { return g.inBlocks * lanes * 9 * g.mTile }

// Workspace returns the number of elements that a block, the sums of a call,
// [36][channels][panels·16], and a row of whole tiles of dy need. It does not depend on
// images.
func (g *winogradGradient) Workspace(images int) int {
	return cacheLine + g.stripLen() + winogradPositions*(g.vPosition+g.mPosition+g.sumsPosition()) + g.rowLen()
}

// split returns the parts of a workspace.
func (g *winogradGradient) split(work []float32) (strip, v, m, sums, row []float32) {
	part := func(n int) []float32 {
		x := work[:n]
		work = work[n:]
		return x
	}
	work = winogradAlign(work)
	return part(g.stripLen()), part(winogradPositions * g.vPosition), part(winogradPositions * g.mPosition),
		part(winogradPositions * g.sumsPosition()), part(g.rowLen())
}

// sumsPosition returns the number of elements between positions of the sums.
func (g *winogradGradient) sumsPosition() int {
	return winogradStride(g.inBlocks * lanes * g.mTile)
}

// rowLen returns the number of elements of a row of whole tiles of dy, in all blocks.
func (g *winogradGradient) rowLen() int {
	return g.outBlocks * winogradTile * g.tileCols * winogradTile * lanes
}

func (g *winogradGradient) Accumulate(acc, x, dy []float32, images int, work []float32) {
	acc = acc[:g.Len()]
	x = x[:images*g.Source().Len(lanes)]
	dy = dy[:images*g.outBlocks*g.h*g.w*lanes]
	strip, v, m, sums, whole := g.split(work[:g.Workspace(images)])
	if g.mTile > g.outBlocks*lanes {
		clear(m) // nothing else writes the last block of the last panel
	}

	totalTiles := images * g.tileRows * g.tileCols
	for first := 0; first < totalTiles; first += g.tiles {
		tiles := min(g.tiles, totalTiles-first)
		g.transformGradient(m, dy, strip, whole, first, tiles)
		for channel := 0; channel < g.in; channel += winogradChannels {
			channels := min(winogradChannels, g.in-channel)
			g.transformInput(v, x, strip, first, tiles, channel, channels)
			p := winogradProduct{
				rows: blocksOf(channels) * lanes, blocks: 2 * g.panels, depth: tiles,
				mRow: g.mTile, mPosition: g.sumsPosition(),
				vRow: 1, vPosition: g.vPosition, vDepth: g.vTile,
				uPosition: g.mPosition, uPanel: winogradPanel, uDepth: g.mTile,
				add: first > 0,
			}
			p.run(g.wide, sums[channel*g.mTile:], v, m, winogradPositions, nil, 0)
		}
	}
	g.addFilterGradients(acc, sums, strip)
}

// addFilterGradients adds GᵀsG to acc for each filter, where s are its sums.
func (g *winogradGradient) addFilterGradients(acc, sums, scratch []float32) {
	filterGradient := winogradFilterGradient
	if g.wide {
		filterGradient = winogradFilterGradientAVX512
	}
	filterGradient(&acc[0], &sums[0], &scratch[0], uintptr(g.inBlocks*lanes), uintptr(g.mTile), uintptr(g.sumsPosition()*4))
}

// transformGradient writes A·dy·Aᵀ of a block of tiles to m.
func (g *winogradGradient) transformGradient(m, dy, scratch, whole []float32, first, tiles int) {
	for done := 0; done < tiles; {
		r := g.run(first+done, tiles-done)
		row := g.w * lanes
		plane := g.h * row
		src := dy[r.image*g.outBlocks*plane+r.row*winogradTile*row+r.col*winogradTile*lanes:]
		if g.partial {
			g.padTiles(whole, src, r)
			src, row = whole, r.tiles*winogradTile*lanes
			plane = winogradTile * row
		}
		pairs, blocks := g.pairs(g.outBlocks)
		if pairs > 0 {
			winogradOutputGradientAVX512(&m[done*g.mTile], &src[0], &scratch[0], uintptr(r.tiles), uintptr(pairs),
				uintptr(row*4), uintptr(plane*4), uintptr(g.mTile*4), uintptr(g.mPosition*4))
		}
		if blocks > 0 {
			winogradOutputGradient(&m[done*g.mTile+2*pairs*lanes], &src[2*pairs*plane], &scratch[0], uintptr(r.tiles), uintptr(blocks),
				uintptr(row*4), uintptr(plane*4), uintptr(g.mTile*4), uintptr(g.mPosition*4))
		}
		done += r.tiles
	}
}

// padTiles copies the tiles of a run to whole, with zeros beyond the edges of the image. dy
// begins at the run's first tile.
func (g *winogradGradient) padTiles(whole, dy []float32, r winogradRun) {
	rows := min(winogradTile, g.h-r.row*winogradTile)
	cols := min(r.tiles*winogradTile, g.w-r.col*winogradTile) * lanes
	for block := range g.outBlocks {
		for i := range winogradTile {
			row := whole[:r.tiles*winogradTile*lanes]
			whole = whole[len(row):]
			if i >= rows {
				clear(row)
				continue
			}
			copy(row, dy[(block*g.h+i)*g.w*lanes:][:cols])
			clear(row[cols:])
		}
	}
}

func (g *winogradGradient) Unpack(dw, acc []float32) {
	for first := 0; first < g.in*9; first += packedProducts {
		products := min(packedProducts, g.in*9-first)
		for out := range g.out {
			for i := range products {
				dw[out*g.in*9+first+i] = acc[(first+i)*g.mTile+out]
			}
		}
	}
}
