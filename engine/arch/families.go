package arch

import (
	"fmt"
	"slices"
	"strings"
)

// family is a kind of network. To add a family, define it in a new file and list it in
// families.
type family struct {
	// names lists the names of the family's networks, and patterns of names, such as
	// resnet-N.
	names []string

	// build appends the units of the network that n.Name names. It returns the options
	// that the network supports, and reports whether the network belongs to the family.
	build func(n *Network) (supported supportedOptions, known bool, err error)
}

// supportedOptions records which of the options that only some networks have are supported.
type supportedOptions struct {
	optionA bool // shortcuts without parameters
	stem    bool // a choice of stem
}

// families lists all families, in the order in which Names lists them and in which they are
// searched for a name.
var families = []family{cifarResNets, plainNetworks, vgg38, imageNetResNets}

// build appends the units of the network that n.Name names.
func (n *Network) build(o Options) error {
	supported, err := n.buildByName()
	switch {
	case err != nil:
		return err
	case o.Shortcut != OptionB && !supported.optionA:
		return &Error{Name: n.Name, Option: "shortcut", Reason: "only CIFAR ResNets (resnet-N, wrn-N-K) have shortcuts of option A"}
	case o.Stem != "" && !supported.stem:
		return &Error{Name: n.Name, Option: "stem", Reason: "only ImageNet ResNets (resnet18, resnet50, ...) allow a choice of stem"}
	case o.Stem != "" && o.Stem != ImageNetStem && o.Stem != CIFARStem:
		return &Error{Name: n.Name, Option: "stem", Reason: fmt.Sprintf("unknown stem %.40q; use imagenet or cifar", o.Stem)}
	}
	return nil
}

// buildByName tries the families in order until one knows n.Name.
func (n *Network) buildByName() (supportedOptions, error) {
	for _, f := range families {
		if supported, known, err := f.build(n); known || err != nil {
			return supported, err
		}
	}
	return supportedOptions{}, &Error{Name: n.Name, Reason: "unknown; use one of: " + strings.Join(Names(), ", ") + "; " + cifarForms}
}

// Names returns the names of all networks, and patterns of names, such as resnet-N.
func Names() []string {
	var names []string
	for _, f := range families {
		names = slices.Concat(names, f.names)
	}
	return names
}
