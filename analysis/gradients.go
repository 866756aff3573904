package analysis

import (
	"context"
	"math"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// measureGradients averages absolute gradients over batches of the training split without
// augmentation. seed determines the order of the pictures, which is the same as for
// re-estimating statistics.
func (r *Report) measureGradients(ctx context.Context, m *engine.Model, data *dataset.Data, seed uint64, o *Options) error {
	batch := min(batchSize, data.Train.Len())
	options := nn.TrainingOptions{Batch: batch, Threads: o.Threads, Gradients: nn.AllGradients, Eps: m.Preprocessing.Eps}
	if err := m.CheckTraining(options); err != nil {
		return err
	}
	training, err := nn.NewTraining(m.Network, kernel.Best(), m.Params, options)
	if err != nil {
		return err
	}
	defer training.Close()
	loader, err := dataset.NewLoader(data.Train, dataset.LoaderConfig{
		Batch: batch, Seed: seed, Shuffle: true, DropLast: true, Mean: data.Mean, Std: data.Std,
	})
	if err != nil {
		return err
	}
	batches := loader.Start(ctx, 0, 0)
	defer batches.Close()
	r.Gradients = &Scope{Split: "train", Statistics: engine.StatisticsBatch}
	gradients := training.Gradients()
	sums := make([]float64, len(gradients.Tensors)) // of absolute values, over elements and batches
	count := min(o.GradientBatches, loader.Batches())
	for r.Gradients.Batches < count {
		b, ok := batches.Next()
		if !ok {
			return batches.Err()
		}
		training.Forward(b.Images, b.Labels)
		training.Backward()
		for i, values := range gradients.Values {
			for _, v := range values {
				sums[i] += math.Abs(float64(v))
			}
		}
		r.Gradients.Batches++
		r.Gradients.Examples += b.N
		o.Progress("gradients", r.Gradients.Batches, count)
	}
	layer, layers := layerOf(m.Network), make([]Magnitude, len(r.Layers))
	total, elements := map[arch.Kind]float64{}, map[arch.Kind]float64{}
	for i := range gradients.Tensors {
		x := &gradients.Tensors[i]
		if x.Unit == len(layer) {
			continue // the output layer has no BatchNorm
		}
		n := float64(x.Len()) * float64(count)
		total[x.Kind] += sums[i]
		elements[x.Kind] += n
		if l := layer[x.Unit]; l >= 0 {
			layers[l].set(x.Kind, sums[i]/n)
		}
	}
	for i := range layers {
		r.Layers[i].Gradient = layers[i].ifFinite()
	}
	var all Magnitude
	for kind := range total {
		all.set(kind, total[kind]/elements[kind])
	}
	r.Total.Gradient = all.ifFinite()
	return nil
}

// ifFinite returns m, or nil if a value of m is not finite.
func (m *Magnitude) ifFinite() *Magnitude {
	if !finite(m.Gamma) || !finite(m.Beta) || !finite(m.Convolution) {
		return nil
	}
	return m
}

// set sets the value for a kind of parameter. It ignores kinds that Magnitude does not have.
func (m *Magnitude) set(kind arch.Kind, v float64) {
	switch kind {
	case arch.Gamma:
		m.Gamma = v
	case arch.Beta:
		m.Beta = v
	case arch.ConvWeight:
		m.Convolution = v
	}
}
