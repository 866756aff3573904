// Package kernel holds the arithmetic of the engine: convolutions, BatchNorm,
// ReLU and residual passes, the output layer's and the optimizer's loops, as
// plain Go for any machine and as AVX2+FMA or AVX-512 assembly for amd64.
//
// # Layout
//
// Activations are kept in channel blocks ("nChw8c" where Lanes is 8): image n,
// then block c/Lanes, row h, column w, and innermost the Lanes channels of the
// block. A tensor whose channels do not fill the last block holds zeros there.
// A plane is one block of one image: H×W×Lanes elements.
//
// A convolution reads its images from a padded copy (Layout) whose halo is
// zero and is written by nobody: the pass that fills the interior is BatchNorm
// with ReLU (Activate) or BatchNorm's input gradient (BatchNormGradient), so that
// both cost no trip to memory of their own.
//
// # Determinism
//
// Each call's result depends on its arguments alone, bit for bit. Sums over
// images are the caller's: a call returns one image's sums, and the caller has
// them added in order of the images, in float64 (Totals, TotalSquares).
package kernel

// Float is the element types: float32 computes, float64 checks it.
type Float interface{ float32 | float64 }

// ConvShape is a convolution's shape for one image: In×H×W to
// Out×OutH×OutW, square filters, zero padding, no bias.
type ConvShape struct {
	In, Out             int // channels
	H, W                int // input rows and columns, without padding
	Kernel, Stride, Pad int
}

// OutH is the number of output rows.
func (s ConvShape) OutH() int { return (s.H+2*s.Pad-s.Kernel)/s.Stride + 1 }

// OutW is the number of output columns.
func (s ConvShape) OutW() int { return (s.W+2*s.Pad-s.Kernel)/s.Stride + 1 }

// Layout says where the interior of one image lies within a padded copy of
// Blocks×Rows×Cols×Lanes elements: at row Top and column Left, H×W of it.
type Layout struct {
	Blocks, Rows, Cols int
	Top, Left          int
	H, W               int
}

// Len is the number of elements of one padded image.
func (l Layout) Len(lanes int) int { return l.Blocks * l.Rows * l.Cols * lanes }

// Padded tells whether the copy has more than the image's own rows and columns.
func (l Layout) Padded() bool { return l.Rows > l.H || l.Cols > l.W }

// Conv is one direction of one convolution, filters packed for it. Forward
// computes y (Out×OutH×OutW) from x; backward computes x's gradient (In×H×W)
// from y's. Run may be called from several goroutines at once, each with its
// own work; SetFilters must not run beside it.
type Conv[T Float] interface {
	// Source is how Run wants the images it reads to be padded.
	Source() Layout
	// Workspace is the number of elements of work that Run needs for that
	// many images.
	Workspace(images int) int
	// SetFilters packs w, Out×In×Kernel×Kernel in row-major order (the forward
	// filters, in both directions).
	SetFilters(w []T)
	// Run reads images padded copies from src and writes as many unpadded
	// images to dst; channels beyond the last are written as zero. ahead lists
	// memory that the caller touches next, dst included where it is not in the
	// cache: a kernel that is short of other loads fetches it meanwhile.
	Run(dst, src []T, images int, work []T, ahead ...[]T)
}

// WeightGradient sums a convolution's filter gradient over images.
type WeightGradient[T Float] interface {
	// Source is how Accumulate wants x to be padded.
	Source() Layout
	// Len is the number of elements of an accumulator.
	Len() int
	// Workspace is the number of elements of work that Accumulate needs.
	Workspace(images int) int
	// Accumulate adds the gradient of images images to acc: x is padded as
	// Source says, dy is unpadded, Out×OutH×OutW.
	Accumulate(acc, x, dy []T, images int, work []T)
	// Unpack writes an accumulator as dw, Out×In×Kernel×Kernel row-major.
	Unpack(dw, acc []T)
}

// Activation is one image's BatchNorm, residual and ReLU:
//
//	z = max(Scale·Y + Shift + residual, Floor)
//
// with residual = 0, R, or RScale·R + RShift. Where that sum is a NaN, z is one
// and its mask bit is clear: a diverged run shows in the loss.
type Activation[T Float] struct {
	Blocks, H, W int
	Y            []T // Blocks×H×W×Lanes
	Scale, Shift []T // a channel each, Blocks×Lanes
	R            []T // the residual, shaped as Y; nil for none
	RScale       []T // nil: R is added as it is
	RShift       []T
	Floor        T // 0 for ReLU, -Inf for none

	// Padded, where not nil, receives z at Layout's interior.
	Padded []T
	Layout Layout
	// Plain, where not nil, receives z shaped as Y.
	Plain []T
	// Mask, where not nil, receives a byte for each Lanes elements of Y:
	// bit i is set where z of lane i is above Floor.
	Mask []uint8
}

