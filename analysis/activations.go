package analysis

import (
	"context"

	"bnkit/engine"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// batchSize is the number of pictures in a batch. Gradients depend on it, because they are
// gradients of the mean loss of a batch.
const batchSize = 128

// mostlyOff is the share of zero outputs above which a channel counts as off
// (Frankle et al. 2021, section 5).
const mostlyOff = 0.99

// measureSparsity counts the zeros of every ReLU over the test split.
func (r *Report) measureSparsity(ctx context.Context, m *engine.Model, data *dataset.Data, stats *nn.Statistics, o *Options) error {
	inference, err := nn.NewInference(m.Network, kernel.Best(), m.Params, stats, nn.InferenceOptions{
		Batch: batchSize, Threads: o.Threads, Eps: m.Preprocessing.Eps, CountZeros: true,
	})
	if err != nil {
		return err
	}
	defer inference.Close()
	loader, err := dataset.NewLoader(data.Test, dataset.LoaderConfig{Batch: batchSize, Mean: data.Mean, Std: data.Std})
	if err != nil {
		return err
	}
	batches := loader.Start(ctx, 0, 0)
	defer batches.Close()
	r.Sparsity = &Scope{Split: "test", Statistics: engine.StatisticsReestimated}
	for {
		b, ok := batches.Next()
		if !ok {
			break
		}
		inference.Run(b.Images, b.N)
		r.Sparsity.Batches++
		r.Sparsity.Examples += b.N
		o.Progress("activation sparsity", r.Sparsity.Batches, loader.Batches())
	}
	if err := batches.Err(); err != nil {
		return err
	}
	var zeros, outputs int64
	t, layer := &Sparsity{}, layerOf(m.Network)
	for _, z := range inference.Zeros() {
		s := &Sparsity{Channels: len(z.PerChannel)}
		var layerZeros int64
		for _, n := range z.PerChannel {
			layerZeros += n
			if float64(n) > mostlyOff*float64(z.Positions) {
				s.MostlyOff++
			}
			if n == 0 {
				s.AlwaysOn++
			}
		}
		count := z.Positions * int64(len(z.PerChannel))
		s.Zero = float64(layerZeros) / float64(count)
		if i := layer[z.Unit]; i >= 0 {
			r.Layers[i].Sparsity = s
		}
		zeros, outputs = zeros+layerZeros, outputs+count
		t.Channels, t.MostlyOff, t.AlwaysOn = t.Channels+s.Channels, t.MostlyOff+s.MostlyOff, t.AlwaysOn+s.AlwaysOn
	}
	t.Zero = float64(zeros) / float64(outputs)
	r.Total.Sparsity = t
	return nil
}
