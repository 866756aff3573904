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

// Plan lists the channels that each layer of a network keeps when the others are pruned. It is
// made from a model, or read from a file, which may have been edited.
type Plan struct {
	Arch   string `json:"arch"`   // the network's name
	Choice Choice `json:"choice"` // how the channels were chosen
	Beta   string `json:"beta"`   // what happens to β of pruned channels: BetaKept, BetaZeroed or BetaMean

	// The effect of the plan on the network. MakePlan computes these numbers again,
	// because those in an edited file describe the plan before the edit.
	Channels         int   `json:"channels"` // channels of BatchNorms that have γ
	Clamped          int   `json:"clamped"`  // channels that are held constant
	Removed          int   `json:"removed"`  // clamped channels that are removed; the others are needed for residual sums or shapes
	MACsBefore       int64 `json:"macs_before"`
	MACsAfter        int64 `json:"macs_after"`
	ParametersBefore int   `json:"parameters_before"`
	ParametersAfter  int   `json:"parameters_after"`

	Layers []PlannedLayer `json:"layers"` // BatchNorms, in the network's order; a BatchNorm that is missing keeps all channels
}

// Choice records how a plan's channels were chosen. Criteria that were not used are
// missing.
type Choice struct {
	Threshold   float64  `json:"threshold,omitempty"`     // channels with |γ| below this are pruned
	Remove      float64  `json:"remove,omitempty"`        // this share of all channels is pruned, beginning with the least important
	Protect     []string `json:"protect,omitempty"`       // names or patterns of layers that keep all channels
	MaxPerLayer float64  `json:"max_per_layer,omitempty"` // largest share of a layer's channels that may be pruned
	Source      string   `json:"source_sha256,omitempty"` // SHA-256 of the file whose channels were compared
	Policy               // how channels were compared; zero for |γ| of each channel alone
	Target               // how much was to be pruned; zero for a threshold or a share
}

// PlannedLayer is one BatchNorm of a plan.
type PlannedLayer struct {
	Name     string `json:"name"`
	Channels int    `json:"channels"`
	Kept     []int  `json:"kept"` // indices from 0, ascending

	// Constants holds β of pruned channels, by their index, if Plan.Beta is BetaMean.
	// A pruned channel that is missing keeps its β.
	Constants map[int]float32 `json:"constants,omitempty"`
}

// The values of Plan.Beta: β of pruned channels is kept, set to 0, or set so that the channel's
// output becomes its mean before pruning.
const (
	BetaKept   = "kept"
	BetaZeroed = "zeroed"
	BetaMean   = "mean"
)

// candidate is a channel that may be pruned.
type candidate struct {
	unit, channel int
	magnitude     float64 // |γ|
}

// NewPlan returns the plan for m that c describes. A threshold prunes all channels with a
// smaller |γ| that Protect and MaxPerLayer allow, even a whole layer. With a share to remove, each
// layer keeps at least one channel. The error is an *OptionError if c is invalid or cannot be
// satisfied.
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
		return nil, &OptionError{fmt.Sprintf("remove %v: this share is %d channels, but only %d can be pruned, because of protected layers, the largest share per layer, and the channel that every layer keeps; use a share of at most %.4g",
			c.Remove, goal, possible, math.Floor(1e4*c.Remove*float64(possible)/float64(goal))/1e4)}
	}
	clamped, err := p.Apply(m)
	if err != nil {
		return nil, err
	}
	return p, p.describe(clamped)
}

// choose returns a plan p without the numbers that describe its effect, the number of channels
// that p prunes, and the number that c requests, which may be larger.
func choose(m *engine.Model, c Choice, beta string, protected []bool) (p *Plan, count, goal int) {
	candidates, limits, total := c.candidates(m, protected)
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.magnitude, b.magnitude) })
	goal = total
	if c.Remove > 0 {
		goal = int(math.Round(c.Remove * float64(total)))
	}
	pruned := make([]map[int]bool, len(limits))
	for i := range pruned {
		for channel := range m.Params.Of(i, arch.Gamma) {
			if isPruned(m, i, channel) {
				if pruned[i] == nil {
					pruned[i] = map[int]bool{}
				}
				pruned[i][channel] = true
				count++
			}
		}
	}
	for _, x := range candidates {
		if count >= goal || c.Remove == 0 && x.magnitude >= c.Threshold {
			break
		}
		if len(pruned[x.unit]) >= limits[x.unit] || pruned[x.unit][x.channel] {
			continue
		}
		if pruned[x.unit] == nil {
			pruned[x.unit] = map[int]bool{}
		}
		pruned[x.unit][x.channel] = true
		count++
	}
	if c.Remove == 0 {
		goal = count // a threshold does not request a number of channels
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
			if !pruned[i][channel] {
				l.Kept = append(l.Kept, channel)
			}
		}
		p.Layers = append(p.Layers, l)
	}
	return p, count, goal
}

