package prune

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// Plan says which channels of a network are pruned. It is data: made from a
// model's γ or read from a file, perhaps edited, and then applied by Clamp.
type Plan struct {
	Arch   string `json:"arch"`   // the network's name
	Choice Choice `json:"choice"` // where the plan comes from
	Beta   string `json:"beta"`   // of pruned channels: BetaKept or BetaZeroed

	// What the plan makes of the network. Apply computes these numbers anew: a
	// plan that was edited says what it was before.
	Channels         int   `json:"channels"` // of BatchNorms that have γ
	Clamped          int   `json:"clamped"`  // of these, held constant
	Removed          int   `json:"removed"`  // of these, gone; the others' places are needed by residual sums or shapes
	MACsBefore       int64 `json:"macs_before"`
	MACsAfter        int64 `json:"macs_after"`
	ParametersBefore int   `json:"parameters_before"`
	ParametersAfter  int   `json:"parameters_after"`

	Layers []PlannedLayer `json:"layers"` // BatchNorms, in the network's order; those that are missing keep all
}

// Choice is how a plan's channels were chosen. What played no part is missing.
type Choice struct {
	Threshold   float64  `json:"threshold,omitempty"`     // channels with |γ| below it go
	Remove      float64  `json:"remove,omitempty"`        // this share of all channels goes, those of the smallest |γ| first
	Protect     []string `json:"protect,omitempty"`       // names or patterns of layers that keep all
	MaxPerLayer float64  `json:"max_per_layer,omitempty"` // largest share of a layer's channels that goes
	Source      string   `json:"source_sha256,omitempty"` // of the file whose γ decided
}

// PlannedLayer is one BatchNorm of a plan.
type PlannedLayer struct {
	Name     string `json:"name"`
	Channels int    `json:"channels"`
	Kept     []int  `json:"kept"` // indices from 0, ascending
}

// What becomes of the β of pruned channels.
const (
	BetaKept   = "kept"
	BetaZeroed = "zeroed"
)

// candidate is a channel that may be pruned.
type candidate struct {
	unit, channel int
	size          float64 // |γ|
}

// NewPlan plans what c says of m's γ. With a threshold, all channels with smaller
// |γ| go, be it a whole layer's; with a share, each layer keeps at least one. The
// error is an *OptionError for a choice that is not possible.
func NewPlan(m *engine.Model, c Choice, beta string) (*Plan, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	protected, err := c.protected(m.Network)
	if err != nil {
		return nil, err
	}
	p, possible, goal := choose(m, c, beta, protected)
	if possible < goal {
		return nil, &OptionError{fmt.Sprintf("remove %v: that is %d channels, of which %d can go: every layer keeps one, and what is protected; use a share of at most %.4g",
			c.Remove, goal, possible, math.Floor(1e4*c.Remove*float64(possible)/float64(goal))/1e4)}
	}
	clamped, err := p.Apply(m)
	if err != nil {
		return nil, err
	}
	return p, p.describe(clamped)
}

// choose makes the plan without its numbers, and says how many channels it holds,
// and how many of them it was to hold.
func choose(m *engine.Model, c Choice, beta string, protected []bool) (p *Plan, count, goal int) {
	candidates, limits, total := c.candidates(m, protected)
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.size, b.size) })
	goal = total
	if c.Remove > 0 {
		goal = int(math.Round(c.Remove * float64(total)))
	}
	gone := make([]map[int]bool, len(limits))
	for _, x := range candidates {
		if count == goal || c.Remove == 0 && x.size >= c.Threshold {
			break
		}
		if len(gone[x.unit]) == limits[x.unit] {
			continue
		}
		if gone[x.unit] == nil {
			gone[x.unit] = map[int]bool{}
		}
		gone[x.unit][x.channel] = true
		count++
	}
	if c.Remove == 0 {
		goal = count // whatever is below the threshold
	}
	p = &Plan{Arch: m.Network.Name, Choice: c, Beta: beta}
	p.Choice.Source = m.Source.SHA256
	for i := range m.Network.Units {
		gamma := m.Params.Of(i, arch.Gamma)
		if gamma == nil {
			continue
		}
		l := PlannedLayer{Name: m.Network.Units[i].BN, Channels: len(gamma), Kept: []int{}}
		for channel := range gamma {
			if !gone[i][channel] {
				l.Kept = append(l.Kept, channel)
			}
		}
		p.Layers = append(p.Layers, l)
	}
	return p, count, goal
}

// check refuses numbers that mean nothing.
func (c *Choice) check() error {
	switch {
	case c.Threshold != 0 && c.Remove != 0:
		return &OptionError{"a threshold and a share to remove exclude each other: use one of them"}
	case c.Remove == 0 && (!(c.Threshold > 0) || math.IsInf(c.Threshold, 0)):
		return &OptionError{fmt.Sprintf("threshold %v; use a positive number, e.g. 0.01", c.Threshold)}
	case c.Remove != 0 && !(c.Remove > 0 && c.Remove < 1):
		return &OptionError{fmt.Sprintf("remove %v; use a share of all channels between 0 and 1, e.g. 0.3", c.Remove)}
	case c.MaxPerLayer != 0 && !(c.MaxPerLayer > 0 && c.MaxPerLayer <= 1):
		return &OptionError{fmt.Sprintf("%v of a layer at most; use a share above 0 and up to 1, e.g. 0.5", c.MaxPerLayer)}
	}
	return nil
}

