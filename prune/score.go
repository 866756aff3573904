package prune

import (
	"cmp"
	"context"
	"math"
	"runtime"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
)

// scorer computes importances of a model's channels, by unit and channel.
type scorer struct {
	m       *engine.Model
	moments []nn.Moments   // of the outputs; nil if they were not measured
	stats   *nn.Statistics // statistics with which moments were measured
	taylor  [2][][]float64 // sums over batches of |γ·∂L/∂γ| and of |γ·∂L/∂γ + β·∂L/∂β|; nil if not measured
	logits  [][][]float64  // changes of differences of logits, by batch, unit and channel; nil if not measured
}

// score sets the scores of all groups to their importance by the policy, which must be resolved.
// beta is the plan's Beta.
func (s *scorer) score(all []*group, p Policy, beta string) {
	if p.Importance == Logits {
		s.scoreLogits(all)
	} else {
		values := s.importances(p, beta)
		for _, g := range all {
			g.score = 0
			for _, p := range g.channels {
				if v := values[p.unit]; v != nil {
					g.score += v[p.channel]
				}
			}
		}
	}
	if p.Normalise {
		sums, sizes := map[[2]int]float64{}, map[[2]int]int{}
		for _, g := range all {
			sums[g.family()] += g.score
			sizes[g.family()]++
		}
		for _, g := range all {
			if sum := sums[g.family()]; sum > 0 {
				g.score *= float64(sizes[g.family()]) / sum
			}
		}
	}
	for _, g := range all {
		if p.PerMAC > 0 {
			g.score /= math.Pow(float64(g.saves), p.PerMAC)
		}
		if math.IsNaN(g.score) {
			g.score = math.Inf(1) // keep channels whose importance is not known
		}
	}
}

// importances returns the importance of each channel, by unit; nil for a unit whose channels
// have none. It does not support Logits, which does not compare single channels.
func (s *scorer) importances(p Policy, beta string) [][]float64 {
	net := s.m.Network
	values := make([][]float64, len(net.Units))
	for i := range net.Units {
		gamma := s.m.Params.Of(i, arch.Gamma)
		if gamma == nil {
			continue
		}
		values[i] = make([]float64, len(gamma))
		for c, g := range gamma {
			values[i][c] = math.Abs(float64(g))
		}
	}
	switch p.Importance {
	case GammaReads:
		reads := readSquares(net, s.m.Params)
		for i := range values {
			for c := range values[i] {
				values[i][c] *= math.Sqrt(reads[i][c])
			}
		}
	case L1:
		for i := range values {
			weight := s.m.Params.Of(i, arch.ConvWeight)
			for c := range values[i] {
				values[i][c] = 0
				size := len(weight) / len(values[i])
				for _, w := range weight[c*size:][:size] {
					values[i][c] += math.Abs(float64(w))
				}
			}
		}
	case Taylor:
		if beta == BetaZeroed {
			return s.taylor[1]
		}
		return s.taylor[0]
	case Change:
		return s.changes()
	case Active:
		clear(values)
		for k := range s.moments {
			x := &s.moments[k]
			if !net.Units[x.Unit].ReLU {
				continue
			}
			values[x.Unit] = make([]float64, len(x.Zeros))
			for c, zeros := range x.Zeros {
				values[x.Unit][c] = 1 - float64(zeros)/float64(x.Positions)
			}
		}
	case Random:
		// A group counts once, however many channels it has, so that every group is
		// equally likely to be pruned.
		clear(values)
		for _, g := range groups(net) {
			first := g.withGamma[0]
			if values[first.unit] == nil {
				values[first.unit] = make([]float64, net.Units[first.unit].OutShape.C)
			}
			stream := rng.NewStream(p.Seed, "prune/"+net.Units[first.unit].BN)
			values[first.unit][first.channel] = float64(stream.Uint32(uint64(first.channel))) / (1 << 32)
		}
	}
	return values
}

