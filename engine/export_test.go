package engine

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/rundir"
)

// TestStateDict checks names, shapes and values of the export.
func TestStateDict(t *testing.T) {
	cfg := tinyConfig()
	cfg.Epochs, cfg.WithStats = 1, true
	_, dir := trainedRun(t, cfg)
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range m.StateDict(m.Stored) {
		names = append(names, x.Name)
		elements := 1
		for _, d := range x.Shape {
			elements *= d
		}
		if elements != len(x.Float32) {
			t.Errorf("%s of shape %v has %d values, want %d", x.Name, x.Shape, len(x.Float32), elements)
		}
		switch x.Name {
		case "conv.weight":
			if !slices.Equal(x.Shape, []int{16, 3, 3, 3}) || !slices.Equal(x.Float32, m.Params.Named(x.Name)) {
				t.Errorf("%s: shape %v, want [16 3 3 3] and the values of the model", x.Name, x.Shape)
			}
		case "blocks.1.shortcut.1.running_var":
			unit := slices.IndexFunc(m.Network.Units, func(u arch.Unit) bool { return u.BN == "blocks.1.shortcut.1" })
			if x.Float32[5] != float32(m.Stored.Var[unit][5]) {
				t.Errorf("%s holds %v at index 5, want %v", x.Name, x.Float32[5], m.Stored.Var[unit][5])
			}
		}
	}
	var want []string
	unit := func(conv, bn string) {
		want = append(want, conv+".weight", bn+".weight", bn+".bias", bn+".running_mean", bn+".running_var")
	}
	unit("conv", "bn")
	for _, block := range []string{"blocks.0", "blocks.1", "blocks.2"} {
		unit(block+".conv1", block+".bn1")
		if block != "blocks.0" {
			unit(block+".shortcut.0", block+".shortcut.1")
		}
		unit(block+".conv2", block+".bn2")
	}
	want = append(want, "fc.weight", "fc.bias")
	if !slices.Equal(names, want) {
		t.Errorf("names %v, want %v", names, want)
	}
	meta := m.ExportMetadata()
	for key, value := range map[string]string{"arch": "resnet-8", "seed": "1", "input": "3,8,8", "classes": "4", "bn_eps": "1e-05"} {
		if meta[key] != value {
			t.Errorf("metadata %s is %q, want %q", key, meta[key], value)
		}
	}
	if got := strings.Count(meta["normalisation_std"], ","); got != 2 {
		t.Errorf("normalisation_std is %q, want three numbers", meta["normalisation_std"])
	}
}

// TestStateDictOfVariants checks that every tensor of every BatchNorm is exported, even if
// it is fixed, and that a unit without BatchNorm exports none.
func TestStateDictOfVariants(t *testing.T) {
	cfg := tinyConfig()
	cfg.Arch, cfg.Epochs, cfg.LRDrops, cfg.WithStats = "convnet", 1, nil, true
	cfg.NoScale, cfg.NoShift, cfg.BNEvery = "layers.0.bn", "*", 3
	_, dir := trainedRun(t, cfg)
	m, err := LoadModel(filepath.Join(dir, rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range m.StateDict(m.Stored) {
		names = append(names, x.Name)
		switch x.Name {
		case "layers.0.bn.weight":
			if slices.Min(x.Float32) != 1 || slices.Max(x.Float32) != 1 {
				t.Errorf("%s is %v, want 1", x.Name, x.Float32)
			}
		case "layers.0.bn.bias", "layers.2.bn.bias":
			if slices.Min(x.Float32) != 0 || slices.Max(x.Float32) != 0 {
				t.Errorf("%s is %v, want 0", x.Name, x.Float32)
			}
		}
	}
	want := []string{
		"layers.0.conv.weight", "layers.0.conv.bias", "layers.0.bn.weight", "layers.0.bn.bias", "layers.0.bn.running_mean", "layers.0.bn.running_var",
		"layers.2.conv.weight", "layers.2.conv.bias", "layers.2.bn.weight", "layers.2.bn.bias", "layers.2.bn.running_mean", "layers.2.bn.running_var",
		"layers.4.conv.weight", "layers.4.conv.bias", "fc.weight", "fc.bias",
	}
	if !slices.Equal(names, want) {
		t.Errorf("tensors %v, want %v", names, want)
	}
	for name, value := range map[string]string{"bn_every": "3", "no_scale": "layers.0.bn", "no_shift": "*"} {
		if got := m.ExportMetadata()[name]; got != value {
			t.Errorf("metadata %s is %q, want %q", name, got, value)
		}
	}
}
