package prune

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// TestTargetMACs checks on several networks that the compacted network has the target's
// share of the multiply-adds, within 2%, for every scope, and that a target which is too small is
// refused.
func TestTargetMACs(t *testing.T) {
	for _, c := range []struct {
		name     string
		shortcut arch.Shortcut
		side     int
	}{{"resnet-14", arch.OptionB, 16}, {"resnet-14", arch.OptionACentred, 16}, {"wrn-8-2", "", 8}, {"resnet-11-bottleneck", "", 16}, {"convnet", "", 16}} {
		net, err := arch.Build(c.name, arch.Options{Input: arch.Shape{C: 3, H: c.side, W: c.side}, Classes: 10, Shortcut: c.shortcut})
		if err != nil {
			t.Fatal(err)
		}
		m, data := randomModel(net, 3), pictures(net, 64, 8)
		for _, scope := range Scopes {
			for _, target := range []float64{0.8, 0.55} {
				p, err := Choose(context.Background(), m, data, Options{Policy: Policy{Importance: GammaReads, Scope: scope}, Target: Target{MACs: target}})
				if err != nil {
					t.Errorf("%s, scope %s, target %v: got error %v, want none", c.name, scope, target, err)
					continue
				}
				clamped, err := p.Apply(m)
				if err != nil {
					t.Fatal(err)
				}
				small, _, err := clamped.Compact()
				if err != nil {
					t.Fatal(err)
				}
				if got := float64(small.Network.MACs()) / float64(net.MACs()); math.Abs(got-target) > 0.02*target {
					t.Errorf("%s, scope %s: %v of the MACs stay, want %v within 2%%", c.name, scope, got, target)
				}
				if p.MACsAfter != small.Network.MACs() || p.Choice.Importance != GammaReads || p.Choice.Scope != scope || p.Choice.MACs != target {
					t.Errorf("%s: the plan records %d MACs and the choice %+v, want %d, %s, scope %s and target %v", c.name, p.MACsAfter, p.Choice, small.Network.MACs(), GammaReads, scope, target)
				}
			}
		}
		_, err = Choose(context.Background(), m, data, Options{Target: Target{MACs: 0.0001}, Policy: Policy{Importance: Gamma}})
		var e *OptionError
		if !errors.As(err, &e) {
			t.Errorf("%s: a target of 0.0001: got error %v, want an *OptionError", c.name, err)
		}
	}
}

// TestUnreadChannel checks the importances of a channel that has the largest γ although all
// weights that read it are 0. GammaReads, Change and Taylor must prune it first, and Gamma must
// not.
func TestUnreadChannel(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false).Variant()
	m.Params = m.Params.Share(func(*arch.Tensor) bool { return true })
	const unit, channel = 1, 5 // blocks.0.conv1
	m.Params.Of(unit, arch.Gamma)[channel] = 10
	reader := slices.IndexFunc(m.Network.Units, func(u arch.Unit) bool { return u.In == unit })
	u := &m.Network.Units[reader]
	for out := range u.OutShape.C {
		clear(m.Params.Of(reader, arch.ConvWeight)[(out*u.InShape.C+channel)*9:][:9])
	}
	for importance, want := range map[Importance]bool{GammaReads: true, Change: true, Taylor: true, Gamma: false} {
		s, err := newSelection(context.Background(), m, data, Options{Policy: Policy{Importance: importance}, Remove: 0.1})
		if err != nil {
			t.Fatal(err)
		}
		isFirst := s.order[0].withGamma[0] == channelRef{unit, channel}
		s.close()
		if isFirst != want {
			t.Errorf("%s: the first group to prune is %+v; is it the unread channel %d of unit %d: %v, want %v", importance, s.order[0].withGamma, channel, unit, isFirst, want)
		}
	}
}

// TestRandomPolicy checks that the policy random depends only on its seed.
func TestRandomPolicy(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	plan := func(seed uint64) map[string][]int {
		p, err := Choose(context.Background(), m, data, Options{Policy: Policy{Importance: Random, Seed: seed}, Remove: 0.3})
		if err != nil {
			t.Fatal(err)
		}
		return prunedBy(p)
	}
	a, b, c := plan(1), plan(1), plan(2)
	equal := func(a, b map[string][]int) bool {
		for name := range a {
			if !slices.Equal(a[name], b[name]) {
				return false
			}
		}
		return len(a) == len(b)
	}
	if !equal(a, b) || equal(a, c) {
		t.Errorf("seeds 1, 1 and 2 prune %v, %v and %v; want the first two equal and the last different", a, b, c)
	}
}

