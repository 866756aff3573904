package arch

import (
	"errors"
	"strings"
	"testing"
)

// cifar holds the options of networks for CIFAR-10.
var cifar = Options{Input: Shape{3, 32, 32}, Classes: 10}

// TestParameterCounts compares numbers of parameters with those in Frankle et al. and the
// YABA report.
func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		name      string
		shortcut  Shortcut
		total, bn int
	}{
		{"resnet-14", OptionB, 175_258, 1_120}, {"resnet-14", OptionA, 172_506, 928},
		{"resnet-32", OptionB, 466_906, 2_464}, {"resnet-32", OptionA, 464_154, 2_272},
		{"resnet-56", OptionB, 855_770, 4_256}, {"resnet-56", OptionA, 853_018, 4_064},
		{"resnet-110", OptionB, 1_730_714, 8_288}, {"resnet-110", OptionA, 1_727_962, 8_096},
		{"resnet-218", OptionB, 3_480_602, 16_352}, {"resnet-218", OptionA, 3_477_850, 16_160},
		{"resnet-434", OptionB, 6_980_378, 32_480}, {"resnet-866", OptionB, 13_979_930, 64_736},
		{"wrn-14-1", OptionB, 175_258, 1_120}, {"wrn-14-2", OptionB, 696_618, 2_240},
		{"wrn-14-4", OptionB, 2_777_674, 4_480}, {"wrn-14-8", OptionB, 11_093_130, 8_960},
		{"wrn-14-16", OptionB, 44_337_418, 17_920}, {"wrn-14-32", OptionB, 177_279_498, 35_840},
	} {
		o := cifar
		o.Shortcut = c.shortcut
		n, err := Build(c.name, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := All.Parameters(n); got != c.total {
			t.Errorf("%s %s: %d parameters, want %d", c.name, c.shortcut, got, c.total)
		}
		if got := BN.Parameters(n); got != c.bn {
			t.Errorf("%s %s: %d BN parameters, want %d", c.name, c.shortcut, got, c.bn)
		}
	}
}

// TestSetSizes compares the sizes of trainable sets with those in Frankle et al. for
// ResNet-110.
func TestSetSizes(t *testing.T) {
	n, err := Build("resnet-110", cifar)
	if err != nil {
		t.Fatal(err)
	}
	for set, want := range map[TrainableSet]int{
		BN: 8_288, All: 1_730_714, Output: 650, BNOutput: 8_288 + 650, BNShortcut: 8_288 + 2_560,
		GammaOnly: 8_288 / 2, BetaOnly: 8_288 / 2, Nothing: 0,
		"random-1": 8_288 / 2, "random-2": 8_288, "bn+random-2": 2 * 8_288,
		// K exceeds the fan-in of the first convolution, 27, and of the shortcuts, 16 and 32.
		"random-40": 16*27 + 32*16 + 64*32 + 40*(36*16+36*32+36*64),
	} {
		if got := set.Parameters(n); got != want {
			t.Errorf("%s: %d parameters, want %d", set, got, want)
		}
	}
}

// TestMACs compares a count with a sum over the layers of ResNet-20. The usually quoted
// number is 40.8 million: 40.55 million in 3×3 convolutions, plus shortcuts and output
// layer.
func TestMACs(t *testing.T) {
	n, err := Build("resnet-20", cifar)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(16*27*1024 + 6*16*16*9*1024 + // stem and first stage
		(16*32+5*32*32)*9*256 + 16*32*256 + // second stage and its shortcut
		(32*64+5*64*64)*9*64 + 32*64*64 + 640)
	if got := n.MACs(); got != want {
		t.Errorf("%d multiply-accumulates, want %d", got, want)
	}
}

// TestNamesAndShapes checks that the names of tensors are unique and include those of open_lth,
// that units read earlier units, and that the shapes of residuals agree, for several sizes of
// pictures.
func TestNamesAndShapes(t *testing.T) {
	for _, in := range []Shape{{1, 8, 8}, {1, 28, 28}, {3, 32, 32}, {3, 33, 47}, {3, 64, 64}} {
		for _, shortcut := range []Shortcut{OptionA, OptionACentred, OptionB} {
			n, err := Build("resnet-20", Options{Input: in, Classes: 10, Shortcut: shortcut})
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, x := range n.Tensors() {
				if seen[x.Name] {
					t.Errorf("the name %s occurs twice, want once", x.Name)
				}
				seen[x.Name] = true
			}
			for _, name := range []string{"conv.weight", "bn.weight", "bn.bias", "blocks.0.conv1.weight", "blocks.8.bn2.bias", "fc.weight", "fc.bias"} {
				if !seen[name] {
					t.Errorf("there is no tensor %s, want one", name)
				}
			}
			if seen["blocks.3.shortcut.0.weight"] != (shortcut == OptionB) || seen["blocks.0.shortcut.0.weight"] {
				t.Errorf("shortcut %s: whether block 0 and block 3 have the weight of a shortcut: %v and %v, want false and %v", shortcut,
					seen["blocks.0.shortcut.0.weight"], seen["blocks.3.shortcut.0.weight"], shortcut == OptionB)
			}
			for i, u := range n.Units {
				if u.In >= i || u.Add.Kind != NoResidual && u.Add.From >= i {
					t.Errorf("unit %d reads unit %d and adds the output of unit %d, want earlier units", i, u.In, u.Add.From)
				}
				if u.Add.Kind == NoResidual {
					continue
				}
				from := n.Units[u.Add.From].OutShape
				if shortcut == OptionB && from != u.OutShape {
					t.Errorf("%s adds %v to %v, want equal shapes with option B", u.Name, from, u.OutShape)
				}
				if from != u.OutShape && (u.OutShape.H != (from.H+1)/2 || u.OutShape.W != (from.W+1)/2 || u.OutShape.C != 2*from.C) {
					t.Errorf("%s adds %v to %v, want equal shapes, or half of the size and twice the channels", u.Name, from, u.OutShape)
				}
			}
		}
	}
}

