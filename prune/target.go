package prune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"bnkit/engine"
)

// Target specifies how much is pruned. At most one field is set.
type Target struct {
	MACs    float64 `json:"target_macs,omitempty"`    // this share of the network's multiply-adds stays
	Latency float64 `json:"target_latency,omitempty"` // this share of the time of inference stays, in batches of up to 128
	MaxDrop float64 `json:"max_drop,omitempty"`       // accuracy drops by at most this many percentage points
}

// check returns an error if a number is out of range.
func (t *Target) check() error {
	for _, share := range []struct {
		name  string
		value float64
	}{{"multiply-adds", t.MACs}, {"time", t.Latency}} {
		if v := share.value; v != 0 && !(v > 0 && v < 1) {
			return &OptionError{fmt.Sprintf("a target of %v of the %s is out of range; use a share between 0 and 1, e.g. 0.5", v, share.name)}
		}
	}
	if v := t.MaxDrop; v != 0 && !(v > 0 && v < 100) {
		return &OptionError{fmt.Sprintf("a largest drop of %v points is out of range; use a number above 0 and below 100, e.g. 0.5", v)}
	}
	return nil
}

// macsTolerance is the relative error up to which a target of MACs counts as reached.
const macsTolerance = 0.02

// planForMACs returns nearestPlan's plan, or an *OptionError if its share of MACs differs
// from the target by more than macsTolerance of the target.
func (s *selection) planForMACs() (*Plan, error) {
	p, share, err := s.nearestPlan()
	if err != nil {
		return nil, err
	}
	target := s.o.Target.MACs
	if math.Abs(share-target) <= macsTolerance*target {
		return p, nil
	}
	_, smallest, err := s.applyAndCompact(s.plan(s.order))
	if err != nil {
		return nil, err
	}
	least := float64(smallest.Network.MACs()) / float64(s.m.Network.MACs())
	return nil, &OptionError{fmt.Sprintf("a target of %v of the multiply-adds cannot be reached: the nearest share is %.4g, and the smallest %.4g", target, share, least)}
}

// nearestPlan returns the plan, of those that it tries, whose network's share of MACs is nearest
// to the target, and that share.
func (s *selection) nearestPlan() (*Plan, float64, error) {
	whole := float64(s.m.Network.MACs())
	goal := s.o.Target.MACs * whole
	macsOf := func(chosen []*group) (float64, error) {
		_, small, err := s.applyAndCompact(s.plan(chosen))
		if err != nil {
			return 0, err
		}
		return float64(small.Network.MACs()), nil
	}
	n, err := largestPrefix(len(s.order), func(n int) (bool, error) {
		macs, err := macsOf(s.order[:n])
		return macs >= goal, err
	})
	if err != nil {
		return nil, 0, err
	}
	chosen := slices.Clone(s.order[:n])
	best, err := macsOf(chosen)
	if err != nil {
		return nil, 0, err
	}
	// Also prune each of the following groups that brings the MACs nearer to the goal. The
	// next group may save too much, but a later one less.
	for tried := 0; n < len(s.order) && tried < maxTried && best > goal; n++ {
		// A group g saves less than g.saves if groups that it reads, or that read it, are
		// pruned too, but rarely less than a tenth of g.saves.
		if float64(s.order[n].saves)/10 > 2*(best-goal) {
			continue
		}
		tried++
		macs, err := macsOf(append(chosen, s.order[n]))
		if err != nil {
			return nil, 0, err
		}
		if math.Abs(macs-goal) < math.Abs(best-goal) {
			chosen, best = append(chosen, s.order[n]), macs
		}
	}
	return s.plan(chosen), best / whole, nil
}

// maxTried is the largest number of groups that nearestPlan tries one by one.
const maxTried = 32

// block is the number of channels in a block of the kernels. They compute whole blocks, so
// removing a part of a block saves no time.
const block = 8

// withoutPartialBlocks returns chosen without the groups whose removal saves no time, because
// no further block of channels in their layers becomes empty. Of the chosen groups of a layer, it
// leaves out the most important ones.
func (s *selection) withoutPartialBlocks(chosen []*group) []*group {
	left := make([]int, len(s.m.Network.Units)) // number of channels that are not removed
	for i := range left {
		left[i] = s.m.Network.Units[i].OutShape.C
	}
	// The pruned channels of a group are removed only if the whole group is pruned.
	removed := slices.DeleteFunc(groups(s.m.Network), func(g *group) bool { return len(s.unprunedChannels(g)) > 0 })
	for _, g := range slices.Concat(removed, chosen) {
		for _, p := range g.channels {
			left[p.unit]--
		}
	}
	var rest []*group
	for _, g := range slices.Backward(chosen) {
		// One channel of each layer carries the constants of the removed channels.
		full := slices.ContainsFunc(g.channels, func(p channelRef) bool { return (left[p.unit]+1)%block == 0 })
		if full {
			rest = append(rest, g)
			continue
		}
		for _, p := range g.channels {
			left[p.unit]++
		}
	}
	slices.Reverse(rest)
	return rest
}

