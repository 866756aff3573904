package arch

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestResidualKinds checks the kinds of residuals in several networks.
func TestResidualKinds(t *testing.T) {
	for _, c := range []struct {
		name     string
		shortcut Shortcut
		want     []ResidualKind
	}{
		{"resnet-8", OptionB, []ResidualKind{Identity, Projection, Projection}},
		{"resnet-14", OptionA, []ResidualKind{Identity, Identity, Mapped, Identity, Mapped, Identity}},
		{"resnet-8", OptionACentred, []ResidualKind{Identity, Mapped, Mapped}},
		{"resnet1-2-1-1-bottleneck", "", []ResidualKind{Projection, Projection, Identity, Projection, Projection}},
		{"convnet", "", nil},
	} {
		o := cifar
		o.Shortcut = c.shortcut
		n, err := Build(c.name, o)
		if err != nil {
			t.Fatal(err)
		}
		var got []ResidualKind
		for i := range n.Units {
			if r := n.Units[i].Add; r.Kind != NoResidual {
				got = append(got, r.Kind)
				if (r.Map != nil) != (r.Kind == Mapped) {
					t.Errorf("%s %s: a residual of kind %d has map %v, want a map only for kind %d (Mapped)", c.name, c.shortcut, r.Kind, r.Map, Mapped)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s: residuals %v, want %v", c.name, c.shortcut, got, c.want)
		}
	}
}

// TestOptionAMaps checks to which output channels option A adds the source channels. The
// centred variant leaves a quarter of the output channels on each side without a source, as is
// usual in PyTorch code.
func TestOptionAMaps(t *testing.T) {
	const none = NoSource
	for _, c := range []struct {
		width    float64
		shortcut Shortcut
		want     []int
	}{
		{0.25, OptionA, []int{0, 1, 2, 3, none, none, none, none}},
		{0.25, OptionACentred, []int{none, none, 0, 1, 2, 3, none, none}},
		{0.1875, OptionACentred, []int{none, 0, 1, 2, none, none}}, // 6/4 is rounded down to 1 on the left
		{0.001, OptionACentred, []int{0}},
	} {
		o := cifar
		o.Shortcut, o.Width = c.shortcut, c.width
		n, err := Build("resnet-8", o)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(n.Units, func(u Unit) bool { return u.Add.Kind == Mapped })
		m := n.Units[i].Add.Map
		if !slices.Equal(m.Source, c.want) || m.Stride != 2 {
			t.Errorf("width %v, %s: the map is %+v, want the sources %v and stride 2", c.width, c.shortcut, m, c.want)
		}
		channels := n.Units[0].OutShape.C
		if got, want := m.Leading(channels), c.shortcut == OptionA || channels == 1; got != want {
			t.Errorf("width %v, %s: Leading is %v, want %v", c.width, c.shortcut, got, want)
		}
	}
}

// TestCheckErrors checks the error for every kind of invalid network that Check detects.
func TestCheckErrors(t *testing.T) {
	o := cifar
	o.Shortcut = OptionA
	// Unit 0 is conv, units 1 and 2 are block 0, and units 3 and 4 are block 1, which has a
	// mapped residual.
	for _, c := range []struct {
		wantErr string
		change  func(n *Network)
	}{
		{"0 units", func(n *Network) { n.Units = nil }},
		{"0 classes", func(n *Network) { n.Classes = 0 }},
		{"reads unit 1", func(n *Network) { n.Units[1].In = 1 }},
		{"reads unit -2", func(n *Network) { n.Units[1].In = -2 }},
		{"stride 0", func(n *Network) { n.Units[1].Stride = 0 }},
		{"operation 7", func(n *Network) { n.Units[1].Op = 7 }},
		{"40×40 does not fit in 3×32×32 with padding 1", func(n *Network) { n.Units[0].Kernel = 40 }},
		{"is 3×32×32, but it reads 16×32×32", func(n *Network) { n.Units[1].InShape.C = 3 }},
		{"output shape is 16×31×32", func(n *Network) { n.Units[0].OutShape.H = 31 }},
		{"has 0 output channels", func(n *Network) { n.Units[0].OutShape.C = 0 }},
		{"a pool with 16 input and 32 output channels", func(n *Network) { n.Units[3].Op = MaxPool }},
		{"adds the output of unit 2", func(n *Network) { n.Units[2].Add.From = 2 }},
		{"adds the output of unit -1", func(n *Network) { n.Units[2].Add.From = -1 }},
		{"unknown kind 9", func(n *Network) { n.Units[2].Add.Kind = 9 }},
		{"if and only if", func(n *Network) { n.Units[2].Add.Kind = Mapped }},
		{"if and only if", func(n *Network) { n.Units[4].Add.Kind = Identity }},
		{"has a ReLU", func(n *Network) { n.Units[2].Add.Kind = Projection }},
		{"output of blocks.0.conv2, which is 16×32×32, to 32×16×16", func(n *Network) { n.Units[4].Add = Residual{Kind: Identity, From: 2} }},
		{"stride 0", func(n *Network) { n.Units[4].Add.Map.Stride = 0 }},
		{"makes 32×11×11 from 16×32×32", func(n *Network) { n.Units[4].Add.Map.Stride = 3 }},
		{"map of 31 channels", func(n *Network) { n.Units[4].Add.Map.Source = n.Units[4].Add.Map.Source[:31] }},
		{"from channel 16, but there are 16", func(n *Network) { n.Units[4].Add.Map.Source[20] = 16 }},
		{"from channel -2, but there are 16", func(n *Network) { n.Units[4].Add.Map.Source[0] = -2 }},
	} {
		n, err := Build("resnet-8", o)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Check(); err != nil {
			t.Fatal(err)
		}
		c.change(n)
		var e *Error
		if err := n.Check(); !errors.As(err, &e) || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("got error %v, want an *Error that contains %q", err, c.wantErr)
		}
	}
}
