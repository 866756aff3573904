package arch

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestPlainVGGs compares the numbers of parameters of VGGs without BatchNorm with torchvision's,
// apart from the linear layers, which differ.
func TestPlainVGGs(t *testing.T) {
	const classifier = 123_642_856
	for name, want := range map[string]int{"vgg-11": 132_863_336, "vgg-13": 133_047_848, "vgg-16": 138_357_544, "vgg-19": 143_667_240} {
		o := cifar
		o.BN = NoBN
		n, err := Build(name, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := All.Parameters(n); got != want-classifier+5_130 {
			t.Errorf("%s: %d parameters, want %d", name, got, want-classifier+5_130)
		}
		if got := BN.Parameters(n); got != 0 {
			t.Errorf("%s: %d BN parameters, want 0", name, got)
		}
	}
}

// TestVariants checks which BatchNorms remain, and which of them have a γ and a β.
func TestVariants(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		bns    string // the BatchNorms that remain, followed by - if they have no γ and by _ if they have no β
	}{
		{"resnet-8", func(*Options) {}, "bn blocks.0.bn1 blocks.0.bn2 blocks.1.bn1 blocks.1.shortcut.1 blocks.1.bn2 blocks.2.bn1 blocks.2.shortcut.1 blocks.2.bn2"},
		{"resnet-8", func(o *Options) { o.BNEvery = 1 }, "bn blocks.0.bn1 blocks.0.bn2 blocks.1.bn1 blocks.1.shortcut.1 blocks.1.bn2 blocks.2.bn1 blocks.2.shortcut.1 blocks.2.bn2"},
		// Half of a ResNet's BatchNorms, as in the YABA report.
		{"resnet-8", func(o *Options) { o.BNEvery = 2 }, "bn blocks.0.bn1 blocks.1.bn1 blocks.1.shortcut.1 blocks.2.bn1 blocks.2.shortcut.1"},
		{"resnet-8", func(o *Options) { o.BNEvery, o.Shortcut = 5, OptionA }, "bn blocks.0.bn1 blocks.2.bn2"},
		{"vgg-11", func(o *Options) { o.BNEvery = 3 }, "layers.0.bn layers.2.bn layers.7.bn layers.11.bn"},
		{"resnet-8", func(o *Options) { o.BN = NoBN }, ""},
		{"convnet", func(o *Options) { o.NoScale, o.NoShift = "*", "layers.2.*,layers.0.bn" }, "layers.0.bn-_ layers.2.bn-_ layers.4.bn-"},
	} {
		o := cifar
		c.change(&o)
		n, err := Build(c.name, o)
		if err != nil {
			t.Fatal(err)
		}
		var bns, want, trained []string
		for _, u := range n.Units {
			if u.Op == Convolution && (u.BN == "") && !u.Bias {
				t.Errorf("%s %+v: %s has neither BatchNorm nor bias, want one", c.name, o, u.Name)
			}
			if u.BN == "" {
				continue
			}
			s := u.BN
			if u.NoScale {
				s += "-"
			} else {
				want = append(want, u.BN+".weight")
			}
			if u.NoShift {
				s += "_"
			} else {
				want = append(want, u.BN+".bias")
			}
			bns = append(bns, s)
		}
		if got := strings.Join(bns, " "); got != c.bns {
			t.Errorf("%s %+v: BatchNorms %s, want %s", c.name, o, got, c.bns)
		}
		for _, x := range n.Tensors() {
			if BN.Trains(&x) {
				trained = append(trained, x.Name)
			}
		}
		if !slices.Equal(trained, want) {
			t.Errorf("%s %+v: the set bn trains %v, want %v", c.name, o, trained, want)
		}
	}
}

// TestManyNames checks that a list can name all BatchNorms of a deep network, but can hold at
// most 64 patterns.
func TestManyNames(t *testing.T) {
	build := func(list string) (*Network, error) {
		o := cifar
		o.NoScale = list
		return Build("resnet-602", o)
	}
	net, err := build("")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range net.Units {
		names = append(names, net.Units[i].BN)
	}
	if net, err = build(strings.Join(names, ",")); err != nil {
		t.Fatal(err)
	}
	for i := range net.Units {
		if !net.Units[i].NoScale {
			t.Errorf("%s has a scale, want none", net.Units[i].BN)
		}
	}
	if _, err := build(strings.Repeat("*bn1,", 63) + "*"); err != nil {
		t.Errorf("64 patterns: got error %v, want none", err)
	}
	var e *Error
	if _, err := build(strings.Repeat("*bn1,", 64) + "*"); !errors.As(err, &e) || !strings.Contains(e.Reason, "more than 64 patterns") {
		t.Errorf("65 patterns: got error %v, want an *Error that says %q", err, "more than 64 patterns")
	}
}

// TestVariantsRefused checks the errors for invalid variants.
func TestVariantsRefused(t *testing.T) {
	for _, c := range []struct {
		change          func(*Options)
		option, wantErr string
	}{
		{func(o *Options) { o.BN = "layer" }, "bn", "use none"},
		{func(o *Options) { o.BNEvery = -1 }, "bn_every", "-1"},
		{func(o *Options) { o.BN, o.BNEvery = NoBN, 2 }, "bn_every", "without BatchNorm"},
		{func(o *Options) { o.NoScale = "blocks.9.bn1" }, "no_scale", `"blocks.9.bn1"; use names or patterns of them, e.g. bn or *`},
		{func(o *Options) { o.NoShift = "bn,," }, "no_shift", `""`},
		{func(o *Options) { o.NoShift = "[" }, "no_shift", `"["`},
		{func(o *Options) { o.BN, o.NoShift = NoBN, "*" }, "no_shift", "no BatchNorm"},
		{func(o *Options) { o.NoScale = strings.Repeat("bn,", 500_000) + "bn" }, "no_scale", "500001 names or patterns"},
		{func(o *Options) { o.NoScale = strings.Repeat("*", 257) }, "no_scale", "more than 256 bytes"},
	} {
		o := cifar
		c.change(&o)
		_, err := Build("resnet-8", o)
		var e *Error
		if !errors.As(err, &e) || e.Option != c.option || !strings.Contains(e.Reason, c.wantErr) {
			t.Errorf("%+v: got error %v, want an *Error with option %s that contains %q", o, err, c.option, c.wantErr)
		}
	}
}
