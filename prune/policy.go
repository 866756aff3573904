package prune

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// Policy specifies a measure of the importance of channels, and how channels are compared by it.
type Policy struct {
	Importance Importance `json:"policy,omitempty"`         // empty for DefaultImportance
	Scope      Scope      `json:"scope,omitempty"`          // which channels compete; empty for GlobalScope
	Normalise  bool       `json:"normalise,omitempty"`      // divide by the mean importance of the same layers
	PerMAC     float64    `json:"per_mac,omitempty"`        // divide by this power of the number of MACs that the removal saves: 0 does not divide, 1 gives the importance per MAC
	Seed       uint64     `json:"policy_seed,omitempty"`    // of Random
	Batches    int        `json:"policy_batches,omitempty"` // training batches over which an importance is measured; 0 for DefaultBatches
}

// Importance is the name of a measure of a channel's importance.
type Importance string

// The importances. The importance of a group of channels is the sum over its channels, except
// for Logits, which changes them together, and Random, which draws one number for a group.
const (
	Gamma      Importance = "gamma"
	GammaReads Importance = "gamma-reads"
	L1         Importance = "l1"
	Taylor     Importance = "taylor"
	Change     Importance = "change"
	Logits     Importance = "logits"
	Active     Importance = "active"
	Random     Importance = "random"
)

// Importances lists the importances with their meanings, for help texts.
var Importances = []struct {
	Name    Importance
	Meaning string
}{
	{Gamma, "|γ|"},
	{GammaReads, "|γ| times the norm of the weights that read the channel"},
	{L1, "L1 norm of the filter that computes the channel"},
	{Taylor, "|γ·∂L/∂γ|, the change of the loss to first order (with β's part if β is zeroed)"},
	{Change, "change of the next layers' inputs when the channel becomes its mean"},
	{Logits, "change of the logits, to first order, when the channel becomes its mean"},
	{Active, "share of the channel's outputs that are not zero"},
	{Random, "a random number, as a control"},
}

// DefaultBatches is the default of Policy.Batches.
const DefaultBatches = 20

// measureBatch is the number of pictures in a batch over which an importance is measured, unless
// the training split has fewer.
const measureBatch = 64

// DefaultImportance returns the importance for a policy or target that names none: Gamma for a
// network whose convolutions all have their random initial values, so that their filters are
// alike and γ alone tells channels apart, and Change for other networks. docs/pruning.md has
// the measurements.
func DefaultImportance(m *engine.Model) Importance {
	if m.Origin == nil {
		return Change
	}
	for _, t := range m.Network.Tensors() {
		if t.Kind == arch.ConvWeight && m.Origin.Trainable.Trains(&t) {
			return Change
		}
	}
	return Gamma
}

// measured reports whether the importance needs data.
func (i Importance) measured() bool {
	return i == Taylor || i == Change || i == Logits || i == Active
}

// check returns an *OptionError for an unknown name or a number out of range.
func (p *Policy) check() error {
	var names []string
	for _, i := range Importances {
		if i.Name == p.Importance {
			names = nil
			break
		}
		names = append(names, string(i.Name))
	}
	switch {
	case names != nil && p.Importance != "":
		return &OptionError{fmt.Sprintf("unknown policy %q; use one of: %s", p.Importance, strings.Join(names, ", "))}
	case p.Scope != "" && !slices.Contains(Scopes, p.Scope):
		return &OptionError{fmt.Sprintf("unknown scope %q; use global, layer or stage", p.Scope)}
	case !(p.PerMAC >= 0 && p.PerMAC <= 2):
		return &OptionError{fmt.Sprintf("a power of %v of the multiply-adds is out of range; use 0 to 2", p.PerMAC)}
	case p.Batches < 0:
		return &OptionError{fmt.Sprintf("%d batches to measure importance over are out of range; use at least 1", p.Batches)}
	}
	return nil
}

// resolved returns the policy for pruning m, with defaults for fields that are not set.
func (p Policy) resolved(m *engine.Model) Policy {
	if p.Importance == "" {
		p.Importance = DefaultImportance(m)
	}
	p.Scope = cmp.Or(p.Scope, GlobalScope)
	if p.Importance.measured() {
		p.Batches = cmp.Or(p.Batches, DefaultBatches)
	} else {
		p.Batches = 0
	}
	return p
}
