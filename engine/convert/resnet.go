package convert

import (
	"fmt"
	"reflect"
	"strings"

	"bnkit/engine/arch"
)

// matchLayered builds a ResNet whose blocks are called layerS.B, for stage S and block B.
func (d *dict) matchLayered(o Options) (*match, error) {
	head, err := d.output("fc", "linear", "classifier")
	if err != nil {
		return nil, err
	}
	var blocks []int // by stage
	for stage := 1; d.has(fmt.Sprintf("layer%d.0.conv1.weight", stage)); stage++ {
		blocks = append(blocks, d.count("layer%d.%d.conv1.weight", stage))
	}
	word := "downsample"
	for name := range d.tensors {
		if strings.Contains(name, ".shortcut.") {
			word = "shortcut"
		}
	}
	m := &match{evidence: []string{fmt.Sprintf("blocks called layerS.B in %d stages, and an output layer called %s", len(blocks), head)}}
	bottleneck := d.has("layer1.0.conv3.weight")
	switch equal := len(blocks) == 3 && blocks[0] == blocks[1] && blocks[1] == blocks[2]; {
	case len(blocks) == 4:
		return m, d.matchImageNet(m, o, imageNetName(blocks, bottleneck), head, word)
	case o.Arch == "" && bottleneck:
		return nil, misfit("a ResNet of bottlenecks with %v blocks in its stages is not supported; use one with four stages", blocks)
	case o.Arch == "" && !equal:
		return nil, misfit("a ResNet with %v blocks in its stages is not supported; use one with four stages, or with three stages that have equally many blocks", blocks)
	}
	if o.Shortcut == "" {
		o.Shortcut = d.shortcut(m, word, arch.OptionACentred)
	}
	if m.net, err = d.build(o, fmt.Sprintf("resnet-%d", 6*blocks[0]+2), "conv1", head, smallSide); err != nil {
		return nil, err
	}
	m.sourceName = cifarLayerNames(countBlocks(m.net)/3, word, head)
	return m, nil
}

// cifarLayerNames returns a function that maps canonical names of a CIFAR ResNet's layers to
// names in the state dict, in which word stands for a shortcut and head is the output layer. Each
// stage has perStage blocks.
func cifarLayerNames(perStage int, word, head string) func(layer string) string {
	return func(layer string) string {
		var block int
		var rest string
		switch n, _ := fmt.Sscanf(layer, "blocks.%d.%s", &block, &rest); {
		case layer == "fc":
			return head
		case layer == "conv" || layer == "bn":
			return layer + "1"
		case n == 2 && perStage > 0:
			rest = strings.Replace(rest, "shortcut.", word+".", 1)
			return fmt.Sprintf("layer%d.%d.%s", block/perStage+1, block%perStage, rest)
		}
		return layer
	}
}

// matchImageNet builds a ResNet of four stages into m. head and word are as in cifarLayerNames.
func (d *dict) matchImageNet(m *match, o Options, name, head, word string) (err error) {
	if o.Stem == "" && d.dim("conv1", 2) == 3 {
		o.Stem = arch.CIFARStem
	}
	side := largeSide
	if o.Stem == arch.CIFARStem {
		side = smallSide
		m.evidence = append(m.evidence, "a first convolution of 3×3, so neither a stride nor a max pool before the blocks")
	} else {
		m.evidence = append(m.evidence, "a first convolution of 7×7, so stride 2 and a max pool before the blocks")
	}
	m.sourceName = func(layer string) string {
		if layer == "fc" {
			return head
		}
		return strings.Replace(layer, ".downsample.", "."+word+".", 1)
	}
	m.net, err = d.build(o, name, "conv1", head, side)
	return err
}

// imageNetName returns the name of the ResNet with the given numbers of blocks in its stages.
// It prefers a common name, e.g. resnet18.
func imageNetName(blocks []int, bottleneck bool) string {
	listed := "resnet" + strings.ReplaceAll(strings.Trim(fmt.Sprint(blocks), "[]"), " ", "-")
	if bottleneck {
		listed += "-bottleneck"
	}
	want := example(listed)
	for _, name := range arch.Names() {
		if net := example(name); want != nil && net != nil && reflect.DeepEqual(net.Units, want.Units) {
			return name
		}
	}
	return listed
}

// convolveMaps replaces a shortcut without weights by a convolution without BatchNorm if the
// state dict has a weight for it. bnkit exports such a convolution if pruning has removed
// channels from the input or the output of the shortcut.
func (m *match) convolveMaps(d *dict) {
	old := m.net.Units
	m.net.Units = nil
	newIndices := make([]int, len(old)) // by old index
	for i, u := range old {
		if u.In != arch.Picture {
			u.In = newIndices[u.In]
		}
		if u.Add.Kind != arch.NoResidual {
			u.Add.From = newIndices[u.Add.From]
		}
		shortcut := u.Name[:strings.LastIndexByte(u.Name, '.')+1] + "shortcut.0"
		if u.Add.Kind == arch.Mapped && d.has(m.sourceName(shortcut)+".weight") {
			index := m.net.Append(arch.Unit{Name: shortcut, In: u.Add.From, Shortcut: true, Kernel: 1, Stride: u.Add.Map.Stride}, u.OutShape.C)
			u.Add = arch.Residual{Kind: arch.Projection, From: index}
		}
		newIndices[i] = m.net.Append(u, u.OutShape.C)
	}
}

// countBlocks returns the number of residual blocks.
func countBlocks(net *arch.Network) int {
	n := 0
	for i := range net.Units {
		if net.Units[i].Add.Kind != arch.NoResidual {
			n++
		}
	}
	return n
}

// rename looks for a name and options from which arch.Build makes the network, and sets them.
// It reports whether it found them.
func (m *match) rename() bool {
	try := func(name string, o arch.Options) bool {
		net, err := arch.Build(name, o)
		if err != nil || !reflect.DeepEqual(net.Units, m.net.Units) {
			return false
		}
		m.net.Name, m.net.Options = name, net.Options
		return true
	}
	name, o := m.net.Name, m.net.Options
	if o.Input.C == 0 {
		return false // it was not built by a name
	}
	if try(name, o) {
		return true
	}
	usual, err := arch.Build(name, o)
	if err != nil || o.Width != 0 {
		return false
	}
	// The whole network may be wider or narrower.
	stem, usualStem := m.net.Units[0].OutShape.C, usual.Units[0].OutShape.C
	if depth, ok := strings.CutPrefix(name, "resnet-"); ok && try(fmt.Sprintf("wrn-%s-%d", depth, stem/usualStem), o) {
		return true
	}
	o.Width = float64(stem) / float64(usualStem)
	return try(name, o)
}
