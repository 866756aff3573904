package convert

import (
	"fmt"
	"slices"
	"strings"

	"bnkit/engine/arch"
)

// evidence returns the reasons for recognising the network as m.net.
func (d *dict) evidence(m *match) []string {
	net := m.net
	reasons := slices.Clone(m.evidence)
	if len(d.prefixes) > 0 {
		reasons = append(reasons, fmt.Sprintf("the prefix %s of the names was left out", strings.Join(d.prefixes, " and ")))
	}
	layers, fixedNorms, widths := 1, 0, []string{} // widths of the stages
	for i := range net.Units {
		u := &net.Units[i]
		if u.NoScale && u.NoShift {
			fixedNorms++
		}
		if u.Op == arch.Convolution && !u.Shortcut {
			layers++
		}
		if u.Add.Kind == arch.NoResidual {
			continue
		}
		if width := fmt.Sprint(u.OutShape.C); len(widths) == 0 || widths[len(widths)-1] != width {
			widths = append(widths, width)
		}
	}
	if blocks := countBlocks(net); blocks > 0 {
		reasons = slices.Insert(reasons, 0, fmt.Sprintf("%d layers: %d blocks of %s with %s channels", layers, blocks, blockConvolutions(net), strings.Join(widths, ", ")))
		if narrow := narrowBlocks(net); narrow > 0 {
			reasons = append(reasons, fmt.Sprintf("%d of %d blocks have other widths inside than usual, as after pruning", narrow, blocks))
		}
	}
	if fixedNorms > 0 {
		reasons = append(reasons, fmt.Sprintf("BatchNorms that have neither γ nor β: %d", fixedNorms))
	}
	return append(reasons, fmt.Sprintf("%d classes; pictures of %v", net.Classes, net.Input))
}

// blockConvolutions describes the convolutions of the first block.
func blockConvolutions(net *arch.Network) string {
	last := slices.IndexFunc(net.Units, func(u arch.Unit) bool { return u.Add.Kind != arch.NoResidual })
	prefix := net.Units[last].Name[:strings.LastIndex(net.Units[last].Name, ".")+1]
	var kernels []string
	for i := range net.Units[:last+1] {
		if u := &net.Units[i]; u.Op == arch.Convolution && !u.Shortcut && strings.HasPrefix(u.Name, prefix) {
			kernels = append(kernels, fmt.Sprintf("%d×%d", u.Kernel, u.Kernel))
		}
	}
	if len(kernels) == 2 && kernels[0] == kernels[1] {
		return "two " + kernels[0] + " convolutions"
	}
	return strings.Join(kernels, ", ") + " convolutions"
}

// narrowBlocks returns the number of blocks in which the ratio of an inner width to the output
// width differs from the ratio in the network that arch.Build makes from net.Name.
func narrowBlocks(net *arch.Network) int {
	usual, err := arch.Build(net.Name, net.Options)
	if err != nil || len(usual.Units) != len(net.Units) {
		return 0
	}
	n, begin := 0, 1 // unit 0 is before the blocks
	for end := range net.Units {
		if net.Units[end].Add.Kind == arch.NoResidual {
			continue
		}
		for i := begin; i < end; i++ {
			u := &net.Units[i]
			inside := u.Op == arch.Convolution && !u.Shortcut
			if inside && u.OutShape.C*usual.Units[end].OutShape.C != usual.Units[i].OutShape.C*net.Units[end].OutShape.C {
				n++
				break
			}
		}
		begin = end + 1
	}
	return n
}
