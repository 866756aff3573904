package arch

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// NoBN is the Options.BN of a network without BatchNorm.
const NoBN = "none"

// vary removes BatchNorms, scales and shifts from a network that was built with all of
// them. A convolution that loses its BatchNorm gets a bias.
func (n *Network) vary(o Options) error {
	switch {
	case o.BN != "" && o.BN != NoBN:
		return &Error{Name: n.Name, Option: "bn", Reason: fmt.Sprintf("%q is unknown; use none, or leave it out for a BatchNorm after each convolution", o.BN)}
	case o.BNEvery < 0:
		return &Error{Name: n.Name, Option: "bn_every", Reason: fmt.Sprintf("%d is negative; use a number of convolutions, e.g. 2", o.BNEvery)}
	case o.BN == NoBN && o.BNEvery > 0:
		return &Error{Name: n.Name, Option: "bn_every", Reason: fmt.Sprintf("%d has no effect without BatchNorm", o.BNEvery)}
	}
	convolutions := 0 // excluding the first, and those of shortcuts
	for i := range n.Units {
		u := &n.Units[i]
		drop := o.BN == NoBN
		if u.Op == Convolution && u.In != Picture && !u.Shortcut {
			drop = drop || o.BNEvery > 1 && convolutions%o.BNEvery != 0
			convolutions++
		}
		if drop && u.BN != "" {
			u.BN, u.Bias = "", u.Op == Convolution
		}
	}
	if err := n.fix("no_scale", o.NoScale, func(u *Unit) { u.NoScale = true }); err != nil {
		return err
	}
	return n.fix("no_shift", o.NoShift, func(u *Unit) { u.NoShift = true })
}

// fix calls do for the BatchNorms that match a comma-separated list of patterns. It
// fails if a pattern matches none.
func (n *Network) fix(option, patterns string, do func(*Unit)) error {
	if patterns == "" {
		return nil
	}
	for _, pattern := range strings.Split(patterns, ",") {
		found := false
		for i := range n.Units {
			u := &n.Units[i]
			if match, err := path.Match(pattern, u.BN); err == nil && match && u.BN != "" {
				do(u)
				found = true
			}
		}
		if found {
			continue
		}
		if !n.HasBN() {
			return &Error{Name: n.Name, Option: option, Reason: "the network has no BatchNorm"}
		}
		i := slices.IndexFunc(n.Units, func(u Unit) bool { return u.BN != "" })
		return &Error{Name: n.Name, Option: option, Reason: fmt.Sprintf("no BatchNorm is named %q; use names or patterns of them, e.g. %s or *", pattern, n.Units[i].BN)}
	}
	return nil
}