// latencyTolerance is the relative error up to which a target of latency counts as
// reached.
const latencyTolerance = 0.1

// planForLatency returns the plan whose network takes the target's share of the time of the
// unpruned network, measured in turn with it. It measures the chosen network a second time,
// and returns an error if the time is no longer near the target.
func (s *selection) planForLatency(ctx context.Context) (*Plan, error) {
	best, bestRatio, fastest := []*group(nil), math.Inf(1), math.Inf(1)
	goal := s.o.Target.Latency
	whole, err := s.unpruned()
	if err != nil {
		return nil, err
	}
	defer whole.Close()
	_, err = largestPrefix(len(s.order), func(n int) (bool, error) {
		chosen := s.withoutPartialBlocks(s.order[:n])
		ratio, err := s.time(ctx, whole, s.plan(chosen))
		if err != nil {
			return false, err
		}
		fastest = min(fastest, ratio)
		if math.Abs(ratio-goal) < math.Abs(bestRatio-goal) {
			best, bestRatio = chosen, ratio
		}
		return ratio > goal, nil
	})
	if err != nil {
		return nil, err
	}
	if math.Abs(bestRatio-goal) > latencyTolerance*goal {
		return nil, &OptionError{fmt.Sprintf("a target of %v of the time cannot be reached: of the networks that were tried, the nearest takes %.3g and the fastest %.3g", goal, bestRatio, fastest)}
	}
	p := s.plan(best)
	secondRatio, err := s.time(ctx, whole, p)
	if err != nil {
		return nil, err
	}
	if math.Abs(secondRatio-goal) > latencyTolerance*goal {
		return nil, fmt.Errorf("times vary too much for a target of %v of the time: the same network took %.3g and then %.3g; use a target of multiply-adds, or a machine without other work", goal, bestRatio, secondRatio)
	}
	return p, nil
}

// unpruned returns an evaluator of m's whole network, for measuring time.
func (s *selection) unpruned() (*engine.Evaluator, error) {
	m := *s.m
	m.Kept = nil
	return m.Evaluator(s.data, s.o.Threads)
}

// time returns the time of the plan's network divided by that of the unpruned network.
func (s *selection) time(ctx context.Context, whole *engine.Evaluator, p *Plan) (float64, error) {
	_, small, err := s.applyAndCompact(p)
	if err != nil {
		return 0, err
	}
	compact, err := small.Evaluator(s.data, s.o.Threads)
	if err != nil {
		return 0, err
	}
	defer compact.Close()
	speeds, err := engine.InferenceSpeeds(ctx, whole, compact)
	if err != nil {
		return 0, err
	}
	return speeds[0] / speeds[1], nil
}

// planForMaxDrop returns the plan, of those that a binary search tries, that prunes the most
// groups without exceeding the largest drop of accuracy, on the validation split or, if there is
// none, on the test split. Statistics are re-estimated before and after pruning.
func (s *selection) planForMaxDrop(ctx context.Context) (*Plan, error) {
	measured, _ := dropSplit(s.data)
	base, err := s.m.Evaluator(withTestSplit(s.data, measured), s.o.Threads)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	accuracy := func(m *engine.Model) (float64, error) {
		e, err := base.ForVariant(m)
		if err != nil {
			return 0, err
		}
		stats, err := e.Reestimate(ctx)
		if err != nil {
			return 0, err
		}
		r, err := e.Evaluate(ctx, stats)
		var broken *engine.LossError
		if errors.As(err, &broken) {
			return 0, nil // too much was pruned
		}
		return r.TestAccuracy, err
	}
	before, err := accuracy(s.m)
	if err != nil {
		return nil, err
	}
	least := before - s.o.Target.MaxDrop/100 - 1e-9 // 1e-9 allows for rounding
	n, err := largestPrefix(len(s.order), func(n int) (bool, error) {
		clamped, err := s.plan(s.order[:n]).Apply(s.m)
		if err != nil {
			return false, err
		}
		after, err := accuracy(clamped)
		return after >= least, err
	})
	if err != nil {
		return nil, err
	}
	return s.plan(s.order[:n]), nil
}
