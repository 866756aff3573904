package arch

import (
	"fmt"
	"maps"
	"slices"
)

// pool stands for a 2×2 max pool in a plan. All other numbers are numbers of channels.
const pool = 0

// plans are sequences of 3×3 convolutions with bias, BatchNorm and ReLU, and of max pools.
//
// vgg-N are the networks of Simonyan and Zisserman 2015 in open_lth's adaptation to CIFAR:
// the convolutions, four max pools, the global average, and a single linear layer.
// convnet is a small network for MNIST.
var plans = map[string][]int{
	"vgg-11":  {64, pool, 128, pool, 256, 256, pool, 512, 512, pool, 512, 512},
	"vgg-13":  {64, 64, pool, 128, 128, pool, 256, 256, pool, 512, 512, pool, 512, 512},
	"vgg-16":  {64, 64, pool, 128, 128, pool, 256, 256, 256, pool, 512, 512, 512, pool, 512, 512, 512},
	"vgg-19":  {64, 64, pool, 128, 128, pool, 256, 256, 256, 256, pool, 512, 512, 512, 512, pool, 512, 512, 512, 512},
	"convnet": {16, pool, 32, pool, 64},
}

var plainNetworks = family{
	names: slices.Sorted(maps.Keys(plans)),
	build: func(n *Network) (supportedOptions, bool, error) {
		plan, known := plans[n.Name]
		buildPlain(n, plan)
		return supportedOptions{}, known, nil
	},
}

// buildPlain appends the layers of a plan, numbered as in open_lth.
func buildPlain(n *Network, plan []int) {
	last := Picture
	for i, channels := range plan {
		name := fmt.Sprintf("layers.%d", i)
		if channels == pool {
			last = n.addPool(name, MaxPool, last, 2, 2, 0)
			continue
		}
		last = n.Append(Unit{Name: name + ".conv", BN: name + ".bn", Bias: true, In: last, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, channels)
	}
}

var vgg38 = family{
	names: []string{"vgg-38"},
	build: func(n *Network) (supportedOptions, bool, error) {
		if n.Name != "vgg-38" {
			return supportedOptions{}, false, nil
		}
		buildVGG38(n)
		return supportedOptions{}, true, nil
	},
}

// buildVGG38 appends the residual VGG-38 of the YABA report: a 3×3 convolution, then
// three stages, each of five blocks of two convolutions and one block that halves the
// picture. All have 32 channels. The halving block averages 2×2 pixels between its
// convolutions, and its shortcut is a 1×1 convolution of stride 2 without BatchNorm. The
// report has leaky ReLUs (slope 0.01) instead of these ReLUs.
func buildVGG38(n *Network) {
	const width, stages, blocks = 32, 3, 5
	unit := func(prefix string, i, in int, add Residual) int {
		return n.Append(Unit{Name: fmt.Sprintf("%s.conv_%d", prefix, i), BN: fmt.Sprintf("%s.bn_%d", prefix, i), In: in, Add: add, ReLU: true,
			Kernel: 3, Stride: 1, Pad: 1}, width)
	}
	last := unit("input_conv", 0, Picture, Residual{})
	for stage := range stages {
		for block := range blocks {
			prefix := fmt.Sprintf("block_%d_%d", stage, block)
			last = unit(prefix, 1, unit(prefix, 0, last, Residual{}), Residual{Kind: Identity, From: last})
		}
		prefix := fmt.Sprintf("reduction_block_%d", stage)
		x := n.addPool(prefix+".pool", AveragePool, unit(prefix, 0, last, Residual{}), 2, 2, 0)
		skip := n.Append(Unit{Name: prefix + ".conv_1_skip", In: last, Shortcut: true, Kernel: 1, Stride: 2}, width)
		last = unit(prefix, 1, x, Residual{Kind: Projection, From: skip})
	}
}
