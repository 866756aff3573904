package arch

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The stems of ImageNet ResNets. The stem is the beginning of the network.
const (
	ImageNetStem = "imagenet" // 7×7 convolution of stride 2, max pool 3×3 of stride 2
	CIFARStem    = "cifar"    // 3×3 convolution of stride 1, for small pictures
)

// imageNetResNet is a ResNet of He et al. 2015, section 4.1.
type imageNetResNet struct {
	name       string
	blocks     [4]int // by stage
	bottleneck bool
}

// namedImageNetResNets are the networks of torchvision and ResNet-200. ResNet-200 is from
// He et al. 2016 ("Identity Mappings"), but has its activations after the convolutions, as
// in open_lth. The depth in a name counts convolutions and the output layer but not
// shortcuts.
var namedImageNetResNets = []imageNetResNet{
	{"resnet18", [4]int{2, 2, 2, 2}, false},
	{"resnet34", [4]int{3, 4, 6, 3}, false},
	{"resnet50", [4]int{3, 4, 6, 3}, true},
	{"resnet101", [4]int{3, 4, 23, 3}, true},
	{"resnet152", [4]int{3, 8, 36, 3}, true},
	{"resnet200", [4]int{3, 24, 36, 3}, true},
}

var imageNetResNets = family{
	names: imageNetNames(),
	build: func(n *Network) (supportedOptions, bool, error) {
		r, err := findImageNetResNet(n.Name)
		if r == nil {
			return supportedOptions{}, false, err
		}
		r.build(n, n.Options.Stem)
		return supportedOptions{stem: true}, true, nil
	},
}

// imageNetNames returns the names of ImageNet ResNets, and the patterns of their other names.
func imageNetNames() (names []string) {
	for _, r := range namedImageNetResNets {
		names = append(names, r.name)
	}
	return append(names, "resnetA-B-C-D", "resnetA-B-C-D-bottleneck")
}

// maxStageBlocks is the largest number of blocks in a stage. Without a limit, a mistyped or
// hostile name could describe a network that does not fit into memory.
const maxStageBlocks = 250

// stagesPattern matches names of ImageNet ResNets with the number of blocks of each stage.
var stagesPattern = regexp.MustCompile(`^resnet(\d+)-(\d+)-(\d+)-(\d+)(-bottleneck)?$`)

// findImageNetResNet returns the ImageNet ResNet with the given name, such as "resnet50" or
// "resnet3-4-6-3". It returns nil and no error if the name has neither form, and an *Error
// if a number of blocks is out of range.
func findImageNetResNet(name string) (*imageNetResNet, error) {
	i := slices.IndexFunc(namedImageNetResNets, func(r imageNetResNet) bool { return r.name == name })
	if i >= 0 {
		return &namedImageNetResNets[i], nil
	}
	parts := stagesPattern.FindStringSubmatch(name)
	if parts == nil {
		return nil, nil
	}
	r := &imageNetResNet{name: name, bottleneck: parts[5] != ""}
	for stage := range r.blocks {
		n, err := parseNumber(parts[1+stage])
		if err != nil || n < 1 || n > maxStageBlocks {
			return nil, &Error{Name: name, Reason: fmt.Sprintf("%s blocks in a stage is out of range; use 1 to %d (without leading zeros)", parts[1+stage], maxStageBlocks)}
		}
		r.blocks[stage] = n
	}
	return r, nil
}

// imageNetHint returns an addition to the error for a CIFAR ResNet of a wrong depth, if
// there is an ImageNet ResNet of that depth.
func imageNetHint(depth string) string {
	if r, _ := findImageNetResNet("resnet" + depth); r != nil {
		return fmt.Sprintf("; %s, without a hyphen, is the ImageNet network", r.name)
	}
	return ""
}

// build appends the network. Its four stages have 64, 128, 256 and 512 channels; a
// bottleneck ends with four times as many. All stages but the first begin with stride 2. A
// bottleneck has this stride in its 3×3 convolution. Strides and tensor names follow
// torchvision.
func (r *imageNetResNet) build(n *Network, stem string) {
	first := Unit{Name: "conv1", BN: "bn1", In: Picture, ReLU: true, Kernel: 7, Stride: 2, Pad: 3}
	if stem == CIFARStem {
		first.Kernel, first.Stride, first.Pad = 3, 1, 1
	}
	last := n.Append(first, 64)
	if stem != CIFARStem {
		last = n.addPool("maxpool", MaxPool, last, 3, 2, 1)
	}
	for stage, blocks := range r.blocks {
		for i := range blocks {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			prefix := fmt.Sprintf("layer%d.%d", stage+1, i)
			if r.bottleneck {
				last = n.addBottleneck(prefix, "downsample", last, 64<<stage, 256<<stage, stride)
			} else {
				last = n.addBasicBlock(prefix, "downsample", last, 64<<stage, stride)
			}
		}
	}
}

// addBottleneck appends a block of 1×1, 3×3 and 1×1 convolutions with their BatchNorms,
// the residual and ReLU. If the shape changes, the residual is a 1×1 convolution with a
// BatchNorm. It returns the index of the last unit of the block.
func (n *Network) addBottleneck(prefix, shortcut string, in, narrow, wide, stride int) int {
	unit := func(i, in, kernel, stride, channels int) int {
		return n.Append(Unit{Name: fmt.Sprintf("%s.conv%d", prefix, i), BN: fmt.Sprintf("%s.bn%d", prefix, i), In: in, ReLU: true,
			Kernel: kernel, Stride: stride, Pad: kernel / 2}, channels)
	}
	residual := Residual{Kind: Identity, From: in}
	x := unit(1, in, 1, 1, narrow)
	x = unit(2, x, 3, stride, narrow)
	if stride != 1 || n.Units[in].OutShape.C != wide {
		residual = n.addProjection(prefix+"."+shortcut, in, stride, wide)
	}
	x = unit(3, x, 1, 1, wide)
	n.Units[x].Add = residual
	return x
}

// buildBottleneck appends the network of Sayak Paul's report on BatchNorm-only training, a
// CIFAR ResNet of depth 9·blocks+2 from the Keras Idiomatic Programmer. It has three stages,
// each with the given number of bottlenecks, and a BatchNorm and ReLU at the end. Bottlenecks
// have 16, 64 or 128 channels inside, and end with 64, 128 or 256. Convolutions have biases,
// and shortcuts have no BatchNorm. Strided 3×3 convolutions are padded by one pixel on each
// side here; Keras pads the bottom and right only.
func buildBottleneck(n *Network, blocks int) {
	last := n.Append(Unit{Name: "conv", BN: "bn", In: Picture, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}, 16)
	block := 0
	for _, stage := range []struct{ narrow, wide, stride int }{{16, 64, 1}, {64, 128, 2}, {128, 256, 2}} {
		for i := range blocks {
			stride := 1
			if i == 0 {
				stride = stage.stride
			}
			last = n.addBottleneck(fmt.Sprintf("blocks.%d", block), "shortcut", last, stage.narrow, stage.wide, stride)
			block++
		}
	}
	for i := range n.Units {
		u := &n.Units[i]
		u.Bias = true
		if strings.HasSuffix(u.BN, ".shortcut.1") {
			u.BN = ""
		}
	}
	last = n.addPool("last", AveragePool, last, 1, 1, 0)
	n.Units[last].BN, n.Units[last].ReLU = "last_bn", true
}
