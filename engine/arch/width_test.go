package arch

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// resNet50Parameters returns the number of parameters of a ResNet-50 whose first convolution
// has c channels, as a sum over its layers.
func resNet50Parameters(c, classes int) int {
	total, in := 3*49*c+2*c, c
	for stage, blocks := range []int{3, 4, 6, 3} {
		narrow, wide := c<<stage, 4*c<<stage
		total += in*wide + 2*wide
		for range blocks {
			total += in*narrow + 9*narrow*narrow + narrow*wide + 2*(narrow+narrow+wide)
			in = wide
		}
	}
	return total + in*classes + classes
}

// TestWidthOfResNet50 compares numbers of parameters with the sum over the layers. At full
// width, that sum is the number that torchvision prints.
func TestWidthOfResNet50(t *testing.T) {
	if got := resNet50Parameters(64, 1000); got != 25_557_032 {
		t.Fatalf("the sum over layers is %d, but torchvision counts 25557032", got)
	}
	for _, eighths := range []int{1, 2, 4, 8, 12, 16} {
		n, err := Build("resnet50", Options{Input: Shape{3, 224, 224}, Classes: 1000, Variants: Variants{Width: float64(eighths) / 8}})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := All.Parameters(n), resNet50Parameters(8*eighths, 1000); got != want {
			t.Errorf("width %d/8: %d parameters, want %d", eighths, got, want)
		}
	}
}

// TestWideResNets checks that a ResNet with K times its width is wrn-N-K, whose parameter
// counts are published.
func TestWideResNets(t *testing.T) {
	for _, c := range []struct {
		name, wide string
		width      float64
		shortcut   Shortcut
	}{
		{"resnet-20", "wrn-20-2", 2, OptionB}, {"resnet-20", "wrn-20-2", 2, OptionA}, {"wrn-14-2", "wrn-14-8", 4, OptionB},
		{"wrn-14-4", "resnet-14", 0.25, OptionB}, {"resnet-8", "resnet-8", 1, OptionB}, {"resnet-8", "wrn-8-64", 64, OptionB},
	} {
		o := cifar
		o.Shortcut = c.shortcut
		want, err := Build(c.wide, o)
		if err != nil {
			t.Fatal(err)
		}
		o.Width = c.width
		got, err := Build(c.name, o)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Units, want.Units) {
			t.Errorf("%s of width %v and %s have different units, want the same", c.name, c.width, c.wide)
		}
	}
}