// readSquares returns for each channel the sum of the squares of all weights that read it.
// These are the weights of convolutions and of the output layer that read the unit, or that
// read a sum that includes the unit.
func readSquares(net *arch.Network, params *nn.Params[float32]) [][]float64 {
	sums := make([][]float64, len(net.Units))
	for i := range net.Units {
		sums[i] = make([]float64, net.Units[i].OutShape.C)
	}
	for c := range net.Features() {
		for k := range net.Classes {
			sums[len(sums)-1][c] += square(params.Of(len(sums), arch.OutputWeight)[k*net.Features()+c])
		}
	}
	// A unit comes after the units that it reads, so its sums are complete when they are added
	// to those of the units that it reads.
	for i := len(net.Units) - 1; i >= 0; i-- {
		u := &net.Units[i]
		switch {
		case u.In == arch.Picture:
		case u.Op != arch.Convolution:
			for c, v := range sums[i] {
				sums[u.In][c] += v
			}
		default:
			area := u.Kernel * u.Kernel
			for j, w := range params.Of(i, arch.ConvWeight) {
				sums[u.In][j/area%u.InShape.C] += square(w)
			}
		}
		for c, v := range sums[i] {
			switch u.Add.Kind {
			case arch.Identity, arch.Projection:
				sums[u.Add.From][c] += v
			case arch.Mapped:
				if source := u.Add.Map.Source[c]; source != arch.NoSource {
					sums[u.Add.From][source] += v
				}
			}
		}
	}
	return sums
}

// square returns v² in float64.
func square(v float32) float64 { return float64(v) * float64(v) }

// changes returns the mean square of the change of what layers compute from a channel when it
// becomes its mean: the variance of the channel times the squares of the weights that read it. For
// a convolution with BatchNorm, the change is that of the BatchNorm's output, so each square is
// multiplied by γ² and divided by the variance of the BatchNorm's input. For the output layer, the
// variance is that of the channel's averages over pictures. The estimate assumes that neighbouring
// positions are independent.
func (s *scorer) changes() [][]float64 {
	net := s.m.Network
	variance := make([][]float64, len(net.Units))
	weight := make([][]float64, len(net.Units)) // change that a variance of 1 causes
	last := len(net.Units) - 1
	var averageVariance []float64
	for k := range s.moments {
		x := &s.moments[k]
		variance[x.Unit] = make([]float64, len(x.Sum))
		weight[x.Unit] = make([]float64, len(x.Sum))
		for c := range x.Sum {
			variance[x.Unit][c] = x.Variance(c)
		}
		if x.Unit == last {
			averageVariance = make([]float64, len(x.Sum))
			for c := range averageVariance {
				averageVariance[c] = x.AverageVariance(c)
			}
		}
	}
	eps := s.m.Preprocessing.Eps
	if eps == 0 {
		eps = nn.DefaultEps
	}
	for i := range net.Units {
		u := &net.Units[i]
		if u.In == arch.Picture || u.Op != arch.Convolution {
			continue
		}
		gamma, area := s.m.Params.Of(i, arch.Gamma), u.Kernel*u.Kernel
		for j, w := range s.m.Params.Of(i, arch.ConvWeight) {
			v, out := square(w), j/(area*u.InShape.C)
			if u.BN != "" {
				v /= s.stats.Var[i][out] + eps
			}
			if gamma != nil {
				v *= square(gamma[out])
			}
			weight[u.In][j/area%u.InShape.C] += v
		}
	}
	output := s.m.Params.Of(last+1, arch.OutputWeight)
	for i := range variance {
		for c := range variance[i] {
			variance[i][c] *= weight[i][c]
			for k := 0; i == last && k < net.Classes; k++ {
				variance[i][c] += averageVariance[c] * square(output[k*net.Features()+c])
			}
		}
	}
	return variance
}

