package rundir

// EpochGradients holds mean absolute gradients over an epoch, by kind of parameter. "Yet Another
// Batch Norm Analysis" shows such means for VGG-38. Each training step computes the
// gradients from the mean loss of its batch, including label smoothing and augmentation, but
// before penalties, weight decay and clipping. The mean is over all complete batches of the
// epoch.
type EpochGradients struct {
	Batches    int    `json:"batches"`
	Examples   int    `json:"examples"`
	Statistics string `json:"statistics"` // always "batch": BatchNorm used the statistics of the batch
	Augmented  bool   `json:"augmented"`

	// Kinds has no entry for a kind that the network does not have, or whose gradient
	// is not finite.
	Kinds map[GradientKind]KindGradient `json:"kinds"`
}

// KindGradient is the mean absolute gradient of one kind of parameter. Means are float32,
// which keeps a row of metrics.jsonl short.
type KindGradient struct {
	Mean       float32 `json:"mean"`       // over batches and Parameters
	Parameters int     `json:"parameters"` // number of parameters of this kind
	Trained    int     `json:"trained"`    // number of these that are trained; the gradients of the others are only measured

	// Layers holds the mean over each layer, by the layer's canonical name:
	// "blocks.0.conv1", "blocks.0.bn1", "fc".
	Layers map[string]float32 `json:"layers"`
}

// GradientKind is the name of a kind of parameter in metrics.jsonl.
type GradientKind string