// candidates returns the channels that may go, by unit how many of them, and the
// number of all channels.
func (c *Choice) candidates(m *engine.Model, protected []bool) (all []candidate, limits []int, total int) {
	limits = make([]int, len(m.Network.Units))
	for i := range m.Network.Units {
		gamma := m.Params.Of(i, arch.Gamma)
		total += len(gamma)
		if protected[i] {
			continue
		}
		limits[i] = len(gamma)
		if c.Remove > 0 {
			limits[i] = max(len(gamma)-1, 0)
		}
		if c.MaxPerLayer > 0 {
			limits[i] = min(limits[i], int(c.MaxPerLayer*float64(len(gamma))))
		}
		for channel, g := range gamma {
			if size := math.Abs(float64(g)); !math.IsNaN(size) {
				all = append(all, candidate{i, channel, size})
			}
		}
	}
	return all, limits, total
}

// protected says by unit whether its BatchNorm keeps all channels.
func (c *Choice) protected(net *arch.Network) ([]bool, error) {
	protected := make([]bool, len(net.Units))
	for _, pattern := range c.Protect {
		found := false
		for i := range net.Units {
			name := net.Units[i].BN
			match, err := path.Match(pattern, name)
			if err != nil {
				return nil, &OptionError{fmt.Sprintf("protect %q is not a pattern: %v", pattern, err)}
			}
			if match && name != "" {
				protected[i], found = true, true
			}
		}
		if !found {
			i := slices.IndexFunc(net.Units, func(u arch.Unit) bool { return u.BN != "" })
			return nil, &OptionError{fmt.Sprintf("protect %q: no layer has that name; use names or patterns of BatchNorms, e.g. %s or blocks.*.bn2", pattern, net.Units[max(i, 0)].BN)}
		}
	}
	return protected, nil
}

// Apply returns a variant of m in which the channels that the plan leaves out are
// held constant: γ is 0, and so is β with BetaZeroed; Kept says which they are. m
// stays as it is. The error is an *OptionError for a plan that is not for m's
// network.
func (p *Plan) Apply(m *engine.Model) (*engine.Model, error) {
	kept, err := p.kept(m.Network)
	if err != nil {
		return nil, err
	}
	clamped := m.Variant()
	clamped.Kept = kept
	for i := range m.Network.Units {
		gamma, beta := clamped.Params.Of(i, arch.Gamma), clamped.Params.Of(i, arch.Beta)
		for c := range gamma {
			if stays(kept[i], c) {
				continue
			}
			gamma[c] = 0
			if p.Beta == BetaZeroed && beta != nil {
				beta[c] = 0
			}
		}
	}
	return clamped, nil
}

// stays reports whether a unit's channel is one of those kept; nil keeps all.
func stays(kept []int, channel int) bool {
	_, found := slices.BinarySearch(kept, channel)
	return found || kept == nil
}

// kept is the plan as engine.Model.Kept has it, having checked it against the
// network.
func (p *Plan) kept(net *arch.Network) ([][]int, error) {
	if p.Arch != net.Name {
		return nil, &OptionError{fmt.Sprintf("the plan is for %s, the model is %s", p.Arch, net.Name)}
	}
	kept := make([][]int, len(net.Units))
	for _, l := range p.Layers {
		i := slices.IndexFunc(net.Units, func(u arch.Unit) bool { return u.BN == l.Name && l.Name != "" })
		fail := func(format string, args ...any) error {
			return &OptionError{fmt.Sprintf("the plan's layer %s ", l.Name) + fmt.Sprintf(format, args...)}
		}
		switch {
		case i < 0:
			return nil, fail("is not a BatchNorm of %s", net.Name)
		case kept[i] != nil:
			return nil, fail("is there twice")
		case net.Units[i].NoScale:
			return nil, fail("has no γ: nothing of it can be pruned, leave it out")
		case l.Channels != net.Units[i].OutShape.C:
			return nil, fail("has %d channels, in the network it has %d", l.Channels, net.Units[i].OutShape.C)
		}
		previous := -1
		for _, c := range l.Kept {
			switch {
			case c < 0 || c >= l.Channels:
				return nil, fail("keeps channel %d; it has channels 0 to %d", c, l.Channels-1)
			case c <= previous:
				return nil, fail("keeps channel %d after %d: list each once, in ascending order", c, previous)
			}
			previous = c
		}
		kept[i] = append([]int{}, l.Kept...)
	}
	return kept, nil
}

// describe sets the plan's numbers to those of the model that Apply returned.
func (p *Plan) describe(clamped *engine.Model) error {
	small, compacted, err := clamped.Compact()
	if err != nil {
		return err
	}
	p.Channels, p.Clamped, p.Removed = 0, 0, 0
	for _, l := range layersOf(clamped, compacted.Origins) {
		p.Channels += l.Channels
		p.Clamped += l.Clamped
		p.Removed += l.Removed
	}
	p.MACsBefore, p.MACsAfter = clamped.Network.MACs(), small.Network.MACs()
	p.ParametersBefore, p.ParametersAfter = arch.All.Parameters(clamped.Network), arch.All.Parameters(small.Network)
	return nil
}
