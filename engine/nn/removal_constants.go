package nn

import (
	"math"
	"slices"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// removal decides which channels of a network stay if some are held constant. Its
// slices are indexed by unit, and nested slices by unit and channel.
type removal[T kernel.Float] struct {
	net    *arch.Network
	params *Params[T]
	pruned [][]bool // whether BatchNorm outputs only β, because γ is 0 and stays 0

	constant [][]bool    // whether the unit's output is the same at every position of every picture
	value    [][]float64 // that output; 0 for other channels

	live    [][]bool // whether the logits depend on the channel in a way that a carried constant cannot replace
	kept    [][]bool // whether the channel stays, because it is live or a shape needs it
	carries []bool   // whether the unit has a channel that carries constants
	changed bool     // whether a rule has added a channel since changed was last cleared

	// level is the output of the channel that carries constants. It is 0 before the
	// first unit of a stream that has a β, and 1 from there on.
	level []float64
}

func newRemoval[T kernel.Float](net *arch.Network, params *Params[T], pruned [][]bool) *removal[T] {
	n := len(net.Units)
	r := &removal[T]{net: net, params: params, pruned: pruned, constant: make([][]bool, n), value: make([][]float64, n),
		live: make([][]bool, n), kept: make([][]bool, n), carries: make([]bool, n), level: make([]float64, n)}
	for i := range net.Units {
		channels := net.Units[i].OutShape.C
		r.constant[i], r.value[i] = make([]bool, channels), make([]float64, channels)
		r.live[i], r.kept[i] = make([]bool, channels), make([]bool, channels)
		for c := range channels {
			r.findConstant(i, c)
		}
	}
	r.selectChannels()
	for i := range net.Units {
		if r.carries[i] {
			r.level[i] = r.levelBefore(i) + r.shift(i)
		}
	}
	return r
}

// findConstant determines whether channel c of unit i's output is a constant, and its
// value.
func (r *removal[T]) findConstant(i, c int) {
	u := &r.net.Units[i]
	z, constant := 0.0, r.pruned[i][c]
	switch {
	case constant:
		if beta := r.params.Of(i, arch.Beta); beta != nil {
			z = float64(beta[c])
		}
	case u.Op != arch.Convolution && u.BN == "" && !u.Bias && u.In != arch.Picture && keepsConstants(u):
		z, constant = r.value[u.In][c], r.constant[u.In][c]
	}
	if from, source := r.added(i, c); constant && source != arch.NoSource {
		z, constant = z+r.value[from][source], r.constant[from][source]
	}
	if u.ReLU {
		z = math.Max(z, 0)
	}
	if constant {
		r.constant[i][c], r.value[i][c] = true, z
	}
}

// added returns the unit and channel that are added to channel c of unit i. channel
// is arch.NoSource if nothing is added.
func (r *removal[T]) added(i, c int) (from, channel int) {
	switch add := &r.net.Units[i].Add; add.Kind {
	case arch.NoResidual:
		return 0, arch.NoSource
	case arch.Mapped:
		return add.From, add.Map.Source[c]
	default:
		return add.From, c
	}
}

// selectChannels determines the channels that stay. It starts from the channels of the last
// unit that are not constant. Its rules only add channels, and it applies them until none adds
// more.
func (r *removal[T]) selectChannels() {
	last := len(r.net.Units) - 1
	for c, constant := range r.constant[last] {
		if !constant {
			r.setLive(last, c)
		}
	}
	r.applyToAll(r.keepInputs)
	r.applyToAll(r.addCarriers)
	for r.keepFirstChannel() {
		r.applyToAll(r.keepInputs)
	}
}

// applyToAll applies a rule to all units repeatedly, until it adds nothing.
func (r *removal[T]) applyToAll(rule func(i int)) {
	for r.changed = true; r.changed; {
		r.changed = false
		for i := len(r.net.Units) - 1; i >= 0; i-- {
			rule(i)
		}
	}
}

// keepInputs is the rule that keeps the channels that unit i reads, and the channels that are
// added to its output.
func (r *removal[T]) keepInputs(i int) {
	u := &r.net.Units[i]
	switch {
	case u.In == arch.Picture:
	case u.Op != arch.Convolution:
		for c, live := range r.live[i] {
			if live && !r.pruned[i][c] {
				r.setLive(u.In, c)
			}
			r.tie(i, u.In, c)
		}
	case r.active(i):
		for c, constant := range r.constant[u.In] {
			if !constant {
				r.setLive(u.In, c)
			}
		}
	}
	for c := range r.kept[i] {
		from, source := r.added(i, c)
		if source == arch.NoSource {
			continue
		}
		if r.live[i][c] && !r.constant[from][source] {
			r.setLive(from, source)
		}
		// An output that is added directly must have the same channels. A channel map can
		// read any channels, but it needs all channels with a constant other than 0.
		if u.Add.Kind != arch.Mapped {
			r.tie(i, from, c)
		} else if r.kept[i][c] && r.value[from][source] != 0 {
			r.set(r.kept[from], source)
		}
	}
}

// addCarriers is the rule that adds the channels that carry constants to unit i: in the unit
// that it reads, and in the unit that is added to its output.
func (r *removal[T]) addCarriers(i int) {
	u := &r.net.Units[i]
	if u.In != arch.Picture && u.Op != arch.Convolution {
		r.tieCarriers(i, u.In)
	}
	if u.In != arch.Picture && u.Op == arch.Convolution && r.active(i) {
		for c, kept := range r.kept[u.In] {
			if !kept && r.value[u.In][c] != 0 {
				r.set(r.carries, u.In)
			}
		}
	}
	switch {
	case u.Add.Kind == arch.Identity || u.Add.Kind == arch.Projection:
		r.tieCarriers(i, u.Add.From)
	case u.Add.Kind == arch.Mapped && r.carries[i] && !r.hasShift(i):
		r.set(r.carries, u.Add.From)
	}
}

// keepFirstChannel keeps the first channel of the first unit that has no channel left. It
// reports whether there was such a unit.
func (r *removal[T]) keepFirstChannel() bool {
	for i, kept := range r.kept {
		if !r.carries[i] && !slices.Contains(kept, true) {
			kept[0] = true
			return true
		}
	}
	return false
}

// active reports whether any channel of unit i's operation has to be computed.
func (r *removal[T]) active(i int) bool {
	for c := range r.live[i] {
		if r.computed(i, c) {
			return true
		}
	}
	return false
}

// computed reports whether channel c of unit i's operation has to be computed: its
// output is live, and is not just β.
func (r *removal[T]) computed(i, c int) bool { return r.live[i][c] && !r.pruned[i][c] }

// set sets flags[i], and r.changed if flags[i] was false.
func (r *removal[T]) set(flags []bool, i int) {
	if !flags[i] {
		flags[i], r.changed = true, true
	}
}

// setLive marks channel c of unit i as live, and keeps it.
func (r *removal[T]) setLive(i, c int) {
	r.set(r.live[i], c)
	r.set(r.kept[i], c)
}

// tie keeps channel c of both units if it is kept in either.
func (r *removal[T]) tie(i, j, c int) {
	if r.kept[i][c] || r.kept[j][c] {
		r.set(r.kept[i], c)
		r.set(r.kept[j], c)
	}
}

// tieCarriers gives both units a channel that carries constants if either has one.
func (r *removal[T]) tieCarriers(i, j int) {
	if r.carries[i] || r.carries[j] {
		r.set(r.carries, i)
		r.set(r.carries, j)
	}
}

// hasShift reports whether unit i has a β, or a bias in place of BatchNorm.
func (r *removal[T]) hasShift(i int) bool {
	u := &r.net.Units[i]
	if u.BN == "" {
		return u.Bias
	}
	return !u.NoShift
}

// shift returns β, or without BatchNorm the bias, of the channel in which unit i
// carries constants.
func (r *removal[T]) shift(i int) float64 {
	if r.levelBefore(i) == 0 && r.hasShift(i) {
		return 1
	}
	return 0
}

// levelBefore returns the output, before the shift is added, of the channel in which
// unit i carries constants.
func (r *removal[T]) levelBefore(i int) float64 {
	u, level := &r.net.Units[i], 0.0
	if u.Op != arch.Convolution && u.BN == "" && u.In != arch.Picture {
		level = r.level[u.In]
	}
	if u.Add.Kind != arch.NoResidual {
		level += r.level[u.Add.From]
	}
	return level
}

// keepsConstants reports whether a pool outputs the same constant as its input, even at the
// borders.
func keepsConstants(u *arch.Unit) bool {
	if u.Op == arch.MaxPool {
		return u.Pad < u.Kernel
	}
	return u.Pad == 0
}
