package arch

import (
	"fmt"
	"strconv"
	"strings"
)

// The largest depth and width. Without limits, a mistyped or hostile name could describe a
// network that does not fit into memory.
const (
	maxDepth = 6*1000 + 2
	maxWidth = 16 * 64
)

// baseWidth is the number of channels in the first stage of a CIFAR ResNet (He et al.
// 2015, section 4.2).
const baseWidth = 16

// cifarForms describes the names of CIFAR ResNets, for errors.
const cifarForms = "use resnet-N with N = 6D+2 (resnet-14, resnet-20, resnet-110, ...), wrn-N-K for K times the width (wrn-14-4), or resnet-N-bottleneck with N = 9D+2"

var cifarResNets = family{
	names: []string{"resnet-N", "wrn-N-K", "resnet-N-bottleneck"},
	build: func(n *Network) (supportedOptions, bool, error) {
		parts := strings.Split(n.Name, "-")
		switch {
		case len(parts) == 2 && parts[0] == "resnet":
			return buildBasic(n, parts[1], 1)
		case len(parts) == 3 && parts[0] == "wrn":
			factor, err := parseNumber(parts[2])
			if err != nil || factor < 1 || factor > maxWidth/baseWidth {
				return supportedOptions{}, true, &Error{Name: n.Name, Reason: fmt.Sprintf("width factor %q must be a number from 1 to %d (without a sign and leading zeros)", parts[2], maxWidth/baseWidth)}
			}
			return buildBasic(n, parts[1], factor)
		case len(parts) == 3 && parts[0] == "resnet" && parts[2] == "bottleneck":
			depth, err := parseDepth(n.Name, parts[1], 9)
			if err == nil {
				buildBottleneck(n, (depth-2)/9)
			}
			return supportedOptions{}, true, err
		}
		return supportedOptions{}, false, nil
	},
}

// buildBasic appends a ResNet of basic blocks, which are factor times as wide as usual.
func buildBasic(n *Network, depth string, factor int) (supportedOptions, bool, error) {
	d, err := parseDepth(n.Name, depth, 6)
	if err == nil {
		buildResNet(n, d, factor*baseWidth)
	}
	return supportedOptions{optionA: true}, true, err
}

// parseNumber parses a number in a name. It accepts only one spelling of each number, so that a
// network does not have several names that differ in signs or leading zeros.
func parseNumber(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && strconv.Itoa(n) != text {
		err = strconv.ErrSyntax
	}
	return n, err
}

// parseDepth parses a number of layers, which must be 2 more than a multiple of divisor.
func parseDepth(name, text string, divisor int) (int, error) {
	depth, err := parseNumber(text)
	reason := ""
	switch {
	case err != nil:
		reason = fmt.Sprintf("depth %q is not a number in range (without a sign and leading zeros); %s", text, cifarForms)
	case depth < divisor+2 || depth > maxDepth:
		reason = fmt.Sprintf("depth %d is out of range; use %d to %d", depth, divisor+2, maxDepth)
	case depth%divisor != 2:
		below := (depth-2)/divisor*divisor + 2
		reason = fmt.Sprintf("depth %d is not %dD+2; the nearest are %d and %d%s", depth, divisor, below, below+divisor, imageNetHint(text))
	default:
		return depth, nil
	}
	return 0, &Error{Name: name, Reason: reason}
}

// buildResNet appends the CIFAR ResNet of He et al. 2015, section 4.2: a 3×3
// convolution, then three stages of (depth-2)/6 basic blocks with width, 2·width and
// 4·width channels. The second and third stage begin with stride 2. Tensor names are
// those of open_lth.
func buildResNet(n *Network, depth, width int) {
	last := n.Append(Unit{Name: "conv", BN: "bn", In: Picture, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, width)
	block := 0
	for stage := range 3 {
		channels := width << stage
		for i := range (depth - 2) / 6 {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			last = n.addBasicBlock(fmt.Sprintf("blocks.%d", block), "shortcut", last, channels, stride)
			block++
		}
	}
}

// addBasicBlock appends conv-BN-ReLU-conv-BN, the residual and ReLU. It returns the index
// of the last unit of the block.
func (n *Network) addBasicBlock(prefix, shortcut string, in, channels, stride int) int {
	residual := Residual{Kind: Identity, From: in}
	first := n.Append(Unit{Name: prefix + ".conv1", BN: prefix + ".bn1", In: in, ReLU: true, Kernel: 3, Stride: stride, Pad: 1}, channels)
	switch {
	case stride == 1:
	case n.Options.Shortcut == OptionB:
		residual = n.addProjection(prefix+"."+shortcut, in, stride, channels)
	default:
		residual.Kind, residual.Map = Mapped, n.Options.Shortcut.optionA(n.Units[in].OutShape.C, channels)
	}
	return n.Append(Unit{Name: prefix + ".conv2", BN: prefix + ".bn2", In: first, Add: residual, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, channels)
}

// addProjection appends a shortcut of option B, a 1×1 convolution with BatchNorm, and
// returns it as a residual.
func (n *Network) addProjection(prefix string, in, stride, channels int) Residual {
	return Residual{Kind: Projection, From: n.Append(Unit{Name: prefix + ".0", BN: prefix + ".1", In: in, Shortcut: true, Kernel: 1, Stride: stride}, channels)}
}

// addPool appends a pool, which keeps the number of channels, and returns its index.
func (n *Network) addPool(name string, op Op, in, kernel, stride, pad int) int {
	return n.Append(Unit{Name: name, Op: op, In: in, Kernel: kernel, Stride: stride, Pad: pad}, n.Units[in].OutShape.C)
}
