package prune

import (
	"cmp"
	"slices"

	"bnkit/engine/arch"
)

// channelRef identifies an output channel of a unit.
type channelRef struct{ unit, channel int }

// group is a set of channels that can only be removed together. A channel inside a block
// is a group of its own, with its channel of a pool if one follows. A channel of a residual stream is in a group with the same channel
// of the unit that begins the stream and of all branches that are added to it, because a
// channel of a stream can be removed only if everything that is added to it is constant.
type group struct {
	channels  []channelRef // in the network's order, including those of pools
	withGamma []channelRef // the channels that have a γ

	// saves is the number of MACs that compute the group's channels plus the number that
	// read them. It is what the group's removal saves if nothing else is removed, except that
	// it counts MACs twice that do both.
	saves int64

	score float64 // importance, the sum over channels
}

// groups returns the groups of a network that can be removed, ordered by their first channel.
// A group cannot be removed if one of its channels belongs to a convolution without
// BatchNorm, to a BatchNorm without γ, or to a pool that reads the picture.
func groups(net *arch.Network) []*group {
	offset := make([]int, len(net.Units)+1) // index of each unit's channel 0 among all channels
	for i := range net.Units {
		offset[i+1] = offset[i] + net.Units[i].OutShape.C
	}
	parent := make([]int, offset[len(net.Units)])
	for i := range parent {
		parent[i] = i
	}
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	join := func(a, b int) {
		a, b = root(a), root(b)
		parent[max(a, b)] = min(a, b)
	}
	fixed := make([]bool, len(net.Units)) // whether a unit's channels cannot be removed
	for i := range net.Units {
		u := &net.Units[i]
		switch {
		case u.Op == arch.Convolution:
			fixed[i] = u.BN == "" || u.NoScale
		case u.In == arch.Picture:
			fixed[i] = true
		default:
			fixed[i] = u.BN != "" && u.NoScale
			for c := range u.OutShape.C {
				join(offset[i]+c, offset[u.In]+c)
			}
		}
		for c := range u.OutShape.C {
			switch u.Add.Kind {
			case arch.Identity, arch.Projection:
				join(offset[i]+c, offset[u.Add.From]+c)
			case arch.Mapped:
				if source := u.Add.Map.Source[c]; source != arch.NoSource {
					join(offset[i]+c, offset[u.Add.From]+source)
				}
			}
		}
	}
	savings := channelMACs(net)
	byRoot := make([]*group, len(parent))
	unremovable := make([]bool, len(parent))
	for i := range net.Units {
		for c := range net.Units[i].OutShape.C {
			r := root(offset[i] + c)
			if byRoot[r] == nil {
				byRoot[r] = &group{}
			}
			g := byRoot[r]
			g.channels = append(g.channels, channelRef{i, c})
			if net.Units[i].BN != "" {
				g.withGamma = append(g.withGamma, channelRef{i, c})
			}
			g.saves += savings[i]
			unremovable[r] = unremovable[r] || fixed[i]
		}
	}
	var all []*group
	for r, g := range byRoot {
		if g != nil && !unremovable[r] && len(g.withGamma) > 0 {
			all = append(all, g)
		}
	}
	return all
}

// channelMACs returns, for each unit, the number of MACs that compute one of its channels or
// read it.
func channelMACs(net *arch.Network) []int64 {
	macs := make([]int64, len(net.Units))
	for i := range net.Units {
		u := &net.Units[i]
		macs[i] += u.MACs() / int64(u.OutShape.C)
		if u.In != arch.Picture {
			macs[u.In] += u.MACs() / int64(u.InShape.C)
		}
	}
	macs[len(macs)-1] += int64(net.Classes)
	return macs
}

// family identifies the layers of a group by its first and last unit. Groups of one family
// differ only in the channel. Groups of a stream that a channel map widens can belong to
// different families.
func (g *group) family() [2]int {
	return [2]int{g.channels[0].unit, g.channels[len(g.channels)-1].unit}
}

// Scope limits which groups compete with each other.
type Scope string

// The scopes. LayerScope and StageScope prune the same share of the groups in every layer or
// stage. The layers of a residual stream count as one layer, unless a channel map widens it; see
// group.family. A stage consists of the groups whose first layers have outputs of the same height
// and width.
const (
	GlobalScope Scope = "global" // all groups compete
	LayerScope  Scope = "layer"
	StageScope  Scope = "stage"
)

// Scopes lists the scopes for help texts.
var Scopes = []Scope{GlobalScope, LayerScope, StageScope}

// sorted returns the groups in the order in which they are pruned.
func (s Scope) sorted(net *arch.Network, all []*group) []*group {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *group) int { return cmp.Compare(a.score, b.score) })
	if s == GlobalScope || s == "" {
		return all
	}
	layerOrStage := func(g *group) [2]int {
		if s == LayerScope {
			return g.family()
		}
		out := net.Units[g.channels[0].unit].OutShape
		return [2]int{out.H, out.W}
	}
	sizes, seen := map[[2]int]int{}, map[[2]int]int{}
	for _, g := range all {
		sizes[layerOrStage(g)]++
	}
	// A group's rank is (position + ½)/size within its layer or stage, so that any
	// prefix of the order has about the same share of each.
	ranks := map[*group]float64{}
	for _, g := range all {
		p := layerOrStage(g)
		ranks[g] = (float64(seen[p]) + 0.5) / float64(sizes[p])
		seen[p]++
	}
	slices.SortStableFunc(all, func(a, b *group) int { return cmp.Compare(ranks[a], ranks[b]) })
	return all
}
