// Package analysis measures what the BatchNorm parameters of a trained network do: their
// distribution, the sparsity of activations, the size of gradients, and the cost of
// clamping small γ (Frankle, Schwab and Morcos 2021, sections 4 and 5).
package analysis

// Report holds everything that Run measures of one checkpoint, and describes the data that it
// was measured on. Values that do not exist are missing (nil) rather than 0.
type Report struct {
	Arch      string `json:"arch,omitempty"`      // missing if the network is not known
	Trainable string `json:"trainable,omitempty"` // trainable set; missing if it is not known
	Data      string `json:"data,omitempty"`      // name of the data set; missing if it is not known
	Classes   int    `json:"classes,omitempty"`   // missing if the network is not known

	// Source is the SHA-256 of the file that holds the model. It is missing if there is none, and
	// in reports that an earlier bnkit wrote.
	Source string `json:"source_sha256,omitempty"`

	// Unmeasured is the reason why only the distributions of γ and β were measured. It is
	// missing if everything was measured or if only the distributions were requested.
	Unmeasured string `json:"unmeasured,omitempty"`

	// NearZero lists the thresholds of all NearZero, BetaNearZero and BothNearZero lists
	// below. Each of these lists has one share for each threshold, or is nil if all channels
	// are pruned.
	NearZero []float64 `json:"near_zero_thresholds"`
	// GammaEdges and BetaEdges are the edges of the bins of all histograms of γ and β:
	// bin i holds edges[i] ≤ x < edges[i+1]. The last bin includes its upper edge.
	GammaEdges []float64 `json:"gamma_edges"`
	BetaEdges  []float64 `json:"beta_edges"`

	Layers []Layer `json:"layers"` // one for each BatchNorm, in the order of the network
	Total  Total   `json:"total"`

	// Reestimated describes the batches over which "re-estimated" statistics were averaged.
	// Sweep re-estimates them for each threshold, over the same batches.
	Reestimated *Scope `json:"reestimated_over,omitempty"`
	// Sparsity, Gradients and Accuracy describe the data on which activation sparsity,
	// gradient magnitudes and the accuracies of Sweep were measured. Each is missing if the
	// measurement was not made.
	Sparsity  *Scope  `json:"sparsity_over,omitempty"`
	Gradients *Scope  `json:"gradients_over,omitempty"`
	Accuracy  *Scope  `json:"accuracy_over,omitempty"`
	Sweep     []Sweep `json:"sweep,omitempty"` // by rising threshold; the first is the unclamped network

	// Sensitivity is the accuracy when channels of a single layer are clamped. It is missing
	// if it was not measured.
	Sensitivity *Sensitivity `json:"sensitivity,omitempty"`

	// Stored is the accuracy with the running statistics that the checkpoint stores. It
	// is missing if the checkpoint stores none, or if it was not measured.
	Stored *Accuracy `json:"stored_statistics,omitempty"`
}

// Scope describes the data that numbers were measured on.
type Scope struct {
	Split      string `json:"split"`             // "train" or "test"
	Examples   int    `json:"examples"`          // pictures
	Batches    int    `json:"batches,omitempty"` // number of batches; missing for accuracies, which do not depend on it
	Statistics string `json:"statistics"`        // statistics that BatchNorm used: "batch" or "re-estimated"
	Augmented  bool   `json:"augmented"`         // whether the pictures were augmented
}

