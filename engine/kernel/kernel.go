// Package kernel holds the arithmetic of the engine: convolutions, BatchNorm, ReLU
// and residual passes, and the loops of the output layer and the optimizers. All exist in
// plain Go for any machine. For amd64, most also exist in AVX2+FMA assembly, and convolutions
// in AVX-512 assembly. SIMD.md explains the assembly.
//
// # Layout
//
// Activations are stored in blocks of Lanes channels ("nChw8c" if Lanes is 8). The
// dimensions are, from the outermost to the innermost, the image n, the block c/Lanes,
// the row h, the column w and the channel in the block. If the channels do not fill the
// last block, the rest of it is zero. A plane is one block of one image: H×W×Lanes
// elements.
//
// A convolution reads its images from a padded copy (Layout) with a halo of zeros.
// Activate (BatchNorm with ReLU) or BatchNormGradient (BatchNorm's input gradient)
// fills the interior of that copy, and nothing writes the halo. So BatchNorm and padding do
// not need additional passes over memory.
//
// # Determinism
//
// In one family, the result of each call depends on its arguments only, bit for bit. Moments
// and MaskGradient return the sums of one image. The caller adds them in image order, in
// float64 (Totals, TotalSquares).
package kernel

// Float is the type of elements. Networks compute in float32, and tests compare that
// with float64.
type Float interface{ float32 | float64 }

// ConvShape is the shape of a convolution of one image, from In×H×W to
// Out×OutH×OutW, with square filters and zero padding and without bias.
type ConvShape struct {
	In, Out             int // channels
	H, W                int // input rows and columns, without padding
	Kernel, Stride, Pad int
}

// OutH returns the number of output rows.
func (s ConvShape) OutH() int { return (s.H+2*s.Pad-s.Kernel)/s.Stride + 1 }

// OutW returns the number of output columns.
func (s ConvShape) OutW() int { return (s.W+2*s.Pad-s.Kernel)/s.Stride + 1 }

// Layout describes a padded copy of one image: Blocks×Rows×Cols×Lanes elements, in
// which the H×W interior begins at row Top and column Left.
type Layout struct {
	Blocks, Rows, Cols int
	Top, Left          int
	H, W               int
}

// Len returns the number of elements of one padded image.
func (l Layout) Len(lanes int) int { return l.Blocks * l.Rows * l.Cols * lanes }

// Padded reports whether the copy has more rows or columns than the image.
func (l Layout) Padded() bool { return l.Rows > l.H || l.Cols > l.W }

// Conv is one direction of a convolution, with its packed filters. The forward
// direction computes y, Out×OutH×OutW, from x. The backward direction computes the
// gradient of x, In×H×W, from that of y. Several goroutines may call Run at once, each
// with its own work; nothing may call SetFilters at the same time.
type Conv[T Float] interface {
	// Source returns the padding of the images that Run reads.
	Source() Layout
	// Workspace returns the number of elements of work that Run needs for the
	// given number of images.
	Workspace(images int) int
	// SetFilters packs the filters w, Out×In×Kernel×Kernel in row-major order. A Conv that
	// computes the gradient of x is given the same filters as one that computes y.
	SetFilters(w []T)
	// Run convolves the given number of images. It reads padded images from src and
	// writes unpadded images to dst. It writes zeros to the unused channels of the last
	// block. ahead lists the memory that the caller uses next, including dst if it is not
	// in the cache; a kernel that is not limited by the speed of memory prefetches it.
	Run(dst, src []T, images int, work []T, ahead ...[]T)
}

// WeightGradient sums a convolution's filter gradient over images.
type WeightGradient[T Float] interface {
	// Source returns the padding of x in Accumulate.
	Source() Layout
	// Len returns the number of elements of an accumulator.
	Len() int
	// Workspace returns the number of elements of work that Accumulate needs for
	// the given number of images.
	Workspace(images int) int
	// Accumulate adds the gradient of the given number of images to acc. x is
	// padded according to Source; dy is unpadded, Out×OutH×OutW.
	Accumulate(acc, x, dy []T, images int, work []T)
	// Unpack writes an accumulator to dw, Out×In×Kernel×Kernel in row-major order.
	Unpack(dw, acc []T)
}

// Activation is BatchNorm, residual and ReLU of one image:
//
//	z = max(Scale·Y + Shift + residual, Floor)
//
// where the residual is 0, R, or RScale·R + RShift. If the sum is a NaN, z is a NaN
// and its mask bit is clear, so that a diverged run shows in the loss.
type Activation[T Float] struct {
	Blocks, H, W int
	Y            []T // Blocks×H×W×Lanes
	Scale, Shift []T // by channel, Blocks×Lanes
	R            []T // the residual, shaped as Y; nil for none
	RScale       []T // by channel; nil to add R unchanged
	RShift       []T
	Floor        T // 0 for ReLU, -Inf for none

	// Padded receives z at Layout's interior, unless Padded is nil.
	Padded []T
	Layout Layout
	// Plain receives z, shaped as Y, unless Plain is nil.
	Plain []T
	// Mask receives a byte for each Lanes elements of Y, unless Mask is nil. Bit i
	// is set if z of lane i is above Floor.
	Mask []uint8
}

