package plots

import (
	"errors"
	"path/filepath"
	"testing"

	"bnkit/prune"
)

// TestKept checks that bars are as high as the numbers that they show.
func TestKept(t *testing.T) {
	r := &prune.Result{Clamped: 16, Channels: 48, Removed: 8, MACsBefore: 100, MACsAfter: 60, ParametersBefore: 10, ParametersAfter: 9,
		Layers: []prune.Layer{
			{Name: "bn", Height: 8, Width: 8, Channels: 16},
			{Name: "blocks.0.bn1", Height: 8, Width: 8, Channels: 16, Clamped: 8, Removed: 8},
			{Name: "blocks.0.bn2", Height: 4, Width: 4, Channels: 16, Clamped: 8},
		}}
	f := kept("a", r)
	f.legend = nil // it has the same colours
	picture := renderFigure(t, f)
	stay, constant, removed := area(picture, keptColor), area(picture, clampedColor), area(picture, removedColor)
	// 16+8+8 channels stay, 8 are constant and 8 are removed. The grid has the colour of
	// removed channels.
	if stay < 100000 || !alike(stay, 4*constant) || removed < constant || removed > constant+20000 {
		t.Errorf("%d pixels of channels that stay, %d of constant ones, %d of removed ones", stay, constant, removed)
	}
	r.Layers = r.Layers[:1]
	if n := area(renderFigure(t, kept("a", r)), clampedColor); n > 1000 {
		t.Errorf("a layer that keeps all channels has %d pixels of constant ones", n)
	}
	if err := DrawKept(filepath.Join(t.TempDir(), "kept.svg"), "a", r); err != nil {
		t.Error(err)
	}
	var e *FormatError
	if err := DrawKept(filepath.Join(t.TempDir(), "kept.gif"), "a", r); !errors.As(err, &e) {
		t.Errorf("a picture named .gif: %v, want a *FormatError", err)
	}
}

// alike reports whether two numbers of pixels differ by at most 3%.
func alike(a, b int) bool { return 100*max(a-b, b-a) <= 3*b }
