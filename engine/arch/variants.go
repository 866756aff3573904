package arch

import (
	"fmt"
	"iter"
	"path"
	"reflect"
	"strings"
)

// Variants holds changes to the network that a name specifies. The zero value changes nothing.
type Variants struct {
	// Stem is ImageNetStem or CIFARStem; "" stands for ImageNetStem. Only ImageNet
	// ResNets have a choice of stem.
	Stem string `json:"stem,omitempty"`

	// Width multiplies the output channels of every convolution, rounded to a
	// whole number (halves up) and at least 1; 0 stands for 1. A unit may have at most
	// 4096 channels.
	Width float64 `json:"width,omitempty"`

	// BN is NoBN for a network without BatchNorm, and "" otherwise. If BNEvery is
	// K > 1, BatchNorm follows the first convolution, the second, and every K-th
	// convolution after the second. Shortcuts keep their BatchNorms then. A convolution
	// that loses its BatchNorm gets a bias.
	BN      string `json:"bn,omitempty"`
	BNEvery int    `json:"bn_every,omitempty"`

	// NoScale lists the BatchNorms whose γ is fixed at 1, and NoShift those whose β is
	// fixed at 0. The elements of a list are names ("blocks.0.bn1") or patterns of
	// path.Match ("blocks.*.bn2", or "*" for all), separated by commas.
	NoScale string `json:"no_scale,omitempty"`
	NoShift string `json:"no_shift,omitempty"`
}

// All yields the name in files, such as "bn_every", and the value of each field that is not
// zero, in the order of the fields.
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

// applyVariants removes BatchNorms, scales and shifts from a network that was built with all of
// them. A convolution that loses its BatchNorm gets a bias.
func (n *Network) applyVariants(o Options) error {
	switch {
	case o.BN != "" && o.BN != NoBN:
		return &Error{Name: n.Name, Option: "bn", Reason: fmt.Sprintf("%.40q is unknown; use none, or leave it out for a BatchNorm after each convolution", o.BN)}
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
	if err := n.forMatchingBatchNorms("no_scale", o.NoScale, func(u *Unit) { u.NoScale = true }); err != nil {
		return err
	}
	return n.forMatchingBatchNorms("no_shift", o.NoShift, func(u *Unit) { u.NoShift = true })
}

// These limits bound the time for matching patterns, which may come from a file. A list of
// more names than there are BatchNorms is refused as well.
const (
	maxPatterns      = 64  // elements that are not the name of a BatchNorm
	maxPatternLength = 256 // bytes
)

// forMatchingBatchNorms calls do for the units whose BatchNorms match a comma-separated list of
// names and patterns. It fails if an element matches none, or if the list exceeds a limit.
func (n *Network) forMatchingBatchNorms(option, list string, do func(*Unit)) error {
	if list == "" {
		return nil
	}
	fail := func(format string, args ...any) error {
		return &Error{Name: n.Name, Option: option, Reason: fmt.Sprintf(format, args...)}
	}
	byName := map[string]*Unit{}
	firstName := ""
	for i := range n.Units {
		if u := &n.Units[i]; u.BN != "" {
			byName[u.BN] = u
			if firstName == "" {
				firstName = u.BN
			}
		}
	}
	switch names := strings.Count(list, ",") + 1; {
	case len(byName) == 0:
		return fail("the network has no BatchNorm")
	case names > len(byName):
		return fail("it lists %d names or patterns, but the network has %d BatchNorms", names, len(byName))
	}
	patterns := 0
	for pattern := range strings.SplitSeq(list, ",") {
		if u := byName[pattern]; u != nil {
			do(u)
			continue
		}
		if patterns++; patterns > maxPatterns || len(pattern) > maxPatternLength {
			return fail("it has more than %d patterns, or one of more than %d bytes; use fewer and shorter patterns, e.g. *", maxPatterns, maxPatternLength)
		}
		found := false
		for name, u := range byName {
			if match, err := path.Match(pattern, name); err == nil && match {
				do(u)
				found = true
			}
		}
		if !found {
			return fail("no BatchNorm matches %q; use names or patterns of them, e.g. %s or *", pattern, firstName)
		}
	}
	return nil
}