// Masking propagates one image's gradient back through the residual sum and the ReLU, and
// computes the sums that BatchNorm's gradient needs:
//
//	G = (G + Add) where z was above Floor, else 0
//	SumG[c] = ΣG,  SumGY[c] = ΣG·(Y - Mean[c]),  SumGR[c] = ΣG·(R - RMean[c])
//
// A bit of Mask is set if z was above Floor. If Mask is nil, MaskGradient recomputes it as
// Scale·Y + Shift > Floor.
type Masking[T Float] struct {
	Blocks, H, W int
	G            []T // read and written, Blocks×H×W×Lanes
	Add          []T // nil for none
	Mask         []uint8
	Scale, Shift []T
	Floor        T
	Y            []T
	Mean         []T
	R            []T // convolution output of a projection shortcut; nil for none
	RMean        []T
	SumG         []T // Blocks×Lanes; the sums are written, not added to
	SumGY        []T
	SumGR        []T
}

// InputGradient propagates one image's gradient back through BatchNorm to the convolution's
// output. The result is an affine function of G and Y. Its coefficients for each channel
// follow from the batch's sums (Ioffe and Szegedy 2015, section 3):
//
//	dy = CG·G + CY·Y + C1
type InputGradient[T Float] struct {
	Blocks, H, W int
	G, Y         []T
	CG, CY, C1   []T
	Padded       []T // nil for none; receives dy at Layout's interior
	Layout       Layout
	Plain        []T // nil for none; receives dy shaped as Y
}

// Family is a set of kernels that share a layout. Except for the New functions, they
// allocate nothing.
type Family[T Float] struct {
	Name  string // "avx512", "avx2" or "generic"
	Lanes int    // channels in a block

	NewForward        func(s ConvShape) Conv[T]
	NewBackward       func(s ConvShape) Conv[T]
	NewWeightGradient func(s ConvShape) WeightGradient[T]

	// Activate computes the activation a of one image.
	Activate func(a *Activation[T])
	// Moments writes the sum over one image's y (blocks planes of area positions)
	// and the sum of squared deviations from that image's mean, both by channel,
	// blocks×Lanes.
	Moments func(sum, m2, y []T, blocks, area int)
	// MaskGradient computes the masking m of one image.
	MaskGradient func(m *Masking[T])
	// BatchNormGradient computes the input gradient g of one image.
	BatchNormGradient func(g *InputGradient[T])
	// SubsampleGradient adds dy, blocks×⌈h/2⌉×⌈w/2⌉×Lanes, to every second row and
	// column of dx, blocks×h×w×Lanes, beginning with the first.
	SubsampleGradient func(dx, dy []T, blocks, h, w int)
	// PlaneSums writes the sum over one image's y (blocks planes of area positions)
	// by channel, blocks×Lanes.
	PlaneSums func(sum, y []T, blocks, area int)

	// Totals writes the sums of the columns of rows, n×len(total), adding one row after
	// another. len(total) is a multiple of Lanes.
	Totals func(total []float64, rows []T, n int)
	// TotalSquares writes, by channel, the sum of the squared deviations from mean of n images
	// of area positions. The images' Moments are the rows of sums and squares,
	// n×len(total). It adds squares + (sums/area - mean)²·area in row order.
	// len(total) is a multiple of Lanes.
	TotalSquares func(total, mean []float64, sums, squares []T, n, area int)

	// Dot returns Σ a[i]·b[i].
	Dot func(a, b []T) T
	// Axpy adds s·x to y.
	Axpy func(y []T, s T, x []T)
	// SGD does a step of stochastic gradient descent with momentum and weight decay
	// as PyTorch does: v = momentum·v + (g + decay·w), w -= rate·v.
	SGD func(w, v, g []T, rate, momentum, decay T)

	// RoundBF16 writes x, rounded to bfloat16, to dst. It rounds to nearest, ties to
	// even, and turns a NaN into a quiet NaN of the same sign. It is nil in a family
	// of float64.
	RoundBF16 func(dst []uint16, x []T)
	// ExpandBF16 writes x as float32 to dst. It is nil in a family of float64.
	ExpandBF16 func(dst []T, x []uint16)

	// peak does multiply-adds as fast as possible and returns their number of
	// floating-point operations.
	peak func() (flops float64)
}
