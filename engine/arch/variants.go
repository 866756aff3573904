package arch

import (
	"fmt"
	"iter"
	"path"
	"reflect"
	"slices"
	"strings"
)

// Variants are the ways in which a network may differ from the network that its name
// stands for. The zero value changes nothing.
type Variants struct {
	// Stem is ImageNetStem or CIFARStem; "" stands for ImageNetStem. Only ImageNet
	// ResNets have a choice of stem.
	Stem string `json:"stem,omitempty"`

	// Width multiplies the output channels of every convolution, rounded to a
	// whole number (halves up) and at least 1; 0 stands for 1. A unit may have at most
	// 4096 channels.
	Width float64 `json:"width,omitempty"`

	// BN is NoBN for a network without BatchNorm, and "" otherwise. If BNEvery is
	// K > 1, BatchNorm follows the first convolution and one in every K convolutions
	// after it. Shortcuts keep their BatchNorms. A convolution without BatchNorm has a
	// bias instead.
	BN      string `json:"bn,omitempty"`
	BNEvery int    `json:"bn_every,omitempty"`

	// NoScale lists the BatchNorms whose γ is fixed at 1, and NoShift those whose β is
	// fixed at 0. The elements of a list are names ("blocks.0.bn1") or patterns of
	// path.Match ("blocks.*.bn2", or "*" for all), separated by commas.
	NoScale string `json:"no_scale,omitempty"`
	NoShift string `json:"no_shift,omitempty"`
}

// All yields the name (such as "bn_every", as in files) and the value of each field that
// is not zero, in the order of the fields.
func (v Variants) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		fields := reflect.ValueOf(v)
		for i := range fields.NumField() {
			name, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
			if f := fields.Field(i); !f.IsZero() && !yield(name, fmt.Sprint(f)) {
				return
			}
		}
	}
}

// NoBN is the Variants.BN of a network without BatchNorm.
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

// fix calls do for the units whose BatchNorms match a comma-separated list of patterns. It
// returns an error if a pattern matches no BatchNorm.
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
