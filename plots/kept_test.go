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
	unclamped, clamped, removed := area(picture, keptColor), area(picture, clampedColor), area(picture, removedColor)
	// 16+8+8 channels are kept, 8 are clamped but not removed, and 8 are removed. The grid has
	// the colour of removed channels.
	if unclamped < 100000 || !alike(unclamped, 4*clamped) || removed < clamped || removed > clamped+20000 {
		t.Errorf("%d pixels of kept channels, %d of clamped ones and %d of removed ones; want a ratio of about 4 to 1 to 1, and at least 100000 of the first", unclamped, clamped, removed)
	}
	r.Layers = r.Layers[:1]
	if n := area(renderFigure(t, kept("a", r)), clampedColor); n > 1000 {
		t.Errorf("a layer that keeps all channels has %d pixels of clamped ones, want at most 1000", n)
	}
	if err := DrawKept(filepath.Join(t.TempDir(), "kept.svg"), "a", r); err != nil {
		t.Error(err)
	}
	var e *FormatError
	if err := DrawKept(filepath.Join(t.TempDir(), "kept.gif"), "a", r); !errors.As(err, &e) {
		t.Errorf("a picture named .gif: got error %v, want a *FormatError", err)
	}
}

// alike reports whether two numbers of pixels differ by at most 3%.
func alike(a, b int) bool { return 100*max(a-b, b-a) <= 3*b }
