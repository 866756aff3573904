package convert

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bnkit/engine/arch"
)

// match is a network that the tensors may belong to.
type match struct {
	net        *arch.Network
	sourceName func(layer string) string // returns a layer's name in the state dict, given the canonical one
	linear     map[int]bool              // by unit, whether it is a linear layer in the state dict
	evidence   []string                  // the reasons for choosing this network
}

// match recognises the network by a few names and shapes.
func (d *dict) match(o Options) (*match, error) {
	switch {
	case d.has("layer1.0.conv1.weight"):
		return d.matchLayered(o)
	case d.has("features.0.weight"):
		return d.matchVGG(o)
	case d.has("blocks.0.conv1.weight"):
		blocks := d.count("blocks.%d.conv1.weight")
		if d.has("blocks.0.conv3.weight") {
			return d.matchCanonical(o, fmt.Sprintf("resnet-%d-bottleneck", 3*blocks+2), "")
		}
		return d.matchCanonical(o, fmt.Sprintf("resnet-%d", 2*blocks+2), arch.OptionA)
	case d.has("layers.0.conv.weight"):
		name, ok := d.plainName()
		if !ok && o.Arch == "" {
			return nil, misfit("the convolutions layers.N.conv are not numbered as in any of open_lth's plain networks")
		}
		return d.matchCanonical(o, name, "")
	case d.has("block_0_0.conv_0.weight"):
		return d.matchCanonical(o, "vgg-38", "")
	}
	example := d.tensors[slices.Min(slices.Collect(maps.Keys(d.tensors)))].Name
	return nil, misfit("the %d tensors, such as %s, do not belong to a network that can be recognised: a ResNet of torchvision or timm, a CIFAR ResNet, a VGG, or a network that bnkit exported", len(d.tensors), example)
}

// usualChannels is the assumed number of a picture's channels if no tensor determines it.
const usualChannels = 3

// The usual sides of pictures of CIFAR, MNIST and ImageNet.
const (
	smallSide = 32
	digitSide = 28
	largeSide = 224
)

// build builds the network o.Arch or, if that is "", the network name. stem is the name of the
// first convolution, and head the name of the output layer.
func (d *dict) build(o Options, name, stem, head string, usualSide int) (*arch.Network, error) {
	if o.Arch != "" {
		name = o.Arch
	}
	input := arch.Shape{C: d.dim(stem, 1), H: usualSide, W: usualSide}
	if input.C == 0 {
		input.C = usualChannels
	}
	if o.Pictures != [2]int{} {
		input.H, input.W = o.Pictures[0], o.Pictures[1]
	}
	net, err := arch.Build(name, arch.Options{Input: input, Classes: d.dim(head, 0), Shortcut: o.Shortcut, Variants: o.Variants})
	var wrong *arch.Error
	if errors.As(err, &wrong) && o.Arch == "" && o.Pictures == [2]int{} && wrong.Option == "" {
		return nil, misfit("it looks like %s, but %s", name, wrong.Reason) // the caller is not at fault
	}
	return net, err
}

// output returns the name of the output layer, which is the first of the given layers that
// has a weight.
func (d *dict) output(layers ...string) (string, error) {
	for _, layer := range layers {
		x, ok := d.tensors[layer+".weight"]
		switch {
		case ok && d.dim(layer, 0) == 0:
			return "", &Error{x.Name, fmt.Sprintf("has shape %s, want [classes×features] with 1 to %d classes", formatShape(x.Shape), maxChannels)}
		case ok:
			return layer, nil
		}
	}
	return "", misfit("there is no output layer; want a layer that is called %s", strings.Join(layers, " or "))
}

// renameLayer returns a function that maps the layer name canonical to source, and all other
// names to themselves.
func renameLayer(canonical, source string) func(layer string) string {
	return func(layer string) string {
		if layer == canonical {
			return source
		}
		return layer
	}
}

// matchCanonical builds a network whose tensors have the names of package arch. parameterless
// is the kind of its shortcuts if they have no tensors, or "" if none can be without tensors.
func (d *dict) matchCanonical(o Options, name string, parameterless arch.Shortcut) (*match, error) {
	head, err := d.output("fc", "linear")
	if err != nil {
		return nil, err
	}
	m := &match{sourceName: renameLayer("fc", head), evidence: []string{"names as open_lth and bnkit write them"}}
	if parameterless != "" && o.Shortcut == "" {
		o.Shortcut = d.shortcut(m, "shortcut", parameterless)
	}
	side := smallSide
	if name == "convnet" {
		side = digitSide
	}
	stem := "conv"
	for _, layer := range []string{"layers.0.conv", "input_conv.conv_0"} {
		if d.has(layer + ".weight") {
			stem = layer
		}
	}
	m.net, err = d.build(o, name, stem, head, side)
	return m, err
}

// shortcut returns the kind of a CIFAR ResNet's shortcuts, and adds the evidence to m. The names
// of a shortcut's tensors contain word. parameterless is the kind of shortcuts without tensors.
func (d *dict) shortcut(m *match, word string, parameterless arch.Shortcut) arch.Shortcut {
	for name := range d.tensors {
		if strings.HasSuffix(name, "."+word+".1.weight") {
			m.evidence = append(m.evidence, fmt.Sprintf("option-B shortcuts (1×1 convolutions and BatchNorms), since there are %s weights", word))
			return arch.OptionB
		}
	}
	position := "after the other channels"
	if parameterless == arch.OptionACentred {
		position = "half before and half after the other channels"
	}
	m.evidence = append(m.evidence, fmt.Sprintf("option-A shortcuts, since there are no %s weights; channels of zeros are assumed to be %s, as is usual with these names", word, position))
	return parameterless
}

// plainName returns the name of the plain network whose convolutions have the same numbers as
// the tensors, and reports whether there is one.
func (d *dict) plainName() (string, bool) {
	var want []string
	for name := range d.tensors {
		if layer, ok := strings.CutSuffix(name, ".conv.weight"); ok {
			want = append(want, layer)
		}
	}
	slices.Sort(want)
	for _, name := range arch.Names() {
		net := example(name)
		if net == nil {
			continue
		}
		var layers []string
		for i := range net.Units {
			if layer, ok := strings.CutSuffix(net.Units[i].Name, ".conv"); ok {
				layers = append(layers, layer)
			}
		}
		slices.Sort(layers)
		if slices.Equal(layers, want) {
			return name, true
		}
	}
	return "", false
}

// example returns the network with the given name for small pictures, or nil if there is none.
func example(name string) *arch.Network {
	net, err := arch.Build(name, arch.Options{Input: arch.Shape{C: usualChannels, H: smallSide, W: smallSide}, Classes: 2})
	if err != nil {
		return nil
	}
	return net
}
