package arch

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits that keep a mistyped or hostile name from asking for a network that
// no machine could hold.
const (
	maxDepth = 6*1000 + 2
	maxWidth = 16 * 64
)

// baseWidth is the first stage's number of channels in a CIFAR ResNet (He et
// al. 2015, section 4.2).
const baseWidth = 16

// parseResNet reads "resnet-N" and "wrn-N-K": N = 6D+2 layers, the first
// stage 16·K channels wide.
func parseResNet(name string) (depth, width int, err error) {
	const want = "use resnet-N with N = 6D+2 (resnet-14, resnet-20, resnet-110, ...) or wrn-N-K, K times as wide (wrn-14-4)"
	parts := strings.Split(name, "-")
	factor := 1
	switch {
	case len(parts) == 2 && parts[0] == "resnet":
	case len(parts) == 3 && parts[0] == "wrn":
		factor, err = strconv.Atoi(parts[2])
		if err != nil || factor < 1 || factor*baseWidth > maxWidth {
			return 0, 0, &Error{name, fmt.Sprintf("%q is no width factor from 1 to %d", parts[2], maxWidth/baseWidth)}
		}
	default:
		return 0, 0, &Error{name, "unknown; " + want}
	}
	depth, err = strconv.Atoi(parts[1])
	switch {
	case err != nil:
		return 0, 0, &Error{name, fmt.Sprintf("%q is no depth; %s", parts[1], want)}
	case depth < 8 || depth > maxDepth:
		return 0, 0, &Error{name, fmt.Sprintf("depth %d; 8 to %d are possible", depth, maxDepth)}
	case depth%6 != 2:
		below := (depth-2)/6*6 + 2
		return 0, 0, &Error{name, fmt.Sprintf("depth %d is not 6D+2; the nearest are %d and %d", depth, below, below+6)}
	}
	return depth, factor * baseWidth, nil
}

// resNet is the CIFAR ResNet of He et al. 2015, section 4.2: a 3×3
// convolution, then three stages of (depth-2)/6 basic blocks, width, 2·width
// and 4·width channels wide, the second and third beginning with stride 2.
// Tensor names are those of open_lth.
func resNet(name string, depth, width int, o Options) *Network {
	n := &Network{Name: name, Input: o.Input, Classes: o.Classes, Shortcut: o.Shortcut}
	last := n.add(Unit{Name: "conv", BN: "bn", In: Picture, Add: None, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, width)
	block := 0
	for stage := range 3 {
		channels := width << stage
		for i := range (depth - 2) / 6 {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			last = n.addBasicBlock(fmt.Sprintf("blocks.%d", block), last, channels, stride)
			block++
		}
	}
	return n
}

// addBasicBlock appends conv-BN-ReLU-conv-BN, the residual and ReLU, and
// returns the index of the unit that ends the block.
func (n *Network) addBasicBlock(prefix string, in, channels, stride int) int {
	residual := in
	first := n.add(Unit{Name: prefix + ".conv1", BN: prefix + ".bn1", In: in, Add: None, ReLU: true, Kernel: 3, Stride: stride, Pad: 1}, channels)
	if stride != 1 && n.Shortcut == OptionB {
		residual = n.add(Unit{Name: prefix + ".shortcut.0", BN: prefix + ".shortcut.1", In: in, Add: None, Shortcut: true, Kernel: 1, Stride: stride}, channels)
	}
	return n.add(Unit{Name: prefix + ".conv2", BN: prefix + ".bn2", In: first, Add: residual, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, channels)
}

// add appends u with the given number of output channels, derives its shapes
// and returns its index.
func (n *Network) add(u Unit, channels int) int {
	u.InShape = n.Input
	if u.In != Picture {
		u.InShape = n.Units[u.In].OutShape
	}
	u.OutShape = Shape{
		C: channels,
		H: (u.InShape.H+2*u.Pad-u.Kernel)/u.Stride + 1,
		W: (u.InShape.W+2*u.Pad-u.Kernel)/u.Stride + 1,
	}
	n.Units = append(n.Units, u)
	return len(n.Units) - 1
}