// Layer is one BatchNorm, its convolution, and the ReLU after it.
type Layer struct {
	Name        string       `json:"name"`                  // of the BatchNorm, e.g. "blocks.0.bn1"
	Convolution string       `json:"convolution,omitempty"` // name of the convolution before it, e.g. "blocks.0.conv1"; missing if the network is not known
	Shortcut    bool         `json:"shortcut,omitempty"`    // whether the convolution is in a shortcut
	Channels    int          `json:"channels"`
	Height      int          `json:"height,omitempty"` // of the outputs, in pixels; missing if the network is not known
	Width       int          `json:"width,omitempty"`
	Gamma       Distribution `json:"gamma"`
	Beta        Distribution `json:"beta"`
	NearZero    []float64    `json:"near_zero"` // share of channels with |γ| below each threshold of Report.NearZero

	BetaNearZero []float64 `json:"beta_near_zero,omitempty"` // share of channels with |β| below each threshold
	BothNearZero []float64 `json:"both_near_zero,omitempty"` // share of channels with both |γ| and |β| below each threshold

	Pruned []int `json:"pruned,omitempty"` // indices of pruned channels; of the fields above, only Channels counts them

	// ReLU names the input of the ReLU that ends this layer's unit: this BatchNorm
	// ("blocks.0.bn1") or, at the end of a residual block, its sum with the block's
	// residual ("blocks.0.bn2 + residual"). It is missing if the unit has no ReLU, such as
	// a shortcut, or if the network is not known.
	ReLU string `json:"relu,omitempty"`
	// Sparsity describes the outputs of that ReLU. It is missing if there is no ReLU, or if it was
	// not measured.
	Sparsity *Sparsity `json:"sparsity,omitempty"`
	// Gradient is missing if it was not measured or is not finite.
	Gradient *Magnitude `json:"gradient,omitempty"`
}

// Total holds the measurements over all layers.
type Total struct {
	Channels int          `json:"channels"`
	Gamma    Distribution `json:"gamma"`
	Beta     Distribution `json:"beta"`
	NearZero []float64    `json:"near_zero"`

	BetaNearZero []float64 `json:"beta_near_zero,omitempty"`
	BothNearZero []float64 `json:"both_near_zero,omitempty"`

	Pruned   int        `json:"pruned,omitempty"`   // number of pruned channels; of the fields above, only Channels counts them
	Sparsity *Sparsity  `json:"sparsity,omitempty"` // over all ReLUs; its numbers of channels are sums over the ReLUs
	Gradient *Magnitude `json:"gradient,omitempty"` // over all parameters of each kind
}

// Levels are the probabilities of Distribution.Quantiles.
var Levels = []float64{0, 0.05, 0.25, 0.5, 0.75, 0.95, 1}

// Distribution describes the values of γ or of β.
type Distribution struct {
	Quantiles []float64 `json:"quantiles"` // at Levels, each equal to one of the values; null if there are no values
	Histogram []int     `json:"histogram"` // counts, by the report's edges
}

// Sparsity describes how often the outputs of a ReLU are zero, over pictures, rows and columns.
type Sparsity struct {
	Zero      float64 `json:"zero"`       // share of outputs that are zero
	Channels  int     `json:"channels"`   // of the ReLU
	MostlyOff int     `json:"mostly_off"` // channels with more than 99% of their outputs zero
	AlwaysOn  int     `json:"always_on"`  // channels without a zero output
}

// Magnitude holds mean absolute gradients of the mean loss of a batch, over the elements of
// each kind of parameter and over batches. It includes frozen parameters.
type Magnitude struct {
	Gamma       float64 `json:"gamma"`
	Beta        float64 `json:"beta"`
	Convolution float64 `json:"convolution"`
}

// Accuracy is a test result.
type Accuracy struct {
	TestAccuracy float64  `json:"test_accuracy"`       // share from 0 to 1
	TestLoss     *float64 `json:"test_loss,omitempty"` // mean cross-entropy, nats; missing if it is not finite

	// Interval is the 95% confidence interval of TestAccuracy, see [engine.Wilson].
	Interval [2]float64 `json:"test_accuracy_interval"`
}

// Sweep is the result of a network in which every γ with |γ| < Threshold is clamped to zero.
// β is kept and statistics are re-estimated.
type Sweep struct {
	Threshold float64 `json:"threshold"`
	Clamped   int     `json:"clamped"` // number of clamped γ, without pruned channels
	Share     float64 `json:"share"`   // Clamped over the number of γ, without pruned channels
	Accuracy
}
