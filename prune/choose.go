package prune

import (
	"context"
	"fmt"
	"math"
	"slices"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// Choose returns the plan for m that the options describe. If o.NeedsData reports false, it calls
// MakePlan and does not use data. The error is one of MakePlan, an *OptionError if a target cannot
// be reached, ctx's error, or an error of a measurement.
func Choose(ctx context.Context, m *engine.Model, data *dataset.Data, o Options) (*Plan, error) {
	if !o.NeedsData() {
		return MakePlan(m, o)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	s, err := newSelection(ctx, m, data, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.choose(ctx)
}

// NeedsData reports whether only Choose, which needs data, can make the plan: whether the
// options have a policy, a target or MeanBeta, and no Plan.
func (o *Options) NeedsData() bool {
	return o.Plan == nil && (o.Policy != Policy{} || o.Target != Target{} || o.MeanBeta)
}

// check returns an error if options are invalid or cannot be combined.
func (o *Options) check() error {
	if err := o.Policy.check(); err != nil {
		return err
	}
	if err := o.Target.check(); err != nil {
		return err
	}
	goals := 0
	for _, set := range []bool{o.Target.MACs != 0, o.Target.Latency != 0, o.Target.MaxDrop != 0, o.Remove != 0, o.Threshold != 0} {
		if set {
			goals++
		}
	}
	if goals != 1 {
		return &OptionError{"the number of channels to prune needs exactly one of: a share to remove, a threshold, a target of multiply-adds, of time or of accuracy"}
	}
	if o.Threshold != 0 && o.Policy != (Policy{}) {
		return &OptionError{"a threshold is for |γ| and cannot be combined with a policy; use a share to remove or a target"}
	}
	choice := o.choice()
	if o.Threshold == 0 && o.Remove == 0 {
		choice.Remove = 0.5 // any valid share: only the other fields are checked
	}
	return choice.check()
}

// choice returns the plan's Choice, without its Source.
func (o *Options) choice() Choice {
	return Choice{Threshold: o.Threshold, Remove: o.Remove, Protect: o.Protect, MaxPerLayer: o.MaxPerLayer, Policy: o.Policy, Target: o.Target}
}

// beta returns the plan's Beta.
func (o *Options) beta() string {
	switch {
	case o.MeanBeta:
		return BetaMean
	case o.ZeroBeta:
		return BetaZeroed
	}
	return BetaKept
}

// selection holds the state of choosing groups to prune.
type selection struct {
	o         Options
	m         *engine.Model
	data      *dataset.Data
	evaluator *engine.Evaluator // of m
	scorer    *scorer

	order  []*group // in the order of pruning, without groups that are pruned already or must stay
	total  int      // number of channels with a γ
	pruned int      // number of these channels that are pruned already

	hasPolicy bool // whether the options have a policy
}

// newSelection scores and sorts the groups of m's network. The error is an *engine.ModelError
// if m has no γ, or an error of a measurement.
func newSelection(ctx context.Context, m *engine.Model, data *dataset.Data, o Options) (*selection, error) {
	if arch.GammaOnly.Parameters(m.Network) == 0 {
		return nil, &engine.ModelError{Path: m.Source.Path, Reason: "it has no γ to clamp"}
	}
	s := &selection{o: o, m: m, data: data, scorer: &scorer{m: m}, hasPolicy: o.Policy != Policy{}}
	s.o.Policy = o.Policy.resolved(m)
	var err error
	if s.evaluator, err = m.Evaluator(data, o.Threads); err != nil {
		return nil, err
	}
	if err := s.scorer.measure(ctx, s.evaluator, data, s.o.Policy, o.MeanBeta, o.Threads); err != nil {
		s.close()
		return nil, err
	}
	if err := s.setOrder(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close closes the evaluator.
func (s *selection) close() { s.evaluator.Close() }

// setOrder sets order, total and pruned for the current policy.
func (s *selection) setOrder() error {
	choice := s.o.choice()
	protected, err := choice.protected(s.m.Network)
	if err != nil {
		return err
	}
	all := groups(s.m.Network)
	s.scorer.score(all, s.o.Policy, s.o.beta())
	// prunable is the number of channels of each unit that may still be pruned.
	prunable := make([]int, len(s.m.Network.Units))
	s.total, s.pruned = 0, 0
	for i := range prunable {
		gamma := s.m.Params.Of(i, arch.Gamma)
		s.total += len(gamma)
		prunable[i] = len(gamma) - 1
		if s.o.MaxPerLayer > 0 {
			prunable[i] = min(prunable[i], int(s.o.MaxPerLayer*float64(len(gamma))))
		}
		if protected[i] {
			prunable[i] = 0
		}
		for c := range gamma {
			if isPruned(s.m, i, c) {
				s.pruned++
				prunable[i]--
			}
		}
	}
	s.order = nil
	for _, g := range s.o.Policy.Scope.sorted(s.m.Network, all) {
		unpruned := s.unprunedChannels(g)
		if len(unpruned) == 0 || slices.ContainsFunc(unpruned, func(p channelRef) bool { return prunable[p.unit] < 1 }) {
			continue
		}
		for _, p := range unpruned {
			prunable[p.unit]--
		}
		s.order = append(s.order, g)
	}
	return nil
}

// unprunedChannels returns the channels of a group that have a γ and are not pruned already.
func (s *selection) unprunedChannels(g *group) []channelRef {
	return slices.DeleteFunc(slices.Clone(g.withGamma), func(p channelRef) bool { return isPruned(s.m, p.unit, p.channel) })
}

// plan returns the plan that prunes the given groups and the channels that are pruned already,
// without the numbers that describe its effect.
func (s *selection) plan(chosen []*group) *Plan {
	pruned := make([]map[int]bool, len(s.m.Network.Units))
	for _, g := range chosen {
		for _, p := range g.withGamma {
			if pruned[p.unit] == nil {
				pruned[p.unit] = map[int]bool{}
			}
			pruned[p.unit][p.channel] = true
		}
	}
	return s.planOf(pruned)
}

// planOf returns the plan that prunes the given channels, by unit, and the channels that are
// pruned already.
func (s *selection) planOf(pruned []map[int]bool) *Plan {
	choice := s.o.choice()
	choice.Source = s.m.Source.SHA256
	p := &Plan{Arch: s.m.Network.Name, Choice: choice, Beta: s.o.beta()}
	for i := range s.m.Network.Units {
		gamma := s.m.Params.Of(i, arch.Gamma)
		if gamma == nil {
			continue
		}
		l := PlannedLayer{Name: s.m.Network.Units[i].BN, Channels: len(gamma), Kept: []int{}}
		for c := range gamma {
			if !pruned[i][c] && !isPruned(s.m, i, c) {
				l.Kept = append(l.Kept, c)
			}
		}
		p.Layers = append(p.Layers, l)
	}
	if s.o.MeanBeta {
		s.setMeans(p)
	}
	return p
}

// setMeans sets the constants of the plan's newly pruned channels so that each output that is
// read becomes the mean of the outputs before pruning: E[ReLU(z)], which is at least the ReLU of
// the mean of z. In a residual stream that is constant, each β is the difference that its branch
// makes to that mean. If only some branches of a stream are constant, their β stay, because each
// is the mean of its BatchNorm's output.
func (s *selection) setMeans(p *Plan) {
	net := s.m.Network
	kept, err := p.kept(net)
	if err != nil {
		panic(err) // cannot happen: the plan was made from the same network
	}
	means := make([]*nn.Moments, len(net.Units))
	for k := range s.scorer.moments {
		means[s.scorer.moments[k].Unit] = &s.scorer.moments[k]
	}
	constant, value := make([][]bool, len(net.Units)), make([][]float64, len(net.Units))
	for i := range net.Units {
		u := &net.Units[i]
		constant[i], value[i] = make([]bool, u.OutShape.C), make([]float64, u.OutShape.C)
		beta := s.m.Params.Of(i, arch.Beta)
		constants := map[int]float32{}
		for c := range u.OutShape.C {
			if u.Op != arch.Convolution && u.BN == "" && u.In != arch.Picture {
				constant[i][c], value[i][c] = constant[u.In][c], value[u.In][c]
				continue
			}
			if stays(kept[i], c) {
				continue
			}
			base, known := 0.0, true
			if source := sourceOf(u, c); source != arch.NoSource {
				base, known = value[u.Add.From][source], constant[u.Add.From][source]
			}
			z := 0.0
			if beta != nil {
				z = float64(beta[c])
			}
			newlyPruned := !isPruned(s.m, i, c)
			if known && newlyPruned && beta != nil && u.ReLU && means[i] != nil {
				z = means[i].Mean(c) - base
				constants[c] = float32(z)
			}
			constant[i][c], value[i][c] = known, base+z
			if u.ReLU {
				value[i][c] = max(value[i][c], 0)
			}
		}
		if len(constants) > 0 {
			layer := slices.IndexFunc(p.Layers, func(l PlannedLayer) bool { return l.Name == u.BN })
			p.Layers[layer].Constants = constants
		}
	}
}

// sourceOf returns the channel that is added to channel c of a unit, or arch.NoSource.
func sourceOf(u *arch.Unit, c int) int {
	switch u.Add.Kind {
	case arch.NoResidual:
		return arch.NoSource
	case arch.Mapped:
		return u.Add.Map.Source[c]
	}
	return c
}

// choose returns the plan that the options describe.
func (s *selection) choose(ctx context.Context) (*Plan, error) {
	var p *Plan
	var err error
	switch t := &s.o.Target; {
	case s.o.Remove > 0 && s.hasPolicy:
		p, err = s.planForShare()
	case s.o.Remove > 0 || s.o.Threshold > 0:
		// Only the constants of MeanBeta need data. The channels are those of MakePlan.
		o := s.o
		o.Policy, o.MeanBeta = Policy{}, false
		var plain *Plan
		if plain, err = MakePlan(s.m, o); err == nil {
			pruned := make([]map[int]bool, len(s.m.Network.Units))
			kept, _ := plain.kept(s.m.Network)
			for i := range pruned {
				pruned[i] = map[int]bool{}
				for c := range s.m.Network.Units[i].OutShape.C {
					pruned[i][c] = !stays(kept[i], c)
				}
			}
			p = s.planOf(pruned)
			p.Choice = plain.Choice
		}
	case t.MACs > 0:
		p, err = s.planForMACs()
	case t.Latency > 0:
		p, err = s.planForLatency(ctx)
	default:
		p, err = s.planForMaxDrop(ctx)
	}
	if err != nil {
		return nil, err
	}
	clamped, err := p.Apply(s.m)
	if err != nil {
		return nil, err
	}
	return p, p.describe(clamped)
}

// planForShare returns the plan that prunes groups until the share Remove of all channels is
// pruned.
func (s *selection) planForShare() (*Plan, error) {
	goal, count := int(math.Round(s.o.Remove*float64(s.total))), s.pruned
	for n, g := range s.order {
		if count >= goal {
			return s.plan(s.order[:n]), nil
		}
		count += len(s.unprunedChannels(g))
	}
	if count < goal {
		return nil, &OptionError{fmt.Sprintf("remove %v: this share is %d channels, but only %d can be pruned as whole groups, because of protected layers, the largest share per layer, and the channel that every layer keeps; use a share of at most %.4g",
			s.o.Remove, goal, count, math.Floor(1e4*float64(count)/float64(max(s.total, 1)))/1e4)}
	}
	return s.plan(s.order), nil
}

// largestPrefix returns, by binary search, the largest n from 0 to most for which keep(n) is
// true. It assumes that keep(0) is true, and that keep(n+1) is false if keep(n) is.
func largestPrefix(most int, keep func(n int) (bool, error)) (int, error) {
	low, high := 0, most+1 // keep(low) is true, and keep(high) is false
	for high-low > 1 {
		middle := (low + high) / 2
		ok, err := keep(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// applyAndCompact returns m with the plan applied, and the same model compacted.
func (s *selection) applyAndCompact(p *Plan) (clamped, small *engine.Model, err error) {
	if clamped, err = p.Apply(s.m); err != nil {
		return nil, nil, err
	}
	small, _, err = clamped.Compact()
	return clamped, small, err
}

// dropSplit returns the split on which a drop of accuracy is measured, and its name.
func dropSplit(data *dataset.Data) (*dataset.Split, string) {
	if data.Validation != nil {
		return data.Validation, "validation"
	}
	return data.Test, "test"
}

// withTestSplit returns data with the given test split.
func withTestSplit(data *dataset.Data, s *dataset.Split) *dataset.Data {
	other := *data
	other.Test = s
	return &other
}
