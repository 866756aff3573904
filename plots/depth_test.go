package plots

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/plot/vg"

	"bnkit/analysis"
)

// TestBlockOf checks the names of blocks in the networks that bnkit builds.
func TestBlockOf(t *testing.T) {
	for name, want := range map[string]string{
		"bn": "bn", "blocks.12.bn1": "blocks.12", "blocks.2.shortcut.1": "blocks.2", "layer1.0.bn2": "layer1.0", "layers.3.bn": "layers.3",
		"block_0_1.bn_0": "block_0_1", "input_conv.bn_0": "input_conv", "bn1": "bn1",
	} {
		if got := blockOf(&analysis.Layer{Name: name}); got != want {
			t.Errorf("the block of %s is %q, want %q", name, got, want)
		}
	}
}

// TestDepth checks the positions of layers for runs of equal networks, of networks with equally
// many stages, and of other networks.
func TestDepth(t *testing.T) {
	a := layersOf([]string{"bn", "blocks.0.bn1", "blocks.1.bn1"}, []int{32, 32, 16})
	deeper := layersOf([]string{"bn", "blocks.0.bn1", "blocks.1.bn1", "blocks.2.bn1"}, []int{32, 32, 16, 16})
	other := layersOf([]string{"layers.0.bn"}, []int{7})
	for name, c := range map[string]struct {
		runs []*analysis.Report
		want [][]float64 // positions of the layers of each run
	}{
		"one":      {[]*analysis.Report{a}, [][]float64{{1, 2, 3}}},
		"equal":    {[]*analysis.Report{a, a}, [][]float64{{1, 2, 3}, {1, 2, 3}}},
		"deeper":   {[]*analysis.Report{a, deeper}, [][]float64{{0.25, 0.75, 1.5}, {0.25, 0.75, 1.25, 1.75}}},
		"no stage": {[]*analysis.Report{a, other}, [][]float64{{0, 0.5, 1}, {0}}},
	} {
		var runs []Run
		for _, r := range c.runs {
			runs = append(runs, Run{Report: r})
		}
		d, ok := depthOf(runs, func(*analysis.Report) bool { return true })
		if !ok {
			t.Fatalf("%s: depthOf returns no axis, want one", name)
		}
		for k, r := range c.runs {
			var got []float64
			for i := range r.Layers {
				got = append(got, d.position(r, i))
			}
			if !slices.Equal(got, c.want[k]) {
				t.Errorf("%s: the layers of run %d are at %v, want %v", name, k+1, got, c.want[k])
			}
		}
	}
}

// TestRoles checks that shortcuts and last layers of blocks are not on the line of other layers,
// that sparsity leaves out shortcuts, and that gradients of several runs have two columns.
func TestRoles(t *testing.T) {
	r := report(9, 0.6)
	d, _ := depthOf([]Run{{Report: r}}, func(*analysis.Report) bool { return true })
	for kind, want := range map[role][]float64{inner: {1, 4, 7}, last: {2, 5, 8}, shortcut: {3, 6, 9}} {
		if s := d.series(r, kind, mark{}, func(*analysis.Layer) float64 { return 0 }); !slices.Equal(s.x, want) {
			t.Errorf("the %s are at %v, want %v", roleNames[kind], s.x, want)
		}
	}
	if f := sparsity([]Run{{Report: r}}); len(f.legend) != 2 {
		t.Errorf("the legend of sparsity is %+v, want 2 entries, because shortcuts have no ReLU", f.legend)
	}
	f := gradients([]Run{{Name: "a", Report: r}, {Name: "b", Report: r}})
	if len(f.panels) != 6 || f.columns != 2 {
		t.Errorf("got %d panels in %d columns, want 6 in 2, with a row for each of 3 kinds", len(f.panels), f.columns)
	}
}

// TestBlockTicks checks that labels are equally spaced and that there are as many as fit.
func TestBlockTicks(t *testing.T) {
	r := report(3*60, 0.6)
	size := func(string) vg.Length { return 40 }
	labels := 0
	for _, tick := range blockTicks(r.Layers, width, size) {
		if tick.Label != "" {
			if math.Mod(tick.Value-2, 15) != 0 {
				t.Errorf("%s is at %v, want 2 plus a multiple of 15", tick.Label, tick.Value)
			}
			labels++
		}
	}
	if labels != 12 {
		t.Errorf("%d of 60 blocks have labels, want 12, every fifth", labels)
	}
	if ticks := blockTicks(report(9, 0.6).Layers, width, size); len(ticks) != 3 || ticks[0].Label != "blocks.0" || ticks[1].Label != "blocks.1" || ticks[2].Label != "blocks.2" {
		t.Errorf("ticks %+v, want labels blocks.0 to blocks.2", ticks)
	}
}