// Masking is one image's gradient through residual sum and ReLU, with the sums
// that BatchNorm's gradient needs:
//
//	G = (G + Add) where z was above Floor, else 0
//	SumG[c] = ΣG,  SumGY[c] = ΣG·(Y - Mean[c]),  SumGR[c] = ΣG·(R - RMean[c])
//
// Whether z was above Floor is read from Mask, or, where that is nil,
// recomputed as Scale·Y + Shift > Floor.
type Masking[T Float] struct {
	Blocks, H, W int
	G            []T // in and out, Blocks×H×W×Lanes
	Add          []T // nil for none
	Mask         []uint8
	Scale, Shift []T
	Floor        T
	Y            []T
	Mean         []T
	R            []T // a projection shortcut's convolution output; nil for none
	RMean        []T
	SumG         []T // Blocks×Lanes, written, not added to
	SumGY        []T
	SumGR        []T
}

// InputGradient is one image's gradient through BatchNorm to the
// convolution's output, an affine function of G and Y once the batch's sums
// are known (Ioffe and Szegedy 2015, section 3):
//
//	dy = CG·G + CY·Y + C1
//
// a coefficient of each for every channel.
type InputGradient[T Float] struct {
	Blocks, H, W int
	G, Y         []T
	CG, CY, C1   []T
	Padded       []T // nil for none; receives dy at Layout's interior
	Layout       Layout
	Plain        []T // nil for none; receives dy shaped as Y
}

// Family is a set of kernels that share a layout. Its functions allocate
// nothing, except the New ones.
type Family[T Float] struct {
	Name  string // "avx512", "avx2" or "generic"
	Lanes int    // channels in a block

	NewForward        func(s ConvShape) Conv[T]
	NewBackward       func(s ConvShape) Conv[T]
	NewWeightGradient func(s ConvShape) WeightGradient[T]

	// Activate computes one image's a.
	Activate func(a *Activation[T])
	// Moments writes each channel's sum over one image's y (blocks planes of
	// area positions) and the sum of squared deviations from the image's own
	// mean, Blocks×Lanes each.
	Moments func(sum, m2, y []T, blocks, area int)
	// MaskGradient computes one image's m.
	MaskGradient func(m *Masking[T])
	// BatchNormGradient computes one image's g.
	BatchNormGradient func(g *InputGradient[T])
	// SubsampleGradient adds dy, blocks×⌈h/2⌉×⌈w/2⌉×Lanes, to every second row and
	// column of dx, blocks×h×w×Lanes, from the first on.
	SubsampleGradient func(dx, dy []T, blocks, h, w int)
	// PlaneSums writes each channel's sum over one image's planes,
	// Blocks×Lanes.
	PlaneSums func(sum, y []T, blocks, area int)

	// Totals writes each channel's sum over rows, n×len(total), added in order
	// of rows. The channels, len(total), fill blocks, here and in TotalSquares.
	Totals func(total []float64, rows []T, n int)
	// TotalSquares writes the squared deviations from mean, a channel each as
	// total, of n images of area positions whose Moments are the rows of sums
	// and squares, n×len(total): it adds squares + (sums/area - mean)²·area in
	// order of rows.
	TotalSquares func(total, mean []float64, sums, squares []T, n, area int)

	// Dot is Σ a[i]·b[i].
	Dot func(a, b []T) T
	// Axpy adds s·x to y.
	Axpy func(y []T, s T, x []T)
	// SGD is a step of stochastic gradient descent with momentum and weight
	// decay, as PyTorch's: v = momentum·v + (g + decay·w), w -= rate·v.
	SGD func(w, v, g []T, rate, momentum, decay T)

	// RoundBF16 writes x, rounded to bfloat16, to dst: to nearest, ties to even,
	// a NaN to a quiet one of its sign. It and ExpandBF16, which writes the
	// float32 that bfloat16s stand for, are nil in a family of float64.
	RoundBF16  func(dst []uint16, x []T)
	ExpandBF16 func(dst []T, x []uint16)

	// peak does a fixed number of multiply-adds, as fast as they go.
	peak func() (flops float64)
}