// check returns an error if a number is out of range, or if both a threshold and a share
// are set.
func (c *Choice) check() error {
	switch {
	case c.Threshold != 0 && c.Remove != 0:
		return &OptionError{"a threshold and a share to remove cannot be combined; use one of them"}
	case c.Remove == 0 && (!(c.Threshold > 0) || math.IsInf(c.Threshold, 0)):
		return &OptionError{fmt.Sprintf("threshold %v is out of range; use a positive number, e.g. 0.01", c.Threshold)}
	case c.Remove != 0 && !(c.Remove > 0 && c.Remove < 1):
		return &OptionError{fmt.Sprintf("remove %v is out of range; use a share of all channels between 0 and 1, e.g. 0.3", c.Remove)}
	case c.MaxPerLayer != 0 && !(c.MaxPerLayer > 0 && c.MaxPerLayer <= 1):
		return &OptionError{fmt.Sprintf("a limit of %v of each layer is out of range; use a share above 0 and up to 1, e.g. 0.5", c.MaxPerLayer)}
	}
	return nil
}

// candidates returns the channels that may be pruned, the largest number of them that
// may be pruned in each unit, and the number of all channels.
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
			if magnitude := math.Abs(float64(g)); !math.IsNaN(magnitude) {
				all = append(all, candidate{i, channel, magnitude})
			}
		}
	}
	return all, limits, total
}

// protected returns, for each unit, whether its BatchNorm must keep all channels.
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

// Apply returns a variant of m in which the channels that the plan does not keep are
// held constant: their γ are 0, and their β are set according to Beta and Constants. Channels
// that are pruned in m remain pruned. The variant's Kept lists the channels that stay. The
// trainable set of its Origin, if any, includes γ and β, so that its file stores them. Apply does
// not change m. The error is an *OptionError if the plan does not fit m's network.
func (p *Plan) Apply(m *engine.Model) (*engine.Model, error) {
	kept, err := p.kept(m.Network)
	if err != nil {
		return nil, err
	}
	clamped := m.Variant()
	clamped.Kept = kept
	if m.Origin != nil {
		origin := *m.Origin
		origin.Trainable = origin.Trainable.With(arch.BN)
		clamped.Origin = &origin
	}
	constants := map[string]map[int]float32{}
	for _, l := range p.Layers {
		constants[l.Name] = l.Constants
	}
	for i := range m.Network.Units {
		gamma, beta := clamped.Params.Of(i, arch.Gamma), clamped.Params.Of(i, arch.Beta)
		for c := range gamma {
			if isPruned(m, i, c) {
				if kept[i] == nil {
					kept[i] = slices.Clone(m.Kept[i])
				}
				kept[i] = slices.DeleteFunc(kept[i], func(k int) bool { return k == c })
			}
			if stays(kept[i], c) {
				continue
			}
			gamma[c] = 0
			constant, known := constants[m.Network.Units[i].BN][c]
			switch {
			case beta == nil:
			case p.Beta == BetaZeroed:
				beta[c] = 0
			case p.Beta == BetaMean && known:
				beta[c] = constant
			}
		}
	}
	return clamped, nil
}

// isPruned reports whether a unit's channel is pruned in m already.
func isPruned(m *engine.Model, unit, channel int) bool {
	return m.Kept != nil && !stays(m.Kept[unit], channel)
}

// stays reports whether kept, which is in ascending order, contains a unit's channel. A nil
// kept stands for all channels.
func stays(kept []int, channel int) bool {
	_, found := slices.BinarySearch(kept, channel)
	return found || kept == nil
}

// kept checks the plan against the network and returns it as an engine.Model.Kept.
func (p *Plan) kept(net *arch.Network) ([][]int, error) {
	if p.Arch != net.Name {
		return nil, &OptionError{fmt.Sprintf("the plan is for %s, but the model is %s", p.Arch, net.Name)}
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
			return nil, fail("is listed twice")
		case net.Units[i].NoScale:
			return nil, fail("has no γ, so it cannot be pruned; leave it out")
		case l.Channels != net.Units[i].OutShape.C:
			return nil, fail("has %d channels, but in the network it has %d", l.Channels, net.Units[i].OutShape.C)
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
		for c, v := range l.Constants {
			if c < 0 || c >= l.Channels || math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fail("sets channel %d to %v; it has channels 0 to %d, and constants must be finite", c, v, l.Channels-1)
			}
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
