package prune

import (
	"context"
	"math"
	"testing"

	"bnkit/engine/arch"
)

// TestLogits compares the scores of every fifth group with differences of the logits in float64
// when all γ of the group change together.
func TestLogits(t *testing.T) {
	s, data, e := measuredScorer(t)
	seed := e.Estimation().Seed
	if err := s.measure(context.Background(), e, data, Policy{Importance: Logits, Batches: 1}, false, 2); err != nil {
		t.Fatal(err)
	}
	net := s.m.Network
	params, training, images, labels := float64Training(t, s, data, seed)
	pairs := classPairs(seed, 0, len(labels), net.Classes)
	for i := range labels {
		for _, class := range []int32{pairs[0][i], pairs[1][i]} {
			if class < 0 || int(class) >= net.Classes {
				t.Fatalf("picture %d has class %d, want 0 to %d", i, class, net.Classes-1)
			}
		}
		if pairs[0][i] == pairs[1][i] {
			t.Fatalf("picture %d has class %d twice, want two classes", i, pairs[0][i])
		}
	}
	all := groups(net)
	s.score(all, Policy{Importance: Logits, Scope: GlobalScope}, BetaKept)
	streams := 0
	for k := 0; k < len(all); k += 5 {
		g := all[k]
		if len(g.withGamma) > 1 {
			streams++
		}
		difference := func(h float64) float64 {
			for _, p := range g.withGamma {
				params.Of(p.unit, arch.Gamma)[p.channel] *= 1 + h
			}
			training.Forward(images, labels)
			for _, p := range g.withGamma {
				params.Of(p.unit, arch.Gamma)[p.channel] /= 1 + h
			}
			sum := 0.0
			for i := range labels {
				logits := training.Logits()[i*net.Classes:]
				sum += (logits[pairs[0][i]] - logits[pairs[1][i]]) / float64(len(labels))
			}
			return sum
		}
		const h = 1e-4
		want := math.Abs(difference(h)-difference(-h)) / (2 * h)
		if got := math.Sqrt(g.score); math.Abs(got-want) > 5e-2*want+1e-5 {
			t.Errorf("group %d of %d channels: the root of the score is %v, want %v, the change of the logits", k, len(g.withGamma), got, want)
		}
	}
	if streams == 0 {
		t.Error("0 groups of residual streams were tried, want at least 1")
	}
}
