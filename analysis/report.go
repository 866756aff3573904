// Package analysis measures what a trained network's BatchNorm parameters do:
// how they are distributed, how sparse they make activations, where gradients
// go, and what clamping small γ costs (Frankle, Schwab and Morcos 2021,
// sections 4 and 5).
package analysis

// Report is everything that Run measures of one checkpoint. What a number was
// taken over stands beside it; what does not exist is missing (nil), never 0.
type Report struct {
	Arch      string `json:"arch"`
	Trainable string `json:"trainable,omitempty"` // what was trained; missing where it is not known
	Data      string `json:"data,omitempty"`      // what it was trained on; missing where it is not known

	// NearZero are the thresholds t of every NearZero list: shares of |γ| < t.
	NearZero []float64 `json:"near_zero_thresholds"`
	// GammaEdges and BetaEdges bound the bins of every histogram of γ and of β,
	// the same for all layers: bin i holds edges[i] ≤ x < edges[i+1], the last
	// one its upper edge too.
	GammaEdges []float64 `json:"gamma_edges"`
	BetaEdges  []float64 `json:"beta_edges"`

	Layers []Layer `json:"layers"` // a BatchNorm each, in the network's order
	Total  Total   `json:"total"`

	// Reestimated says what "re-estimated" statistics were averaged over. Sweep
	// re-estimates them for each threshold, over the same batches.
	Reestimated *Scope `json:"reestimated_over,omitempty"`
	// What activation sparsity, gradient magnitudes and Sweep's accuracies were
	// taken over; missing where they were not measured.
	Sparsity  *Scope  `json:"sparsity_over,omitempty"`
	Gradients *Scope  `json:"gradients_over,omitempty"`
	Accuracy  *Scope  `json:"accuracy_over,omitempty"`
	Sweep     []Sweep `json:"sweep,omitempty"` // by rising threshold; the first is the network as it is

	// Stored is the accuracy with the checkpoint's own running statistics;
	// missing where it stores none.
	Stored *Accuracy `json:"stored_statistics,omitempty"`
}

// Scope says what numbers were taken over.
type Scope struct {
	Split      string `json:"split"`             // "train" or "test"
	Examples   int    `json:"examples"`          // pictures
	Batches    int    `json:"batches,omitempty"` // that the pictures came in, where that matters
	Statistics string `json:"statistics"`        // BatchNorm's: "batch", "re-estimated" or "stored"
	Augmented  bool   `json:"augmented"`
}

// Layer is one BatchNorm, its convolution, and the ReLU after it.
type Layer struct {
	Name        string       `json:"name"`        // of the BatchNorm, e.g. "blocks.0.bn1"
	Convolution string       `json:"convolution"` // before it, e.g. "blocks.0.conv1"
	Channels    int          `json:"channels"`
	Gamma       Distribution `json:"gamma"`
	Beta        Distribution `json:"beta"`
	NearZero    []float64    `json:"near_zero"` // share of |γ| below each of Report.NearZero

	// ReLU names what the ReLU that ends this layer's unit is taken of: this
	// BatchNorm alone ("blocks.0.bn1"), or, at the end of a residual block, its
	// sum with the block's residual ("blocks.0.bn2 + residual"). Missing where
	// no ReLU follows, as in a shortcut.
	ReLU string `json:"relu,omitempty"`
	// Sparsity is of that ReLU's outputs; missing without one.
	Sparsity *Sparsity `json:"sparsity,omitempty"`
	// Gradient is missing where it is not finite, too.
	Gradient *Magnitude `json:"gradient,omitempty"`
}

// Total is over all layers.
type Total struct {
	Channels int          `json:"channels"`
	Gamma    Distribution `json:"gamma"`
	Beta     Distribution `json:"beta"`
	NearZero []float64    `json:"near_zero"`
	Sparsity *Sparsity    `json:"sparsity,omitempty"` // over all ReLUs: a share of outputs, and sums of channels
	Gradient *Magnitude   `json:"gradient,omitempty"` // over all elements of a kind
}

// Levels are the probabilities of Distribution.Quantiles.
var Levels = []float64{0, 0.05, 0.25, 0.5, 0.75, 0.95, 1}

// Distribution describes the values of γ or of β.
type Distribution struct {
	Quantiles []float64 `json:"quantiles"` // at Levels; each a value that occurs
	Histogram []int     `json:"histogram"` // counts, by the report's edges
}

// Sparsity is how often a ReLU's outputs are zero, over pictures, rows and
// columns.
type Sparsity struct {
	Zero      float64 `json:"zero"`       // share of outputs that are zero
	Channels  int     `json:"channels"`   // of the ReLU
	MostlyOff int     `json:"mostly_off"` // channels that are zero for more than 99% of their outputs
	AlwaysOn  int     `json:"always_on"`  // channels that are never zero
}

// Magnitude is the mean absolute gradient, over the elements of a kind and
// over batches, of the batch's mean loss. Gradients are computed of frozen
// tensors too.
type Magnitude struct {
	Gamma       float64 `json:"gamma"`
	Beta        float64 `json:"beta"`
	Convolution float64 `json:"convolution"`
}

// Accuracy is a test result.
type Accuracy struct {
	TestAccuracy float64  `json:"test_accuracy"`       // share from 0 to 1
	TestLoss     *float64 `json:"test_loss,omitempty"` // mean cross-entropy, nats; missing where it is not finite
}

// Sweep is a network whose γ with |γ| < Threshold are clamped to zero, β as it
// was, statistics re-estimated.
type Sweep struct {
	Threshold float64 `json:"threshold"`
	Clamped   int     `json:"clamped"` // γ
	Share     float64 `json:"share"`   // of all γ
	Accuracy
}
