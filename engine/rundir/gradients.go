package rundir

// EpochGradients are mean absolute gradients over an epoch, by kind of
// parameter ("Yet Another Batch Norm Analysis", gradient magnitudes of
// VGG-38): of the training loss, with its labels smoothed but without
// penalties, clipping and weight decay. They are taken over the epoch's
// complete batches, augmented if the run augments, each in training mode
// before the step that it led to; a batch's gradient is that of its mean loss.
type EpochGradients struct {
	Batches    int    `json:"batches"`
	Examples   int    `json:"examples"`
	Statistics string `json:"statistics"` // "batch"
	Augmented  bool   `json:"augmented"`

	// A kind that the network does not have is missing, and so is one with a
	// gradient that is not finite.
	Kinds map[GradientKind]KindGradient `json:"kinds"`
}

// KindGradient is the mean absolute gradient of one kind of parameter. Means
// are of float32, as gradients are; that keeps a row of metrics.jsonl short.
type KindGradient struct {
	Mean       float32 `json:"mean"`       // over batches and Parameters
	Parameters int     `json:"parameters"` // numbers of that kind
	Trained    int     `json:"trained"`    // of them; the gradients of the others are computed, and not used

	// Layers are the means over each layer's numbers, by the layer's canonical
	// name: "blocks.0.conv1", "blocks.0.bn1", "fc".
	Layers map[string]float32 `json:"layers"`
}

// GradientKind is a kind of parameter as metrics.jsonl spells it.
type GradientKind string