// TestBuildErrors checks the errors for unknown names and invalid options.
func TestBuildErrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		o       Options
		wantErr string
	}{
		{"resnet-21", cifar, "nearest are 20 and 26"},
		{"resnet-2", cifar, "depth 2"},
		{"resnet-99999999999999999999", cifar, "not a number in range"},
		{"resnet-600002", cifar, "depth 600002"},
		{"resnet", cifar, "resnet-N"},
		{"wrn-14", cifar, "resnet-N"},
		{"resnet-08", cifar, "leading zeros"},
		{"resnet-+8", cifar, "leading zeros"},
		{"resnet-011-bottleneck", cifar, "leading zeros"},
		{"resnet-+11-bottleneck", cifar, "leading zeros"},
		{"wrn-014-4", cifar, "leading zeros"},
		{"wrn-14-04", cifar, "leading zeros"},
		{"wrn-14-+4", cifar, "leading zeros"},
		{"resnet02-2-2-2", cifar, "leading zeros"},
		{"resnet3-4-6-03-bottleneck", cifar, "leading zeros"},
		{"resnet050", cifar, "unknown"},
		{"wrn-14-0", cifar, "width factor"},
		{"wrn-14-65", cifar, "width factor"},
		{"wrn-8-576460752303423489", cifar, "width factor"},  // 16 times this overflows to a negative number
		{"wrn-8-1152921504606846977", cifar, "width factor"}, // 16 times this overflows to 16
		{strings.Repeat("x", 1<<20), cifar, "more than 100 bytes"},
		{"vgg", cifar, "unknown; use one of: resnet-N, wrn-N-K, resnet-N-bottleneck, convnet, vgg-11"},
		{"resnet-18", cifar, "not 6D+2; the nearest are 14 and 20; resnet18, without a hyphen, is the ImageNet network"},
		{"resnet2-0-2-2", cifar, "0 blocks in a stage is out of range; use 1 to 250"},
		{"resnet2-2-2-999999999999999999999", cifar, "999999999999999999999 blocks in a stage"},
		{"resnet2-2-2", cifar, "unknown"},
		{"resnet18", Options{Input: cifar.Input, Classes: 10, Variants: Variants{Stem: "7x7"}}, "use imagenet or cifar"},
		{"resnet18", Options{Input: cifar.Input, Classes: 10, Shortcut: OptionA}, "only CIFAR ResNets"},
		{"vgg-16", Options{Input: cifar.Input, Classes: 10, Shortcut: OptionA}, "only CIFAR ResNets"},
		{"resnet-20", Options{Input: cifar.Input, Classes: 10, Variants: Variants{Stem: CIFARStem}}, "only ImageNet ResNets"},
		{"resnet-50-bottleneck", cifar, "not 9D+2; the nearest are 47 and 56"},
		{"vgg-16", Options{Input: Shape{3, 12, 12}, Classes: 10}, "too small"},
		{"vgg-38", Options{Input: Shape{1, 28, 28}, Classes: 10}, "multiples of 8"},
		{"resnet-20", Options{Input: Shape{2, 32, 32}, Classes: 10}, "2 channels"},
		{"resnet-20", Options{Input: Shape{3, 7, 32}, Classes: 10}, "7×32"},
		{"resnet-20", Options{Input: Shape{3, 32, 257}, Classes: 10}, "32×257"},
		{"resnet-20", Options{Input: Shape{3, 32, 32}, Classes: 1}, "1 classes"},
		{"resnet-20", Options{Input: Shape{3, 32, 32}, Classes: 10, Shortcut: "C"}, "use A, A-centred or B"},
	} {
		_, err := Build(c.name, c.o)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%.99s %+v: got error %.999v, want an *Error that contains %q", c.name, c.o, err, c.wantErr)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%.99s: the error has %d bytes, want at most 1000", c.name, len(err.Error()))
		}
	}
}

// TestTrainableSets checks that the names of all sets are parsed, and that others are refused.
func TestTrainableSets(t *testing.T) {
	for _, s := range TrainableSets {
		if got, err := ParseTrainableSet(string(s)); err != nil || got != s {
			t.Errorf("ParseTrainableSet(%q) returns %q and error %v, want the set and no error", s, got, err)
		}
		if s.Meaning() == "" {
			t.Errorf("the Meaning of %s is empty, want a description", s)
		}
	}
	for _, name := range []string{"random-1", "random-2", "bn+random-2", "random-1024"} {
		if got, err := ParseTrainableSet(name); err != nil || string(got) != name || got.Meaning() == "" {
			t.Errorf("ParseTrainableSet(%q) returns %q with Meaning %q, and error %v; want the set with a Meaning, and no error", name, got, got.Meaning(), err)
		}
	}
	for _, name := range []string{"random", "random-", "random-0", "random-02", "random-+2", "random--2", "random-1025", "random-99999999999999999999",
		"bn+random-0", "bn+bn+random-2", "output+random-2", "random-2+bn", "", "bn+"} {
		if got, err := ParseTrainableSet(name); err == nil {
			t.Errorf("%q is parsed as %s, want an error", name, got)
		}
	}
	if _, err := ParseTrainableSet("gama"); err == nil || !strings.Contains(err.Error(), "bn, all") {
		t.Errorf("a misspelt name: got error %v, want one that lists the names", err)
	}
}
