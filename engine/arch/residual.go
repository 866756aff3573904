package arch

import "fmt"

// Residual is the output of another unit, adapted as Kind specifies, that a unit adds before
// its ReLU. The zero value adds nothing.
type Residual struct {
	Kind ResidualKind
	From int         // index of the unit whose output is added
	Map  *ChannelMap // for a Mapped residual; nil otherwise
}

// ResidualKind is a way to add another unit's output.
type ResidualKind int

// The kinds of residuals.
const (
	NoResidual ResidualKind = iota
	Identity                // unchanged; both outputs have the same shape
	Projection              // unchanged; the output of a shortcut unit, which has no ReLU, no residual and no other reader
	Mapped                  // channel by channel, by a ChannelMap
)

// ChannelMap is a residual without parameters. It adds every Stride-th row and column of
// channel Source[c], beginning with the first, to output channel c. It adds nothing if
// Source[c] is NoSource.
type ChannelMap struct {
	Source []int // by output channel: a source channel or NoSource
	Stride int   // at least 1; ⌈h/Stride⌉ of h rows are read
}

// NoSource is the ChannelMap.Source of a channel to which nothing is added.
const NoSource = -1

// Leading reports whether the first n output channels take the n source channels in
// order, and the others take none.
func (m *ChannelMap) Leading(n int) bool {
	for c, source := range m.Source {
		if c < n && source != c || c >= n && source != NoSource {
			return false
		}
	}
	return len(m.Source) >= n
}

// newChannelMap returns a map of stride 2 between the given numbers of channels. It adds the
// source channels to output channels first to first+from-1.
func newChannelMap(from, to, first int) *ChannelMap {
	m := &ChannelMap{Source: make([]int, to), Stride: 2}
	for c := range m.Source {
		m.Source[c] = NoSource
		if first <= c && c < first+from {
			m.Source[c] = c - first
		}
	}
	return m
}

// optionA returns the map of a shortcut of option A between the given numbers of
// channels.
func (s Shortcut) optionA(from, to int) *ChannelMap {
	if s == OptionACentred {
		return newChannelMap(from, to, (to-from)/2)
	}
	return newChannelMap(from, to, 0)
}

// checkResidual returns the reason why unit i's residual is invalid, or "".
func (n *Network) checkResidual(i int) string {
	u := &n.Units[i]
	r := &u.Add
	if r.Kind == NoResidual {
		return ""
	}
	if r.From < 0 || r.From >= i {
		return fmt.Sprintf("it adds the output of unit %d, which is not an earlier unit", r.From)
	}
	source := &n.Units[r.From]
	if (r.Kind == Mapped) != (r.Map != nil) {
		return "it must have a channel map if and only if its residual is mapped"
	}
	switch r.Kind {
	case Projection:
		if source.ReLU || source.Add.Kind != NoResidual {
			return fmt.Sprintf("it adds the projection %s, which has a ReLU or a residual", source.Name)
		}
		fallthrough
	case Identity:
		if source.OutShape != u.OutShape {
			return fmt.Sprintf("it adds the output of %s, which is %v, to %v", source.Name, source.OutShape, u.OutShape)
		}
	case Mapped:
		return r.Map.check(source.OutShape, u.OutShape)
	default:
		return fmt.Sprintf("its residual has the unknown kind %d", r.Kind)
	}
	return ""
}

// check returns the reason why the map cannot turn one shape into the other, or "".
func (m *ChannelMap) check(from, to Shape) string {
	if m.Stride < 1 {
		return fmt.Sprintf("its channel map has stride %d, which must be at least 1", m.Stride)
	}
	if rows, cols := (from.H-1)/m.Stride+1, (from.W-1)/m.Stride+1; len(m.Source) != to.C || rows != to.H || cols != to.W {
		return fmt.Sprintf("its channel map of %d channels and stride %d makes %d×%d×%d from %v, but should make %v", len(m.Source), m.Stride, len(m.Source), rows, cols, from, to)
	}
	for c, source := range m.Source {
		if source != NoSource && (source < 0 || source >= from.C) {
			return fmt.Sprintf("its channel map takes channel %d from channel %d, but there are %d source channels", c, source, from.C)
		}
	}
	return ""
}
