package kernel

// genericConv is either direction of a convolution. Each destination element is computed as
// a sum over a window of the source, which is a range of rows and, likewise, of columns:
//
//   - In the forward direction, row i of the destination reads Kernel rows from row
//     i·Stride on, with all rows of the filter.
//   - In the backward direction, row i of x's gradient reads the rows r of y's gradient
//     for which r·Stride + k - Pad = i for some row k of the filter. All such k have the
//     same remainder on division by Stride as i + Pad. This remainder is the phase of i.
//     So there are Stride sets of filter rows, one for each phase. r falls as k rises.
//
// The filters of each pair of phases, of a row and of a column, are packed together
// in the order in which they are read.
type genericConv[T Float] struct {
	shape    ConvShape
	backward bool
	source   Layout

	outBlocks  int         // channel blocks of the destination
	rows, cols []window    // by row and by column of the destination
	taps       []int       // number of filter rows, and of columns, by phase
	filters    [][]half[T] // [row phase][column phase], each [out block][in block][row][column][in lane][out half]
}

// half is half a block. Loops process a block in two halves because the Go compiler moves all
// loads between two bounds checks to the front, and there are not enough registers for the
// loads of eight lanes and eight sums.
type half[T Float] [lanes / 2]T

// window describes the rows of the source that one row of the destination reads, or the
// columns that one column reads. It begins at first, and its length is the number of
// taps of its phase.
type window struct{ first, phase int }

func newGenericForward[T Float](s ConvShape) Conv[T] {
	c := &genericConv[T]{
		shape:     s,
		source:    paddedInput(s),
		outBlocks: blocksOf(s.Out),
		rows:      make([]window, s.OutH()),
		cols:      make([]window, s.OutW()),
		taps:      []int{s.Kernel},
	}
	for y := range c.rows {
		c.rows[y].first = y * s.Stride
	}
	for x := range c.cols {
		c.cols[x].first = x * s.Stride
	}
	c.allocate(blocksOf(s.In))
	return c
}

// paddedInput returns the layout of x with the padding of the convolution's definition.
func paddedInput(s ConvShape) Layout {
	return Layout{
		Blocks: blocksOf(s.In),
		Rows:   s.H + 2*s.Pad, Cols: s.W + 2*s.Pad,
		Top: s.Pad, Left: s.Pad,
		H: s.H, W: s.W,
	}
}

func newGenericBackward[T Float](s ConvShape) Conv[T] {
	c := &genericConv[T]{
		shape:     s,
		backward:  true,
		outBlocks: blocksOf(s.In),
		taps:      make([]int, s.Stride),
	}
	for phase := range c.taps {
		c.taps[phase] = (max(s.Kernel-phase, 0) + s.Stride - 1) / s.Stride
	}
	l := &c.source
	l.Blocks, l.H, l.W = blocksOf(s.Out), s.OutH(), s.OutW()
	c.rows, l.Top, l.Rows = c.backwardWindows(s.H, l.H)
	c.cols, l.Left, l.Cols = c.backwardWindows(s.W, l.W)
	c.allocate(l.Blocks)
	return c
}

// backwardWindows returns the windows of x's gradient, which has size rows, on a padded copy
// of y's gradient, which has outSize rows. It also returns the number of rows of padding at
// the beginning of the copy, and the number of rows of the whole copy.
func (c *genericConv[T]) backwardWindows(size, outSize int) (windows []window, padding, total int) {
	windows = make([]window, size)
	low, high := 0, outSize
	for y := range windows {
		phase := (y + c.shape.Pad) % c.shape.Stride
		end := (y+c.shape.Pad)/c.shape.Stride + 1
		windows[y] = window{end - c.taps[phase], phase}
		low, high = min(low, windows[y].first), max(high, end)
	}
	for y := range windows {
		windows[y].first -= low
	}
	return windows, -low, high - low
}

// allocate allocates the filters of every pair of phases.
func (c *genericConv[T]) allocate(inBlocks int) {
	for _, rows := range c.taps {
		for _, cols := range c.taps {
			c.filters = append(c.filters, make([]half[T], c.outBlocks*inBlocks*rows*cols*lanes*2))
		}
	}
}

func (c *genericConv[T]) Source() Layout { return c.source }

// Workspace returns 0.
func (c *genericConv[T]) Workspace(images int) int { return 0 }

func (c *genericConv[T]) SetFilters(w []T) {
	s := c.shape
	w = w[:s.Out*s.In*s.Kernel*s.Kernel]
	for phases, filters := range c.filters {
		rowPhase, colPhase := phases/len(c.taps), phases%len(c.taps)
		rows, cols := c.taps[rowPhase], c.taps[colPhase]
		for o := range s.Out {
			for i := range s.In {
				dst, src := o, i // channels of the destination and of the source
				if c.backward {
					dst, src = i, o
				}
				for row := range rows {
					for col := range cols {
						index := (dst/lanes*c.source.Blocks+src/lanes)*rows + row
						index = ((index*cols+col)*lanes+src%lanes)*2 + dst%lanes/len(half[T]{})
						tap := c.tap(rowPhase, row)*s.Kernel + c.tap(colPhase, col)
						filters[index][dst%len(half[T]{})] = w[(o*s.In+i)*s.Kernel*s.Kernel+tap]
					}
				}
			}
		}
	}
}

