package plots

import (
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"testing"

	"bnkit/analysis"
)

// area counts the pixels of a colour below the legend.
func area(p image.Image, c color.Color) int {
	r, g, b, _ := c.RGBA()
	n := 0
	for y := 140; y < p.Bounds().Dy(); y++ {
		for x := range p.Bounds().Dx() {
			if pr, pg, pb, _ := p.At(x, y).RGBA(); pr == r && pg == g && pb == b {
				n++
			}
		}
	}
	return n
}

// TestFilters checks that all weights have equally many pixels, in exactly the right colours, and
// the legend of filters that read a picture of three channels.
func TestFilters(t *testing.T) {
	// Two 2×2 filters of 4 channels have one extreme weight, and three weights of half that size.
	f := &analysis.Filters{Layer: "conv", Out: 2, In: 4, Size: 2, Values: make([]float32, 2*4*2*2)}
	f.Values[5], f.Values[8], f.Values[20], f.Values[31] = -2, 1, 1, 1
	picture := renderFigure(t, filters([]string{"a"}, []*analysis.Filters{f}))
	oneWeight, threeWeights := area(picture, diverging(-1)), area(picture, diverging(0.5))
	side := math.Sqrt(float64(oneWeight))
	if oneWeight < 1000 || threeWeights != 3*oneWeight || side != math.Trunc(side) {
		t.Errorf("one weight has %d pixels and three equal weights have %d, want a square number of at least 1000, and three times as many", oneWeight, threeWeights)
	}

	rgb := &analysis.Filters{Layer: "conv", Out: 1, In: 3, Size: 1, Values: []float32{1, -1, 0}}
	if legend := filters([]string{"a"}, []*analysis.Filters{rgb}).legend; len(legend) != 7 || legend[0].name != "positive weight of red" || legend[0].patch != (color.RGBA{255, 127, 127, 255}) {
		t.Errorf("the legend of a filter of red, green and blue is %+v, want 7 entries, the first for positive weights of red with the colour {255 127 127 255}", legend)
	}
	if n := area(renderFigure(t, filters([]string{"a"}, []*analysis.Filters{rgb})), color.RGBA{255, 0, 127, 255}); n < 1000 {
		t.Errorf("a filter of red, green and blue has %d pixels of the right colour, want at least 1000", n)
	}
}

// TestFeatureMaps checks the colours of a picture, of a channel that is off and of a channel that
// is not.
func TestFeatureMaps(t *testing.T) {
	maps := &analysis.FeatureMaps{ReLU: "bn", Channels: 2, Height: 1, Width: 2, Values: []float32{0, 0, 4, 1}, Class: "cat",
		Picture: []uint8{10, 200, 30, 40}, PictureChannels: 1, PictureHeight: 2, PictureWidth: 2}
	picture := renderFigure(t, featureMaps([]string{"a"}, []*analysis.FeatureMaps{maps}))
	largestPixels, quarterPixels, offPixels := area(picture, shade(1)), area(picture, shade(0.5)), area(picture, color.RGBA{0xf5, 0xc9, 0xb3, 0xff})
	if largestPixels < 1000 || quarterPixels != largestPixels || offPixels != 2*largestPixels {
		t.Errorf("the largest output has %d pixels, a quarter of it %d, the channel that is off %d; want a ratio of 1 to 1 to 2, and at least 1000 of the first", largestPixels, quarterPixels, offPixels)
	}
	if a, b := area(picture, color.RGBA{10, 10, 10, 255}), area(picture, color.RGBA{200, 200, 200, 255}); a < 1000 || max(a, b)-min(a, b) > 20 { // grey text has some pixels too
		t.Errorf("two pixels of the picture are drawn with %d and %d pixels, want equal numbers above 1000", a, b)
	}
}

// TestMosaicExtremes checks that NaNs, infinities, only zeros, and more tiles than fit can be
// drawn.
func TestMosaicExtremes(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	large := &analysis.FeatureMaps{Channels: 100, Height: 56, Width: 56, Values: make([]float32, 100*56*56), Picture: make([]uint8, 3*224*224), PictureChannels: 3, PictureHeight: 224, PictureWidth: 224}
	large.Values[0] = 1
	dir := t.TempDir()
	if _, err := DrawFeatureMaps(dir, []string{"a", "b", "c"}, []*analysis.FeatureMaps{large, large, large}, PNG); err != nil {
		t.Error(err)
	}
	if p := read(t, filepath.Join(dir, "feature_maps__0.png")); p.Bounds().Size() != image.Pt(1600, 1000) {
		t.Errorf("the picture of large maps is %v, want 1600×1000 pixels", p.Bounds())
	}
	for _, values := range [][]float32{{0, 0, 0}, {nan, nan, nan}, {inf, -inf, 1}} {
		for _, in := range []int{1, 3} {
			f := &analysis.Filters{Out: 3 / in, In: in, Size: 1, Values: values}
			path, err := DrawFilters(dir, []string{"a"}, []*analysis.Filters{f}, PNG)
			if err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				t.Errorf("the picture of filters %v is missing or empty (error %v), want a picture", values, err)
			}
		}
	}
}
