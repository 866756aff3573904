package arch

import "fmt"

// Residual is what a unit adds before its ReLU: another unit's output, in one
// of the ways that Kind names. The zero value adds nothing.
type Residual struct {
	Kind ResidualKind
	From int         // index of the unit whose output is added
	Map  *ChannelMap // of a Mapped residual; nil for the others
}

// ResidualKind is how another unit's output comes to be added.
type ResidualKind int

// The kinds of residuals.
const (
	NoResidual ResidualKind = iota
	Identity                // as it is: both outputs have the same shape
	Projection              // as it is, from a unit without ReLU and residual that nothing else reads
	Mapped                  // channel by channel, as a ChannelMap says
)

// ChannelMap is a residual without parameters. To output channel c it adds
// channel Source[c] of every Stride-th row and column, beginning with the
// first, or zero where Source[c] is NoSource.
type ChannelMap struct {
	Source []int // by output channel: a source channel or NoSource
	Stride int   // at least 1; of h rows there remain ⌈h/Stride⌉
}

// NoSource is the ChannelMap.Source of a channel to which nothing is added.
const NoSource = -1

// Leading reports whether the output's first channels take the n source
// channels in their order, and the others nothing.
func (m *ChannelMap) Leading(n int) bool {
	for c, source := range m.Source {
		if c < n && source != c || c >= n && source != NoSource {
			return false
		}
	}
	return len(m.Source) >= n
}

// placed maps from channels to channels from first on, of to channels, at
// stride 2.
func placed(from, to, first int) *ChannelMap {
	m := &ChannelMap{Source: make([]int, to), Stride: 2}
	for c := range m.Source {
		m.Source[c] = NoSource
		if first <= c && c < first+from {
			m.Source[c] = c - first
		}
	}
	return m
}

// optionA is the map of a shortcut without parameters from one number of
// channels to another.
func (s Shortcut) optionA(from, to int) *ChannelMap {
	if s == OptionACentred {
		return placed(from, to, (to-from)/2)
	}
	return placed(from, to, 0)
}

// checkResidual says what is wrong with what unit i adds, "" if nothing is.
func (n *Network) checkResidual(i int) string {
	u := &n.Units[i]
	r := &u.Add
	if r.Kind == NoResidual {
		return ""
	}
	if r.From < 0 || r.From >= i {
		return fmt.Sprintf("it adds the output of unit %d; units 0 to %d stand before it", r.From, i-1)
	}
	from := &n.Units[r.From]
	if (r.Kind == Mapped) != (r.Map != nil) {
		return "it has a channel map if and only if its residual is mapped"
	}
	switch r.Kind {
	case Projection:
		if from.ReLU || from.Add.Kind != NoResidual {
			return fmt.Sprintf("it adds %s as a projection, which has a ReLU or a residual", from.Name)
		}
		fallthrough
	case Identity:
		if from.OutShape != u.OutShape {
			return fmt.Sprintf("it adds %v of %s to %v", from.OutShape, from.Name, u.OutShape)
		}
	case Mapped:
		return r.Map.check(from.OutShape, u.OutShape)
	default:
		return fmt.Sprintf("its residual is of the unknown kind %d", r.Kind)
	}
	return ""
}

// check says why the map cannot lead from one shape to another, "" if it can.
func (m *ChannelMap) check(from, to Shape) string {
	if m.Stride < 1 {
		return fmt.Sprintf("its channel map has stride %d; at least 1 is needed", m.Stride)
	}
	if rows, cols := (from.H-1)/m.Stride+1, (from.W-1)/m.Stride+1; len(m.Source) != to.C || rows != to.H || cols != to.W {
		return fmt.Sprintf("its channel map of %d channels and stride %d makes %d×%d×%d of %v, not %v", len(m.Source), m.Stride, len(m.Source), rows, cols, from, to)
	}
	for c, source := range m.Source {
		if source != NoSource && (source < 0 || source >= from.C) {
			return fmt.Sprintf("its channel map takes channel %d from channel %d of %d", c, source, from.C)
		}
	}
	return ""
}
