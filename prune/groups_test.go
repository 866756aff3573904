package prune

import (
	"maps"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/arch/archtest"
)

// stream returns the names of the BatchNorms that share a stream, joined by spaces: first, and
// format with the name of each block in place of *.
func stream(first, format string, blocks ...string) string {
	names := []string{first}
	for _, b := range blocks {
		names = append(names, strings.ReplaceAll(format, "*", b))
	}
	return strings.Join(names, " ")
}

// TestGroups compares the groups of each kind of network with lists written by hand: the
// BatchNorms of a group, and the number of such groups.
func TestGroups(t *testing.T) {
	// addSingle adds groups of one BatchNorm each to want.
	addSingle := func(want map[string]int, channels int, names ...string) {
		for _, n := range names {
			want[n] = channels
		}
	}
	vgg38 := map[string]int{
		stream("input_conv.bn_0", "block_0_*.bn_1", "0", "1", "2", "3", "4"): 32,
	}
	for _, s := range []string{"0", "1", "2"} {
		for _, b := range []string{"0", "1", "2", "3", "4"} {
			vgg38["block_"+s+"_"+b+".bn_0"] = 32
		}
		vgg38["reduction_block_"+s+".bn_0"] = 32
	}
	resnet18 := map[string]int{"bn1 layer1.0.bn2 layer1.1.bn2": 64}
	addSingle(resnet18, 64, "layer1.0.bn1", "layer1.1.bn1")
	for layer, channels := range map[string]int{"layer2": 128, "layer3": 256, "layer4": 512} {
		resnet18[strings.ReplaceAll("*.0.downsample.1 *.0.bn2 *.1.bn2", "*", layer)] = channels
		addSingle(resnet18, channels, layer+".0.bn1", layer+".1.bn1")
	}
	for _, c := range []struct {
		name     string
		shortcut arch.Shortcut
		variants arch.Variants
		want     map[string]int
	}{
		{"convnet", "", arch.Variants{}, map[string]int{"layers.0.bn": 16, "layers.2.bn": 32, "layers.4.bn": 64}},
		{"resnet-8", arch.OptionB, arch.Variants{}, map[string]int{
			"bn blocks.0.bn2": 16, "blocks.1.shortcut.1 blocks.1.bn2": 32, "blocks.2.shortcut.1 blocks.2.bn2": 64,
			"blocks.0.bn1": 16, "blocks.1.bn1": 32, "blocks.2.bn1": 64}},
		// The 16 channels of the first stage run through all three. The second stage adds 16,
		// and the third 32.
		{"resnet-8", arch.OptionA, arch.Variants{}, map[string]int{
			"bn blocks.0.bn2 blocks.1.bn2 blocks.2.bn2": 16, "blocks.1.bn2 blocks.2.bn2": 16, "blocks.2.bn2": 32,
			"blocks.0.bn1": 16, "blocks.1.bn1": 32, "blocks.2.bn1": 64}},
		{"resnet-8", arch.OptionACentred, arch.Variants{}, map[string]int{
			"bn blocks.0.bn2 blocks.1.bn2 blocks.2.bn2": 16, "blocks.1.bn2 blocks.2.bn2": 16, "blocks.2.bn2": 32,
			"blocks.0.bn1": 16, "blocks.1.bn1": 32, "blocks.2.bn1": 64}},
		{"wrn-14-2", arch.OptionB, arch.Variants{}, map[string]int{
			"bn blocks.0.bn2 blocks.1.bn2": 32, "blocks.2.shortcut.1 blocks.2.bn2 blocks.3.bn2": 64, "blocks.4.shortcut.1 blocks.4.bn2 blocks.5.bn2": 128,
			"blocks.0.bn1": 32, "blocks.1.bn1": 32, "blocks.2.bn1": 64, "blocks.3.bn1": 64, "blocks.4.bn1": 128, "blocks.5.bn1": 128}},
		// The projections of the next two networks have no BatchNorm, so no channel of a stream
		// with a projection can be constant.
		{"resnet-11-bottleneck", "", arch.Variants{}, map[string]int{
			"bn": 16, "blocks.0.bn1": 16, "blocks.0.bn2": 16, "blocks.1.bn1": 64, "blocks.1.bn2": 64, "blocks.2.bn1": 128, "blocks.2.bn2": 128}},
		{"vgg-38", "", arch.Variants{}, vgg38},
		{"resnet18", "", arch.Variants{}, resnet18},
		// If one branch of a stream has no γ, no channel of the stream can be removed.
		{"resnet-8", arch.OptionB, arch.Variants{NoScale: "blocks.0.bn2,blocks.1.bn1"}, map[string]int{
			"blocks.1.shortcut.1 blocks.1.bn2": 32, "blocks.2.shortcut.1 blocks.2.bn2": 64, "blocks.0.bn1": 16, "blocks.2.bn1": 64}},
		{"resnet-8", arch.OptionB, arch.Variants{BNEvery: 2}, map[string]int{
			"blocks.0.bn1": 16, "blocks.1.bn1": 32, "blocks.2.bn1": 64}},
	} {
		net, err := arch.Build(c.name, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10, Shortcut: c.shortcut, Variants: c.variants})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, g := range groups(net) {
			var names []string
			for _, p := range g.withGamma {
				names = append(names, net.Units[p.unit].BN)
			}
			got[strings.Join(names, " ")]++
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s, option %s, %+v: got the groups\n%v\nwant\n%v", c.name, c.shortcut, c.variants, got, c.want)
		}
	}
}

// TestGroupsAreRemoved checks, for a group of each family of every network, that pruning the
// group removes all its channels and about as many MACs as group.saves, and that pruning all its
// channels but one removes none.
func TestGroupsAreRemoved(t *testing.T) {
	for _, n := range archtest.Networks(t, 0.1) {
		net, err := arch.Build(n.Name, n.Options)
		if err != nil {
			t.Fatal(err)
		}
		m := randomModel(net, 1)
		seen := map[[2]int]bool{}
		for _, g := range groups(net) {
			if seen[g.family()] {
				continue
			}
			seen[g.family()] = true
			for _, part := range [][]channelRef{g.withGamma, g.withGamma[1:]} {
				s := &selection{m: m}
				p := s.plan([]*group{{withGamma: part}})
				p.Beta = BetaZeroed // no channel is kept to carry constants, so the MACs that are saved are those of the removed channels
				clamped, err := p.Apply(m)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.describe(clamped); err != nil {
					t.Fatal(err)
				}
				wantRemoved, wantSaved := len(part), g.saves
				if len(part) < len(g.withGamma) {
					wantRemoved, wantSaved = 0, 0
				}
				// The MACs of a convolution that reads one channel of the group and computes
				// another one count twice in saves.
				if saved := p.MACsBefore - p.MACsAfter; p.Clamped != len(part) || p.Removed != wantRemoved || saved > wantSaved || saved < wantSaved*9/10 {
					t.Errorf("%v: pruning %d of the members %v clamps %d, removes %d and saves %d MACs; want %d removed, and %d MACs or up to a tenth less saved",
						&n, len(part), g.withGamma, p.Clamped, p.Removed, saved, wantRemoved, wantSaved)
				}
			}
		}
	}
}