// TestMeanBeta checks that with MeanBeta each removed channel of a unit with ReLU outputs the mean
// of its values before pruning, over the measured batch.
func TestMeanBeta(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	o := Options{Policy: Policy{Importance: Change, Batches: 1}, Target: Target{MACs: 0.6}, MeanBeta: true}
	p, err := Choose(context.Background(), m, data, o)
	if err != nil {
		t.Fatal(err)
	}
	clamped, err := p.Apply(m)
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Evaluator(data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := &scorer{m: m}
	if err := s.measure(context.Background(), e, data, o.Policy, true, 1); err != nil {
		t.Fatal(err)
	}
	inference, err := nn.NewInference(m.Network, kernel.Best(), clamped.Params, nn.NewStatistics(m.Network), nn.InferenceOptions{Batch: 1, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	_, compacted, err := clamped.Compact()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for k := range s.moments {
		x := &s.moments[k]
		u := &m.Network.Units[x.Unit]
		if !u.ReLU {
			continue
		}
		maps := inference.FeatureMaps(make([]float32, 64), x.Unit) // removed channels do not depend on the picture
		area := u.OutShape.H * u.OutShape.W
		for c := range u.OutShape.C {
			if slices.Contains(compacted.Origins[x.Unit], c) {
				continue
			}
			for _, got := range maps[c*area:][:area] {
				if !near(float64(got), x.Mean(c), 1e-4) {
					t.Fatalf("%s: channel %d outputs %v, want the mean %v", u.Name, c, got, x.Mean(c))
				}
			}
			checked++
		}
	}
	if checked < 10 {
		t.Errorf("%d channels were checked, want at least 10", checked)
	}
}

// TestPrunedStaysPruned checks that a plan that keeps all channels does not restore channels
// that were pruned before, and that a share includes these channels.
func TestPrunedStaysPruned(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	for _, policy := range []Policy{{}, {Importance: Gamma}} {
		first, prunedOnce := pruneAndSave(t, m, data, Options{Policy: policy, Remove: 0.2})
		all, err := NewPlan(m, Choice{Threshold: 1e-30}, BetaKept)
		if err != nil {
			t.Fatal(err)
		}
		reapplied, err := all.Apply(prunedOnce)
		if err != nil {
			t.Fatal(err)
		}
		for i, kept := range prunedOnce.Kept {
			for c := range m.Network.Units[i].OutShape.C {
				if stays(kept, c) != stays(reapplied.Kept[i], c) {
					t.Errorf("%+v: after a plan that keeps all channels, unit %d keeps %v, want %v as before", policy, i, reapplied.Kept[i], kept)
				}
			}
		}
		second, prunedTwice := pruneAndSave(t, prunedOnce, data, Options{Policy: policy, Remove: 0.4})
		for i, kept := range prunedOnce.Kept {
			for c := range m.Network.Units[i].OutShape.C {
				if !stays(kept, c) && stays(prunedTwice.Kept[i], c) {
					t.Errorf("%+v: the second pruning restored channel %d of unit %d, want it to stay pruned", policy, c, i)
				}
			}
		}
		goal := 0.4 * float64(second.Channels)
		if first.Clamped >= second.Clamped || math.Abs(float64(second.Clamped)-goal) > 4 || second.Channels != first.Channels {
			t.Errorf("%+v: %d of %d channels are pruned first, and %d of %d in the end; want more in the end, within 4 of %v, of the same number", policy,
				first.Clamped, first.Channels, second.Clamped, second.Channels, goal)
		}
	}
}

// TestShareOfGroups checks that a policy prunes at least the share, and less than one group more,
// if some channels of groups are pruned already.
func TestShareOfGroups(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	single, err := NewPlan(m, Choice{Remove: 0.3}, BetaKept)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = single.Apply(m); err != nil {
		t.Fatal(err)
	}
	p, err := Choose(context.Background(), m, data, Options{Policy: Policy{Importance: Gamma}, Remove: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	largest := 0
	for _, g := range groups(m.Network) {
		largest = max(largest, len(g.withGamma))
	}
	if goal := int(math.Round(0.5 * float64(p.Channels))); p.Clamped < goal || p.Clamped >= goal+largest {
		t.Errorf("%d of %d channels are pruned, want %d to %d", p.Clamped, p.Channels, goal, goal+largest-1)
	}
}

// TestMaxDrop checks that the drop of accuracy is at most the target, on the validation split
// if there is one.
func TestMaxDrop(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	for _, hasValidation := range []bool{false, true} {
		split, splitName := data.Test, "test"
		if hasValidation {
			withValidation := *data
			withValidation.Validation = data.Train.First(33)
			data, split, splitName = &withValidation, withValidation.Validation, "validation"
		}
		r, _ := pruneAndSave(t, m, data, Options{Target: Target{MaxDrop: 10}})
		if r.Split != splitName || r.MaxDrop != 10 || r.Clamped == 0 {
			t.Errorf("the result has split %q, MaxDrop %v and %d clamped channels, want %q, 10 and at least 1", r.Split, r.MaxDrop, r.Clamped, splitName)
		}
		accuracy := func(m *engine.Model) float64 {
			e, stats := reestimated(t, m, withTestSplit(data, split))
			v, err := e.Evaluate(context.Background(), stats)
			if err != nil || v.Examples != split.Len() {
				t.Fatalf("got %+v, error %v; want an evaluation of %d pictures", v, err, split.Len())
			}
			return v.TestAccuracy
		}
		if before, after := accuracy(m), accuracy(r.Model); after < before-0.1-1e-9 {
			t.Errorf("accuracy falls from %v to %v, want a drop of at most 10 points", before, after)
		}
	}
}

// TestWholeBlocks checks that a plan for time keeps enough channels of each layer to fill whole
// blocks, counting the channel that carries constants, and never prunes additional groups. In the
// second model, some channels are pruned already: a part of each of three groups of a stream, and
// three whole groups, which are removed.
func TestWholeBlocks(t *testing.T) {
	net, err := arch.Build("wrn-8-2", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 10})
	if err != nil {
		t.Fatal(err)
	}
	whole, pruned := randomModel(net, 5), randomModel(net, 5)
	p, err := NewPlan(pruned, Choice{Threshold: 1e-30}, BetaKept)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the beginning of the first stream, and a layer inside the first block
		p.Layers[i].Kept = p.Layers[i].Kept[3:]
	}
	if pruned, err = p.Apply(pruned); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*engine.Model{whole, pruned} {
		s, err := newSelection(context.Background(), m, pictures(net, 64, 8), Options{Policy: Policy{Importance: GammaReads}, Remove: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		present := map[[2]int]int{} // number of groups that are not removed yet
		for _, g := range groups(net) {
			if len(s.unprunedChannels(g)) > 0 {
				present[g.family()]++
			}
		}
		for _, n := range []int{0, 3, 40, 100, len(s.order)} {
			filled := s.withoutPartialBlocks(s.order[:n])
			removed := map[[2]int]int{}
			for _, g := range filled {
				removed[g.family()]++
				if !slices.Contains(s.order[:n], g) {
					t.Fatalf("the group %+v is pruned, want only chosen groups", g)
				}
			}
			for family, channels := range present {
				if left := channels - removed[family]; removed[family] > 0 && (left+1)%8 != 0 {
					t.Errorf("of %d chosen groups: %d of %d channels of the units %v stay, want 1 less than a multiple of 8", n, left, channels, family)
				}
			}
			if n > 90 && len(filled) < n/2 {
				t.Errorf("of %d chosen groups, %d are pruned, want at least half", n, len(filled))
			}
		}
	}
}

// TestLatencyOutOfReach checks the error for a time that no network can reach.
func TestLatencyOutOfReach(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	var e *OptionError
	if _, err := Choose(context.Background(), m, data, Options{Target: Target{Latency: 1e-6}}); !errors.As(err, &e) {
		t.Errorf("got error %v, want an *OptionError", err)
	}
}

// TestDefaultImportance checks the importance that is chosen without a name: γ if all
// convolutions have their initial values, change if one of them was trained or the origin of
// the tensors is not known.
func TestDefaultImportance(t *testing.T) {
	net, err := arch.Build("resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 4})
	if err != nil {
		t.Fatal(err)
	}
	for set, want := range map[arch.TrainableSet]Importance{
		arch.BN: Gamma, arch.BNOutput: Gamma, "gamma": Gamma,
		arch.All: Change, arch.BNShortcut: Change, "bn+random-2": Change,
	} {
		m := &engine.Model{Network: net, Origin: &engine.Origin{Trainable: set}}
		if got := DefaultImportance(m); got != want {
			t.Errorf("%s trained: got %s, want %s", set, got, want)
		}
	}
	if got := DefaultImportance(&engine.Model{Network: net}); got != Change {
		t.Errorf("unknown origin: got %s, want %s", got, Change)
	}
}
