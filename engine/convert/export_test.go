package convert_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/arch/archtest"
	"bnkit/engine/convert"
	"bnkit/engine/nn"
)

// TestExports checks that exported networks of every architecture, and of several variants, are
// recognised and have the same values.
func TestExports(t *testing.T) {
	networks := archtest.Networks(t, 0.0625)
	cifar := arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10}
	for _, v := range []arch.Variants{
		{BN: arch.NoBN}, {BNEvery: 2}, {NoScale: "bn,blocks.*.bn1"}, {NoShift: "*"}, {Width: 0.3}, {Width: 0.15625, NoScale: "*", NoShift: "*"},
	} {
		for _, shortcut := range []arch.Shortcut{arch.OptionA, arch.OptionACentred, arch.OptionB} {
			o := cifar
			o.Variants, o.Shortcut = v, shortcut
			networks = append(networks, archtest.Network{Name: "resnet-14", Options: o})
		}
	}
	for _, n := range networks {
		net, err := arch.Build(n.Name, n.Options)
		if err != nil {
			t.Fatal(err)
		}
		params, stats := nn.NewParams[float32](net, nil), nn.NewStatistics(net)
		params.Initialise(1)
		for i := range stats.Mean {
			for c := range stats.Mean[i] {
				stats.Mean[i][c], stats.Var[i][c] = float64(c)/4, float64(i+1)
			}
		}
		m := &engine.Model{Network: net, Params: params}
		var tensors []convert.Tensor
		for _, x := range m.StateDict(stats) {
			tensors = append(tensors, convert.Tensor{Name: x.Name, Shape: x.Shape, Values: func() ([]float32, error) { return x.Float32, nil }})
		}
		o, err := convert.OptionsFrom(m.ExportMetadata())
		if err != nil {
			t.Fatal(err)
		}
		r, err := convert.Recognise(tensors, o)
		if err != nil {
			t.Errorf("%+v: Recognise returns error %v, want none", n, err)
			continue
		}
		got, gotStats, err := r.Load()
		if err != nil {
			t.Errorf("%+v: Load returns error %v, want none", n, err)
			continue
		}
		if gotStats == nil {
			gotStats = nn.NewStatistics(net)
		}
		if !r.Named || !reflect.DeepEqual(r.Network, net) || !reflect.DeepEqual(got.Values, params.Values) || !reflect.DeepEqual(gotStats, stats) {
			t.Errorf("%+v is read as %s, named %v, %+v; want the exported network and values", n, r.Network.Name, r.Named, r.Network.Options)
		}
		for canonical, source := range maps.All(r.Names) {
			if canonical != source {
				t.Errorf("%+v: %s is called %s, want the same name", n, canonical, source)
			}
		}
	}
}

// TestExportsOfPruned reads networks that were exported after channels were removed, and
// compares their logits with those of the networks before the removal.
func TestExportsOfPruned(t *testing.T) {
	// The networks must include convolutions in place of shortcuts without weights, and
	// convolutions of 1×1 in place of convolutions that pruning left without effect.
	convolved, pointwise := 0, 0
	for _, shortcut := range []arch.Shortcut{arch.OptionA, arch.OptionACentred, arch.OptionB} {
		for _, prunes := range []func(net *arch.Network, i, c int) bool{
			func(_ *arch.Network, i, c int) bool { return (7*i+c)%3 == 0 },
			func(_ *arch.Network, i, c int) bool { return c%3 == 1 },                           // the same channels of all units
			func(net *arch.Network, i, c int) bool { return 4*c >= 3*net.Units[i].OutShape.C }, // the last quarter of each unit
			func(_ *arch.Network, i, c int) bool { return i%2 == 1 || c%5 == 2 },               // all channels of every second unit
		} {
			net, err := arch.Build("resnet-14", arch.Options{Input: arch.Shape{C: 3, H: 16, W: 16}, Classes: 10, Shortcut: shortcut})
			if err != nil {
				t.Fatal(err)
			}
			m := &engine.Model{Network: net, Params: nn.NewParams[float32](net, nil), Stored: nn.NewStatistics(net)}
			m.Params.InitialiseBy(nn.Initialisers{Weights: "he-normal", Gamma: "one", Beta: "constant:0.25"}, 3)
			for i := range net.Units {
				kept := []int{}
				for c, gamma := 0, m.Params.Of(i, arch.Gamma); c < len(gamma); c++ {
					if prunes(net, i, c) {
						gamma[c] = 0
					} else {
						kept = append(kept, c)
					}
				}
				m.Kept = append(m.Kept, kept)
			}
			small, _, err := m.Compact()
			if err != nil {
				t.Fatal(err)
			}
			e, err := small.Export(small.Stored)
			if err != nil {
				t.Fatal(err)
			}
			r := recogniseExport(t, e)
			checkDescription(t, r.Network)
			x := pictures([4]int{2, 3, 16, 16})
			checkLogits(t, r, x, logitsOf(t, net, m.Params, m.Stored, x))
			for _, u := range r.Network.Units {
				if u.Shortcut && u.BN == "" {
					convolved++
				} else if !u.Shortcut && u.Op == arch.Convolution && u.Kernel == 1 {
					pointwise++
				}
			}
		}
	}
	if convolved == 0 || pointwise == 0 {
		t.Errorf("%d shortcuts without BatchNorm and %d convolutions of 1×1, want some of both", convolved, pointwise)
	}
}

// TestExportsWithoutMetadata recognises exported networks by their tensors and the size of
// their pictures, without metadata.
func TestExportsWithoutMetadata(t *testing.T) {
	for _, n := range archtest.Networks(t, 0.0625) {
		net, err := arch.Build(n.Name, n.Options)
		if err != nil {
			t.Fatal(err)
		}
		var tensors []convert.Tensor
		for _, x := range net.Tensors() {
			tensors = append(tensors, convert.Tensor{Name: "model." + x.Name, Shape: x.Shape})
		}
		slices.SortFunc(tensors, func(a, b convert.Tensor) int { return strings.Compare(a.Name, b.Name) })
		r, err := convert.Recognise(tensors, convert.Options{Pictures: [2]int{net.Input.H, net.Input.W}})
		if err != nil {
			t.Errorf("%+v: got error %v, want none", n, err)
			continue
		}
		if !r.Named || !reflect.DeepEqual(r.Network.Units, net.Units) || len(r.Evidence) == 0 {
			t.Errorf("%+v is recognised as %s, named %v, %+v, by %q; want the exported network and some evidence", n, r.Network.Name, r.Named, r.Network.Options, r.Evidence)
		}
	}
}
