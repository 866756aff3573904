package arch

import (
	"math"
	"reflect"
	"slices"
	"testing"
)

// TestPublishedParameterCounts compares numbers of parameters with those that torchvision
// and Keras print. ResNet-200 is ResNet-152 with 16 more blocks in its second stage.
func TestPublishedParameterCounts(t *testing.T) {
	// The VGGs of torchvision end in three linear layers with this number of parameters.
	// The VGGs of package arch end in one.
	const classifier = 123_642_856
	const block = 512*128 + 128*128*9 + 128*512 + 2*(128+128+512)
	imageNet := Options{Input: Shape{3, 224, 224}, Classes: 1000}
	for _, c := range []struct {
		name  string
		o     Options
		total int
	}{
		{"resnet18", imageNet, 11_689_512}, {"resnet34", imageNet, 21_797_672}, {"resnet50", imageNet, 25_557_032},
		{"resnet101", imageNet, 44_549_160}, {"resnet152", imageNet, 60_192_808}, {"resnet200", imageNet, 60_192_808 + 16*block},
		{"vgg-11", cifar, 132_868_840 - classifier + 5_130}, {"vgg-13", cifar, 133_053_736 - classifier + 5_130},
		{"vgg-16", cifar, 138_365_992 - classifier + 5_130}, {"vgg-19", cifar, 143_678_248 - classifier + 5_130},
		{"resnet-20-bottleneck", cifar, 571_114},
	} {
		n, err := Build(c.name, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if got := All.Parameters(n); got != c.total {
			t.Errorf("%s: %d parameters, want %d", c.name, got, c.total)
		}
	}
	for name, want := range map[string]int{"resnet-20-bottleneck": 4_000, "resnet50": 53_120, "resnet18": 9_600} {
		n, err := Build(name, cifar)
		if err != nil {
			t.Fatal(err)
		}
		if got := BN.Parameters(n); got != want {
			t.Errorf("%s: %d BN parameters, want %d", name, got, want)
		}
	}
}

// TestPublishedMACs compares numbers of multiply-accumulates with those that torchvision
// records for its weights, in millions.
func TestPublishedMACs(t *testing.T) {
	for name, want := range map[string]float64{"resnet18": 1_814, "resnet34": 3_664, "resnet50": 4_089, "resnet101": 7_801, "resnet152": 11_514} {
		n, err := Build(name, Options{Input: Shape{3, 224, 224}, Classes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if got := math.Round(float64(n.MACs()) / 1e6); got != want {
			t.Errorf("%s: %v million multiply-accumulates, want %v", name, got, want)
		}
	}
}

// TestStages checks that the name of an ImageNet ResNet and its numbers of blocks build the
// same network, and that other numbers of blocks give the expected numbers of convolutions.
func TestStages(t *testing.T) {
	o := Options{Input: Shape{3, 64, 64}, Classes: 7}
	for byBlocks, byName := range map[string]string{"resnet2-2-2-2": "resnet18", "resnet3-4-6-3-bottleneck": "resnet50", "resnet3-24-36-3-bottleneck": "resnet200"} {
		a, err := Build(byBlocks, o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Build(byName, o)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a.Units, b.Units) {
			t.Errorf("%s and %s have different units, want the same", byBlocks, byName)
		}
	}
	// Apart from the shortcuts, there are the first convolution and three in each bottleneck.
	for name, want := range map[string]int{"resnet2-2-2-2-bottleneck": 25, "resnet2-4-17-2-bottleneck": 76, "resnet2-12-17-2-bottleneck": 100} {
		n, err := Build(name, o)
		if err != nil {
			t.Fatal(err)
		}
		convs, shortcuts := 0, 0
		for _, u := range n.Units {
			switch {
			case u.Op != Convolution:
			case u.Shortcut:
				shortcuts++
			default:
				convs++
			}
		}
		if convs != want || shortcuts != 4 {
			t.Errorf("%s: %d convolutions and %d shortcuts, want %d and 4", name, convs, shortcuts, want)
		}
	}
}

// TestNetworks checks the number of convolutions, the shape of the last unit's output and the
// shape of one tensor of several networks.
func TestNetworks(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      Options
		convs  int // shortcuts included
		last   Shape
		tensor string
		shape  []int
	}{
		{"resnet50", Options{Input: Shape{3, 224, 224}, Classes: 1000}, 53, Shape{2048, 7, 7}, "layer2.0.downsample.0.weight", []int{512, 256, 1, 1}},
		{"resnet200", Options{Input: Shape{3, 224, 224}, Classes: 1000}, 203, Shape{2048, 7, 7}, "layer3.35.conv2.weight", []int{256, 256, 3, 3}},
		{"resnet18", Options{Input: Shape{3, 32, 32}, Classes: 10, Variants: Variants{Stem: CIFARStem}}, 20, Shape{512, 4, 4}, "conv1.weight", []int{64, 3, 3, 3}},
		{"vgg-16", cifar, 13, Shape{512, 2, 2}, "layers.16.bn.weight", []int{512}},
		{"vgg-38", cifar, 40, Shape{32, 4, 4}, "reduction_block_2.conv_1_skip.weight", []int{32, 32, 1, 1}},
		{"convnet", Options{Input: Shape{1, 28, 28}, Classes: 10}, 3, Shape{64, 7, 7}, "layers.2.conv.bias", []int{32}},
		{"resnet-20-bottleneck", cifar, 22, Shape{256, 8, 8}, "blocks.2.shortcut.0.bias", []int{128}},
	} {
		n, err := Build(c.name, c.o)
		if err != nil {
			t.Fatal(err)
		}
		convs := 0
		for _, u := range n.Units {
			if u.Op == Convolution {
				convs++
			}
		}
		if got := n.Units[len(n.Units)-1].OutShape; convs != c.convs || got != c.last {
			t.Errorf("%s: %d convolutions and an output of %v, want %d and %v", c.name, convs, got, c.convs, c.last)
		}
		seen := map[string][]int{}
		for _, x := range n.Tensors() {
			if seen[x.Name] != nil {
				t.Errorf("%s: the name %s occurs twice, want once", c.name, x.Name)
			}
			seen[x.Name] = x.Shape
		}
		if !slices.Equal(seen[c.tensor], c.shape) {
			t.Errorf("%s: %s has shape %v, want %v", c.name, c.tensor, seen[c.tensor], c.shape)
		}
	}
}
