package arch

import (
	"fmt"
	"slices"
	"strings"
)

// pool stands for a max pool of 2×2 in a plan. All other numbers are channels.
const pool = 0

// plainNets are sequences of 3×3 convolutions with bias, BatchNorm and ReLU, and of max
// pools.
//
// vgg-N are the networks of Simonyan and Zisserman 2015 as open_lth adapts them to CIFAR:
// the convolutions, four max pools, the global average, and a single linear layer.
// convnet is a small network for MNIST.
var plainNets = []struct {
	name string
	plan []int
}{
	{"vgg-11", []int{64, pool, 128, pool, 256, 256, pool, 512, 512, pool, 512, 512}},
	{"vgg-13", []int{64, 64, pool, 128, 128, pool, 256, 256, pool, 512, 512, pool, 512, 512}},
	{"vgg-16", []int{64, 64, pool, 128, 128, pool, 256, 256, 256, pool, 512, 512, 512, pool, 512, 512, 512}},
	{"vgg-19", []int{64, 64, pool, 128, 128, pool, 256, 256, 256, 256, pool, 512, 512, 512, 512, pool, 512, 512, 512, 512}},
	{"convnet", []int{16, pool, 32, pool, 64}},
}

// findPlain returns the plan of the plain network of that name, or nil if there is none.
func findPlain(name string) []int {
	for _, p := range plainNets {
		if p.name == name {
			return p.plan
		}
	}
	return nil
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
		last = n.add(Unit{Name: name + ".conv", BN: name + ".bn", Bias: true, In: last, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, channels)
	}
}

// buildVGG38 appends the residual VGG-38 of the YABA report: a 3×3 convolution, then
// three stages, each of five blocks of two convolutions and one block that halves the
// picture. All have 32 channels. The halving block averages 2×2 pixels between its
// convolutions, and its shortcut is a 1×1 convolution of stride 2 without BatchNorm. The
// report uses leaky ReLU (slope 0.01) instead of ReLU.
func buildVGG38(n *Network) {
	const width, stages, blocks = 32, 3, 5
	unit := func(prefix string, i, in int, add Residual) int {
		return n.add(Unit{Name: fmt.Sprintf("%s.conv_%d", prefix, i), BN: fmt.Sprintf("%s.bn_%d", prefix, i), In: in, Add: add, ReLU: true,
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
		skip := n.add(Unit{Name: prefix + ".conv_1_skip", In: last, Shortcut: true, Kernel: 1, Stride: 2}, width)
		last = unit(prefix, 1, x, Residual{Kind: Projection, From: skip})
	}
}

// Names returns the names of networks, and patterns for those whose names have numbers.
func Names() []string {
	names := []string{"resnet-N", "wrn-N-K", "resnet-N-bottleneck"}
	for _, p := range plainNets {
		names = append(names, p.name)
	}
	names = slices.Insert(names, len(names)-1, "vgg-38")
	for _, r := range imageNetResNets {
		names = append(names, r.name)
	}
	return append(names, "resnetA-B-C-D", "resnetA-B-C-D-bottleneck")
}

// listNames returns Names separated by commas.
func listNames() string { return strings.Join(Names(), ", ") }
