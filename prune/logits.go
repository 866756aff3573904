package prune

import (
	"context"

	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
)

// scoreLogits sets the score of each group to the mean square, over batches, of the change of a
// difference of logits when all channels of the group become their means together.
func (s *scorer) scoreLogits(all []*group) {
	for _, g := range all {
		g.score = 0
		for _, changes := range s.logits {
			sum := 0.0
			for _, p := range g.withGamma {
				sum += changes[p.unit][p.channel]
			}
			g.score += sum * sum / float64(len(s.logits))
		}
	}
}

// measureLogits sets logits to γ·∂d/∂γ. Apart from its sign, this is the change of d, to first
// order, when γ falls to 0 and the channel becomes its mean β. For each batch, d is the mean
// over its pictures of the difference between the logits of two random classes. The mean square
// of the change estimates the change of all logits, apart from a constant that is added to all
// logits of a picture and does not change its class. The gradient includes the effect of the
// channel on the batch's statistics, because statistics are re-estimated after pruning.
func (s *scorer) measureLogits(ctx context.Context, data *dataset.Data, p Policy, seed uint64, threads int) error {
	s.logits = nil
	net := s.m.Network
	return s.eachStep(ctx, data, p.Batches, seed, threads, func(training *nn.Training[float32], b *dataset.Batch) {
		changes := make([][]float64, len(net.Units))
		// The cross-entropies of two labels differ by the difference of their logits.
		for k, labels := range classPairs(seed, len(s.logits), b.N, net.Classes) {
			training.Forward(b.Images, labels)
			training.Backward()
			sign := float64(1 - 2*k)
			for i := range net.Units {
				gamma := s.m.Params.Of(i, arch.Gamma)
				if k == 0 {
					changes[i] = make([]float64, len(gamma))
				}
				for c, g := range gamma {
					changes[i][c] += float64(sign * float64(g) * float64(training.Gradients().Of(i, arch.Gamma)[c]))
				}
			}
		}
		s.logits = append(s.logits, changes)
	})
}

// classPairs returns two random classes for each of n pictures of a batch. The classes of a
// picture differ if the network has more than one class.
func classPairs(seed uint64, batch, n, classes int) [2][]int32 {
	stream := rng.NewStream(seed, "prune/logits")
	var pairs [2][]int32
	for i := range n {
		index := 2 * uint64(batch*n+i)
		class := int(stream.Uint32(index)) % classes
		distance := 1 + int(stream.Uint32(index+1))%max(classes-1, 1)
		pairs[0] = append(pairs[0], int32(class))
		pairs[1] = append(pairs[1], int32((class+distance)%classes))
	}
	return pairs
}