// measure measures the gradients or moments that the policy's importance needs and, if means is
// set, the moments for the constants of pruned channels. It uses batches of the training split
// without augmentation. Moments are measured only once. evaluator is the model's evaluator.
func (s *scorer) measure(ctx context.Context, evaluator *engine.Evaluator, data *dataset.Data, p Policy, means bool, threads int) error {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	if p.Importance == Taylor {
		if err := s.measureGradients(ctx, data, p, evaluator.Estimation().Seed, threads); err != nil {
			return err
		}
	}
	if p.Importance == Logits {
		if err := s.measureLogits(ctx, data, p, evaluator.Estimation().Seed, threads); err != nil {
			return err
		}
	}
	if s.moments != nil || p.Importance != Change && p.Importance != Active && !means {
		return nil
	}
	return s.measureMoments(ctx, evaluator, data, cmp.Or(p.Batches, DefaultBatches), threads)
}

// measureMoments sets the moments and the statistics.
func (s *scorer) measureMoments(ctx context.Context, evaluator *engine.Evaluator, data *dataset.Data, batches, threads int) error {
	var err error
	if s.stats, err = evaluator.Reestimate(ctx); err != nil {
		return err
	}
	inference, err := nn.NewInference(s.m.Network, kernel.Best(), s.m.Params, s.stats, nn.InferenceOptions{
		Batch: measureBatch, Threads: threads, Eps: s.m.Preprocessing.Eps,
	})
	if err != nil {
		return err
	}
	defer inference.Close()
	s.moments = nil
	return eachBatch(ctx, data, batches, evaluator.Estimation().Seed, func(b *dataset.Batch) {
		s.moments = inference.Observe(s.moments, b.Images, b.N)
	})
}

// measureGradients sets taylor over p.Batches batches.
func (s *scorer) measureGradients(ctx context.Context, data *dataset.Data, p Policy, seed uint64, threads int) error {
	for k := range s.taylor {
		s.taylor[k] = make([][]float64, len(s.m.Network.Units))
		for i := range s.m.Network.Units {
			if gamma := s.m.Params.Of(i, arch.Gamma); gamma != nil {
				s.taylor[k][i] = make([]float64, len(gamma))
			}
		}
	}
	return s.eachStep(ctx, data, p.Batches, seed, threads, func(training *nn.Training[float32], b *dataset.Batch) {
		training.Forward(b.Images, b.Labels)
		training.Backward()
		gradients := training.Gradients()
		for i := range s.m.Network.Units {
			gamma, beta := s.m.Params.Of(i, arch.Gamma), s.m.Params.Of(i, arch.Beta)
			for c, g := range gamma {
				v := float64(g) * float64(gradients.Of(i, arch.Gamma)[c])
				s.taylor[0][i][c] += math.Abs(v)
				if beta != nil {
					v += float64(beta[c]) * float64(gradients.Of(i, arch.Beta)[c])
				}
				s.taylor[1][i][c] += math.Abs(v)
			}
		}
	})
}

// eachStep calls f for each batch of eachBatch, with a Training of the model that computes the
// gradients of γ and β.
func (s *scorer) eachStep(ctx context.Context, data *dataset.Data, count int, seed uint64, threads int, f func(*nn.Training[float32], *dataset.Batch)) error {
	training, err := nn.NewTraining(s.m.Network, kernel.Best(), s.m.Params, nn.TrainingOptions{
		Batch: min(measureBatch, data.Train.Len()), Threads: threads, Gradients: nn.GradientsOf(s.m.Network, arch.BN), Eps: s.m.Preprocessing.Eps,
	})
	if err != nil {
		return err
	}
	defer training.Close()
	return eachBatch(ctx, data, count, seed, func(b *dataset.Batch) { f(training, b) })
}

// eachBatch calls f with up to count batches of the training split without augmentation.
func eachBatch(ctx context.Context, data *dataset.Data, count int, seed uint64, f func(*dataset.Batch)) error {
	loader, err := dataset.NewLoader(data.Train, dataset.LoaderConfig{
		Batch: min(measureBatch, data.Train.Len()), Seed: seed, Shuffle: true, DropLast: true, Mean: data.Mean, Std: data.Std,
	})
	if err != nil {
		return err
	}
	batches := loader.Start(ctx, 0, 0)
	defer batches.Close()
	for range min(count, loader.Batches()) {
		b, ok := batches.Next()
		if !ok {
			return batches.Err()
		}
		f(b)
	}
	return ctx.Err()
}
