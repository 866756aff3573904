// Package archtest lists the networks for tests that go over all there are.
package archtest

import (
	"strings"
	"testing"

	"bnkit/engine/arch"
)

// Network is one that arch.Build builds.
type Network struct {
	Name    string
	Options arch.Options // for 10 classes
}

// String is a name for a subtest.
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

// smallest stands for a pattern of arch.Names.
var smallest = map[string]string{
	"resnet-N": "resnet-8", "wrn-N-K": "wrn-8-2", "resnet-N-bottleneck": "resnet-11-bottleneck",
	"resnetA-B-C-D": "resnet1-1-2-1", "resnetA-B-C-D-bottleneck": "resnet1-2-1-1-bottleneck",
}

// manyParameters is how many a network has at most at its full width.
const manyParameters = 1 << 20

// Networks lists, of every one of arch.Names, or the smallest network of a
// pattern, each stem and each shortcut that it can have: narrow times as wide
// where it has many parameters, on the smallest square of colour pictures that
// its pools leave something of.
func Networks(t *testing.T, narrow float64) []Network {
	var all []Network
	for _, name := range arch.Names() {
		if s, ok := smallest[name]; ok {
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
			t.Fatalf("%s is one of arch.Names, but nothing can be built of it; a pattern needs an example", name)
		}
	}
	return all
}