// TestWidthOfEveryNetwork checks that a width changes only numbers of channels, and that the
// shapes of connected units agree, even if every unit has one channel.
func TestWidthOfEveryNetwork(t *testing.T) {
	names := []string{"resnet-20", "wrn-14-4", "resnet-20-bottleneck", "resnet1-3-2-1", "resnet2-1-1-3-bottleneck"}
	for _, name := range Names() {
		if name == strings.ToLower(name) { // patterns have capital letters in place of numbers
			names = append(names, name)
		}
	}
	if len(names) != len(Names()) {
		t.Fatalf("the test has the networks %v, want one for each of %v", names, Names())
	}
	for _, name := range names {
		o := cifar
		full, err := Build(name, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, width := range []float64{5e-324, 0.001, 0.02, 0.15625, 0.3, 1 / 3.0, 1, 1.1} {
			o.Width = width
			n, err := Build(name, o)
			if err != nil {
				t.Fatal(err)
			}
			for i, u := range n.Units {
				unscaled := full.Units[i]
				input := n.Input
				if u.In != Picture {
					input = n.Units[u.In].OutShape
				}
				// The number of channels must be the whole number nearest to the product.
				exact := width * float64(unscaled.OutShape.C)
				if c := float64(u.OutShape.C); u.InShape != input || c < 1 || c > 1 && math.Abs(c-exact) > 0.5 || c == 1 && exact >= 1.5 {
					t.Errorf("%s of width %v: %s turns %v into %v; want the input %v and, to the nearest whole number, %v output channels", name, width, u.Name, u.InShape, u.OutShape, input, max(exact, 1))
				}
				if u.Add.Kind != NoResidual && n.Units[u.Add.From].OutShape != u.OutShape {
					t.Errorf("%s of width %v: %s adds %v to %v, want equal shapes", name, width, u.Name, n.Units[u.Add.From].OutShape, u.OutShape)
				}
				u.InShape.C, u.OutShape.C = unscaled.InShape.C, unscaled.OutShape.C
				if u != unscaled {
					t.Errorf("%s of width %v: %+v, want %+v", name, width, u, unscaled)
				}
			}
		}
	}
}

// TestWidthRounds checks that numbers of channels are rounded to the nearest whole number, with
// halves rounded up, and are at least 1. It includes a network with shortcuts of option A.
func TestWidthRounds(t *testing.T) {
	for _, c := range []struct {
		name  string
		width float64
		want  []int
	}{
		{"convnet", 0.09, []int{1, 3, 6}}, {"convnet", 0.15625, []int{3, 5, 10}}, {"convnet", 0.01, []int{1, 1, 1}},
		{"resnet-8", 0.3, []int{5, 5, 5, 10, 10, 19, 19}},
	} {
		o := cifar
		o.Width = c.width
		if c.name == "resnet-8" {
			o.Shortcut = OptionA
		}
		n, err := Build(c.name, o)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, u := range n.Units {
			if u.Op == Convolution {
				got = append(got, u.OutShape.C)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s of width %v: channels %v, want %v", c.name, c.width, got, c.want)
		}
	}
}

// TestWidthRefused checks the errors for widths that are out of range.
func TestWidthRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		width   float64
		wantErr string
	}{
		{"resnet-20", math.NaN(), "width NaN is out of range; use a number above 0 and up to 64"},
		{"resnet-20", -0.5, "width -0.5 is out of range; use a number above 0 and up to 64"},
		{"resnet-20", math.Inf(1), "width +Inf is out of range; use a number above 0 and up to 64"},
		{"resnet-20", math.Inf(-1), "width -Inf is out of range; use a number above 0 and up to 64"},
		{"resnet-20", math.MaxFloat64, "width 1.7976931348623157e+308 is out of range; use a number above 0 and up to 64"},
		{"resnet50", 2.001, "width 2.001 is out of range; use a number above 0 and up to 2"},
		{"wrn-14-3", 22, "width 22 is out of range; use a number above 0 and up to 21.33"},
		{"vgg-16", 9, "width 9 is out of range; use a number above 0 and up to 8"},
	} {
		o := cifar
		o.Width = c.width
		_, err := Build(c.name, o)
		var e *Error
		if !errors.As(err, &e) || e.Option != "width" || e.Reason != c.wantErr {
			t.Errorf("%s of width %v: got error %v, want an *Error with option width and reason %q", c.name, c.width, err, c.wantErr)
		}
	}
}

// TestSetChannels makes the first convolution of each block narrower, and the second stage
// wider. The shapes and the maps of option A must follow.
func TestSetChannels(t *testing.T) {
	for _, shortcut := range []Shortcut{OptionA, OptionACentred, OptionB} {
		o := cifar
		o.Shortcut = shortcut
		n, err := Build("resnet-8", o)
		if err != nil {
			t.Fatal(err)
		}
		n.SetChannels(func(i int) int {
			switch name := n.Units[i].Name; {
			case strings.HasSuffix(name, ".conv1"):
				return 5
			case strings.HasPrefix(name, "blocks.1."):
				return 40
			}
			return n.Units[i].OutShape.C
		})
		if err := n.Check(); err != nil {
			t.Errorf("shortcut %s: Check returns error %v, want none", shortcut, err)
		}
		// The sum of the first convolution, the output layer, the two 3×3 convolutions of each
		// block and, with option B, the shortcuts.
		want := 16*27 + 64*10 + 9*(16*5+5*16+16*5+5*40+40*5+5*64)
		if shortcut == OptionB {
			want += 16*40 + 40*64
		}
		if got := n.weights(); got != want {
			t.Errorf("shortcut %s: %d weights, want %d", shortcut, got, want)
		}
		if shortcut == OptionACentred {
			if m := n.Units[4].Add.Map; m.Source[11] != NoSource || m.Source[12] != 0 || m.Source[27] != 15 || m.Source[28] != NoSource {
				t.Errorf("the sources of 40 channels are %v, want 0 to 15 in channels 12 to 27", m.Source)
			}
		}
	}
}

// weights returns the number of weights of all convolutions and the output layer.
func (n *Network) weights() int {
	total := 0
	for _, x := range n.Tensors() {
		if x.Kind == ConvWeight || x.Kind == OutputWeight {
			total += x.Len()
		}
	}
	return total
}
