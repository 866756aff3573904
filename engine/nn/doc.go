// Package nn compiles a network description (arch.Network) into an execution
// plan and runs it: Training runs forward and backward with batch statistics,
// and Inference runs forward with given statistics.
//
// # Activations are computed where they are read
//
// A unit is a convolution (or pool), a BatchNorm, an optional residual sum and an
// optional ReLU. A unit writes only the output y of its convolution to memory. Once
// y is complete, the batch's statistics are known, and BatchNorm becomes scale·y +
// shift for each channel. The next unit applies that, the residual sum and the
// ReLU while it loads its input into the padded copy that its convolution reads.
// Backward works the same way: BatchNorm's input gradient is an affine function of
// g and y, and is computed while the convolution's gradient loads its input.
//
// An output that is read twice, as at the start of a residual block, is computed
// once:
//
//   - unit.kept: the output is read more than once, so its first reader also
//     writes it out.
//   - unit.fresh: the unit is the first to read its input, so it computes that
//     input from y. Any later reader reads what was kept.
//
// # Stages
//
// The plan runs in stages. Stage i is unit i; the stage after the last unit is the
// head: average over the area, output layer and loss. Each stage runs over the
// whole batch before the next begins, because BatchNorm needs the sums over all
// images. Only a shortcut that reads the same input as the stage before it runs together
// with that stage (fusedEnd).
//
// Take three units. Each unit reads the unit before it, and unit 2 also adds the output
// of unit 0, which is therefore kept. Let aᵢ be the output of unit i, and BNᵢ be
// scaleᵢ·yᵢ + shiftᵢ. Forward does this:
//
//	stage  reads     computes                                     writes
//	0      x         y₀ = conv₀(x)                                y₀, its moments
//	1      y₀        a₀ = ReLU(BN₀), y₁ = conv₁(a₀)               a₀ (kept), y₁, its moments
//	2      y₁        a₁ = ReLU(BN₁), y₂ = conv₂(a₁)               y₂, its moments
//	head   y₂, a₀    a₂ = ReLU(BN₂ + a₀), logits, loss            mask₂ (where a₂ > 0), dlogits
//
// Between two stages the moments of all images become BatchNorm's scale and shift
// (finishStatistics). Let gᵢ be the gradient of the loss with respect to unit i's
// sum before its ReLU. Backward does this:
//
//	stage  reads               computes                                     writes
//	head   dlogits, mask₂, y₂  g₂, spread over the area, 0 outside mask₂    g₂, Σg₂, Σg₂·(y₂-mean)
//	2      g₂, y₂, y₁          dy₂ = BN₂'(g₂, y₂), dx₂ = conv₂ᵀ(dy₂),
//	                           g₁ = dx₂ where a₁ > 0                        g₁, Σg₁, Σg₁·(y₁-mean)
//	1      g₁, y₁, g₂, y₀      dy₁ = BN₁'(g₁, y₁), dx₁ = conv₁ᵀ(dy₁),
//	                           g₀ = dx₁ + g₂ where a₀ > 0                   g₀, Σg₀, Σg₀·(y₀-mean)
//	0                          nothing: pictures need no gradient
//
// The mask of a ReLU without a residual is recomputed from y. Between two stages
// the sums become the gradients of γ and β and the coefficients of BN'
// (finishGradients). With OutputGradients the head also computes the gradients of the
// output layer. With ConvGradients, or in shortcuts with ShortcutGradients, a stage first
// loads its convolution's input again and accumulates the gradient of the weights from it
// and dy.
//
// # Chunks, workers and determinism
//
// A stage splits the batch into chunks of consecutive images, which a pool of
// workers runs in any order. A chunk is small enough for its input and output to
// stay in a second-level cache between the passes over them. Inference needs no
// sums over images, so it takes each chunk through all stages at once.
//
// The result for an image does not depend on its chunk or its worker. Every image has
// its own sums, which are added in image order, in float64. Gradients of weights are
// accumulated over groups of images and added in group order; the groups do not depend on
// the number of threads. Results therefore have the same bits for any number of threads.
//
// Buffers, workers and the memory of packed filters are allocated once; a training step
// allocates nothing.
package nn