// tap returns the row of the filter, or the column, that multiplies row i of a window.
func (c *genericConv[T]) tap(phase, i int) int {
	if c.backward {
		return phase + c.shape.Stride*(c.taps[phase]-1-i)
	}
	return i
}

func (c *genericConv[T]) Run(dst, src []T, images int, _ []T, _ ...[]T) {
	sourceLen := c.source.Len(lanes)
	plane := len(c.rows) * len(c.cols) * lanes
	for n := range images {
		image := src[n*sourceLen:][:sourceLen]
		for block := range c.outBlocks {
			c.plane(dst[(n*c.outBlocks+block)*plane:][:plane], image, block)
		}
	}
}

// plane computes one plane of dst.
func (c *genericConv[T]) plane(dst, image []T, block int) {
	for y, row := range c.rows {
		for x, col := range c.cols {
			rows, cols := c.taps[row.phase], c.taps[col.phase]
			size := c.source.Blocks * rows * cols * lanes * 2
			filters := c.filters[row.phase*len(c.taps)+col.phase][block*size:][:size]
			start := (row.first*c.source.Cols + col.first) * lanes
			gather((*[lanes]T)(dst[(y*len(c.cols)+x)*lanes:]), image, filters, start, &c.source, rows, cols)
		}
	}
}

// gather writes the sum of the products of filters with a window of image: rows×cols
// positions of each block, from element start on. The eight sums stay in registers.
func gather[T Float](dst *[lanes]T, image []T, filters []half[T], start int, l *Layout, rows, cols int) {
	var s0, s1, s2, s3, s4, s5, s6, s7 T
	for block := range l.Blocks {
		for row := range rows {
			line := image[start+(block*l.Rows+row)*l.Cols*lanes:][:cols*lanes]
			for i, x := range line {
				f := &filters[2*i]
				s0 += x * f[0]
				s1 += x * f[1]
				s2 += x * f[2]
				s3 += x * f[3]
				f = &filters[2*i+1]
				s4 += x * f[0]
				s5 += x * f[1]
				s6 += x * f[2]
				s7 += x * f[3]
			}
			filters = filters[2*len(line):]
		}
	}
	*dst = [lanes]T{s0, s1, s2, s3, s4, s5, s6, s7}
}

// genericWeightGradient implements WeightGradient with accumulators [out block][in
// block][row][column][in lane][out lane]. It sums over the positions of an image before it
// adds the sum to an accumulator.
type genericWeightGradient[T Float] struct {
	shape  ConvShape
	source Layout
}

func newGenericWeightGradient[T Float](s ConvShape) WeightGradient[T] {
	return &genericWeightGradient[T]{s, paddedInput(s)}
}

func (g *genericWeightGradient[T]) Source() Layout { return g.source }

func (g *genericWeightGradient[T]) Len() int {
	return blocksOf(g.shape.Out) * g.source.Blocks * g.shape.Kernel * g.shape.Kernel * lanes * lanes
}

// Workspace returns 0.
func (g *genericWeightGradient[T]) Workspace(images int) int { return 0 }

func (g *genericWeightGradient[T]) Accumulate(acc, x, dy []T, images int, _ []T) {
	s, outBlocks := g.shape, blocksOf(g.shape.Out)
	imageLen, planeLen := g.source.Len(lanes), s.OutH()*s.OutW()*lanes
	for n := range images {
		image := x[n*imageLen:][:imageLen]
		sums := acc[:g.Len()]
		for block := range outBlocks {
			plane := dy[(n*outBlocks+block)*planeLen:][:planeLen]
			for inBlock := range g.source.Blocks {
				for tap := range s.Kernel * s.Kernel {
					row, col := tap/s.Kernel, tap%s.Kernel
					start := ((inBlock*g.source.Rows+row)*g.source.Cols + col) * lanes
					for lane := range lanes {
						g.correlate((*[lanes]T)(sums), image[start+lane:], plane)
						sums = sums[lanes:]
					}
				}
			}
		}
	}
}

// correlate adds to sum the products of a plane of dy with one channel of x, for one tap of
// the filter. x begins at the element that the tap multiplies for the first output.
func (g *genericWeightGradient[T]) correlate(sum *[lanes]T, x, dy []T) {
	var s0, s1, s2, s3, s4, s5, s6, s7 T
	step := g.shape.Stride * lanes
	width := g.shape.OutW()
	for row := range g.shape.OutH() {
		line := x[row*g.shape.Stride*g.source.Cols*lanes:]
		for col := range width {
			v := line[col*step]
			d := (*half[T])(dy)
			s0 += v * d[0]
			s1 += v * d[1]
			s2 += v * d[2]
			s3 += v * d[3]
			d = (*half[T])(dy[len(d):])
			s4 += v * d[0]
			s5 += v * d[1]
			s6 += v * d[2]
			s7 += v * d[3]
			dy = dy[lanes:]
		}
	}
	sum[0] += s0
	sum[1] += s1
	sum[2] += s2
	sum[3] += s3
	sum[4] += s4
	sum[5] += s5
	sum[6] += s6
	sum[7] += s7
}

func (g *genericWeightGradient[T]) Unpack(dw, acc []T) {
	s := g.shape
	taps := s.Kernel * s.Kernel
	for o := range s.Out {
		for i := range s.In {
			for tap := range taps {
				row := ((o/lanes*g.source.Blocks+i/lanes)*taps+tap)*lanes + i%lanes
				dw[(o*s.In+i)*taps+tap] = acc[row*lanes+o%lanes]
			}
		}
	}
}
