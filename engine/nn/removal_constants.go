package nn

import (
	"math"
	"slices"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// removal settles which channels of a network stay where some are held constant.
// All slices are by unit, most then by channel.
type removal[T kernel.Float] struct {
	net    *arch.Network
	params *Params[T]
	held   [][]bool // BatchNorm puts out β: γ is 0 and stays so

	constant [][]bool    // the unit puts out the same value on every picture, everywhere
	value    [][]float64 // that value; 0 for others

	live    [][]bool // the logits depend on it, and not as on a constant that another carries
	kept    [][]bool // it stays: it is live, or a shape needs it
	carries []bool   // the unit has a channel that carries constants
	changed bool     // a rule has added to what stays

	// level is what the channel that carries constants puts out: 1, but 0 until a
	// unit has a β to make it 1.
	level []float64
}

func newRemoval[T kernel.Float](net *arch.Network, params *Params[T], held [][]bool) *removal[T] {
	n := len(net.Units)
	r := &removal[T]{net: net, params: params, held: held, constant: make([][]bool, n), value: make([][]float64, n),
		live: make([][]bool, n), kept: make([][]bool, n), carries: make([]bool, n), level: make([]float64, n)}
	for i := range net.Units {
		channels := net.Units[i].OutShape.C
		r.constant[i], r.value[i] = make([]bool, channels), make([]float64, channels)
		r.live[i], r.kept[i] = make([]bool, channels), make([]bool, channels)
		for c := range channels {
			r.findConstant(i, c)
		}
	}
	r.settle()
	for i := range net.Units {
		if r.carries[i] {
			r.level[i] = r.levelBefore(i) + r.shift(i)
		}
	}
	return r
}

// findConstant settles whether unit i puts out a constant in channel c, and which.
func (r *removal[T]) findConstant(i, c int) {
	u := &r.net.Units[i]
	z, constant := 0.0, r.held[i][c]
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

// added is the unit and channel that is added to channel c of unit i;
// arch.NoSource for none.
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

// settle finds what stays. Its rules only ever add to what stays, and it applies
// them until they add nothing.
func (r *removal[T]) settle() {
	last := len(r.net.Units) - 1
	for c, constant := range r.constant[last] {
		if !constant {
			r.setLive(last, c)
		}
	}
	r.apply(r.keep)
	r.apply(r.carry)
	for r.fill() {
		r.apply(r.keep)
	}
}

// apply applies a rule to all units until it adds nothing.
func (r *removal[T]) apply(rule func(i int)) {
	for r.changed = true; r.changed; {
		r.changed = false
		for i := len(r.net.Units) - 1; i >= 0; i-- {
			rule(i)
		}
	}
}

// keep is the rule for the channels that unit i reads and adds.
func (r *removal[T]) keep(i int) {
	u := &r.net.Units[i]
	switch {
	case u.In == arch.Picture:
	case u.Op != arch.Convolution:
		for c, live := range r.live[i] {
			if live && !r.held[i][c] {
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
		// What is added as it is has the same channels; a channel map takes what
		// there is, and must find a constant other than 0.
		if u.Add.Kind != arch.Mapped {
			r.tie(i, from, c)
		} else if r.kept[i][c] && r.value[from][source] != 0 {
			r.set(r.kept[from], source)
		}
	}
}

// carry is the rule for the channels that carry the constants that unit i reads
// and adds.
func (r *removal[T]) carry(i int) {
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

// fill keeps the first channel of a unit that has no other, and reports whether
// there was one.
func (r *removal[T]) fill() bool {
	for i, kept := range r.kept {
		if !r.carries[i] && !slices.Contains(kept, true) {
			kept[0] = true
			return true
		}
	}
	return false
}

// active reports whether unit i's operation computes anything that is live.
func (r *removal[T]) active(i int) bool {
	for c := range r.live[i] {
		if r.computed(i, c) {
			return true
		}
	}
	return false
}

// computed reports whether channel c of unit i's operation is of use.
func (r *removal[T]) computed(i, c int) bool { return r.live[i][c] && !r.held[i][c] }

// set makes an element of a set true.
func (r *removal[T]) set(set []bool, i int) {
	if !set[i] {
		set[i], r.changed = true, true
	}
}

func (r *removal[T]) setLive(i, c int) {
	r.set(r.live[i], c)
	r.set(r.kept[i], c)
}

// tie keeps channel c of both units if it is kept of one.
func (r *removal[T]) tie(i, j, c int) {
	if r.kept[i][c] || r.kept[j][c] {
		r.set(r.kept[i], c)
		r.set(r.kept[j], c)
	}
}

// tieCarriers gives both units a channel for constants if one has it.
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

// shift is the β, or the bias in place of BatchNorm, of the channel in which unit
// i carries constants.
func (r *removal[T]) shift(i int) float64 {
	if r.levelBefore(i) == 0 && r.hasShift(i) {
		return 1
	}
	return 0
}

// levelBefore is what reaches the sum of the channel in which unit i carries
// constants without a shift.
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

// keepsConstants reports whether a pool passes constants on as they are.
func keepsConstants(u *arch.Unit) bool {
	if u.Op == arch.MaxPool {
		return u.Pad < u.Kernel
	}
	return u.Pad == 0
}
