// Package archtest lists the networks of package arch for tests that cover all of them.
package archtest

import (
	"strings"
	"testing"

	"bnkit/engine/arch"
)

// Network is a network that arch.Build builds.
type Network struct {
	Name    string
	Options arch.Options // with 10 classes
}

// String returns a name for a subtest.
func (n *Network) String() string {
	words := []string{n.Name}
	if n.Options.Width != 0 {
		words = append(words, "narrow")
	}
	if n.Options.Stem != "" {
		words = append(words, "stem "+n.Options.Stem)
	}
	if n.Options.Shortcut != "" {
		words = append(words, "option "+string(n.Options.Shortcut))
	}
	return strings.Join(words, ", ")
}

// examples holds a small network of each pattern of arch.Names.
var examples = map[string]string{
	"resnet-N": "resnet-8", "wrn-N-K": "wrn-8-2", "resnet-N-bottleneck": "resnet-11-bottleneck",
	"resnetA-B-C-D": "resnet1-1-2-1", "resnetA-B-C-D-bottleneck": "resnet1-2-1-1-bottleneck",
}

// manyParameters is the largest number of parameters with which Networks keeps the full
// width of a network.
const manyParameters = 1 << 20

// Networks lists every network of arch.Names, and a small network of each pattern. A network
// that supports the CIFAR stem or shortcuts of option A is also listed with these. Its
// pictures are the smallest colour squares of side 8, 16 or 32 that it accepts. A network
// with more than manyParameters parameters has the width narrow.
func Networks(t *testing.T, narrow float64) []Network {
	var all []Network
	for _, name := range arch.Names() {
		if s, ok := examples[name]; ok {
			name = s
		}
		before := len(all)
		for _, stem := range []string{"", arch.CIFARStem} {
			for _, shortcut := range []arch.Shortcut{"", arch.OptionA} {
				o := arch.Options{Classes: 10, Shortcut: shortcut, Variants: arch.Variants{Stem: stem}}
				for _, side := range []int{8, 16, 32} {
					o.Input = arch.Shape{C: 3, H: side, W: side}
					net, err := arch.Build(name, o)
					if err != nil {
						continue
					}
					if arch.All.Parameters(net) > manyParameters {
						o.Width = narrow
					}
					all = append(all, Network{name, o})
					break
				}
			}
		}
		if len(all) == before {
			t.Fatalf("%s is in arch.Names but cannot be built; if it is a pattern, add a network to examples", name)
		}
	}
	return all
}
