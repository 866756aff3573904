package plots

import (
	"image"
	"image/color"
	"math"
	"slices"
	"testing"

	"bnkit/analysis"
	"bnkit/engine/config"
)

// runOfSize returns a run of a network with the given depth and width, and with 2 × depth × width
// BatchNorm parameters.
func runOfSize(trainable string, depth, width int, accuracy float64) Run {
	return Run{Name: "r", Summary: &analysis.Summary{
		Config: config.Config{Trainable: trainable, Shortcut: "B"},
		Model:  &analysis.ModelSummary{Data: "cifar10", Family: "resnet-N", Depth: depth, Width: width, BNParameters: 2 * depth * width},
		Result: &analysis.Result{TestAccuracy: accuracy, TestExamples: 100, TestStatistics: "running"},
	}}
}

// TestTrends checks which networks are joined by depth and by width, and the labels and means of
// each trend.
func TestTrends(t *testing.T) {
	runs := []Run{
		runOfSize("bn", 32, 16, 0.6), runOfSize("bn", 14, 16, 0.4), runOfSize("bn", 14, 16, 0.5), runOfSize("bn", 14, 64, 0.7),
		runOfSize("bn", 20, 128, 0.6), runOfSize("all", 14, 16, 0.9),
	}
	type trendText struct {
		name   string
		labels []string
		means  []float64
	}
	var got []trendText
	for _, trend := range trendsOf(runs) {
		text := trendText{name: trend.name}
		for _, s := range trend.sizes {
			text.labels, text.means = append(text.labels, trend.label(s)), append(text.means, s.mean())
		}
		got = append(got, text)
	}
	want := []trendText{
		{"by depth, width 16, trainable: bn", []string{"14", "32"}, []float64{0.45, 0.6}},
		{"by width, depth 14, trainable: bn", []string{"16", "64"}, []float64{0.45, 0.7}},
		{"depth 20, width 128, trainable: bn", []string{""}, []float64{0.6}},
		{"depth 14, width 16, trainable: all", []string{""}, []float64{0.9}},
	}
	if !slices.EqualFunc(got, want, func(a, b trendText) bool {
		return a.name == b.name && slices.Equal(a.labels, b.labels) && slices.EqualFunc(a.means, b.means, func(x, y float64) bool { return math.Abs(x-y) < 1e-12 })
	}) {
		t.Errorf("the trends are %+v, want %+v", got, want)
	}
}

// TestComparableRuns checks that runs are in one group only if they differ in nothing but seed,
// depth, width and settings without an effect on results.
func TestComparableRuns(t *testing.T) {
	base, otherSeed, tracked := runOfSize("bn", 14, 16, 0.5), runOfSize("bn", 14, 16, 0.6), runOfSize("bn", 20, 16, 0.6)
	otherSeed.Summary.Config.Seed, tracked.Summary.Config.TrackGradients = 2, true
	otherFamily, unfinished, decayed := runOfSize("bn", 38, 16, 0.7), runOfSize("bn", 32, 16, 0.3), runOfSize("bn", 8, 16, 0.4)
	otherFamily.Summary.Model.Family = "vgg-N"
	unfinished.Summary.Epochs = -1 // fewer than the 0 epochs of its settings
	decayed.Summary.Config.WeightDecay = 0.1
	groups, texts := comparableRuns([]Run{base, otherFamily, otherSeed, unfinished, tracked, decayed})
	var sizes []int
	for _, g := range groups {
		sizes = append(sizes, len(g))
	}
	want := []string{
		"network: resnet-N, done: all epochs, weight decay: 0", "network: vgg-N, done: all epochs, weight decay: 0",
		"network: resnet-N, done: -1 epochs, weight decay: 0", "network: resnet-N, done: all epochs, weight decay: 0.1",
	}
	if !slices.Equal(sizes, []int{3, 1, 1, 1}) || !slices.Equal(texts, want) {
		t.Errorf("groups of %v runs with the texts %q, want groups of [3 1 1 1] runs with %q", sizes, texts, want)
	}
}

// TestSpread checks the mean and the standard deviation over seeds.
func TestSpread(t *testing.T) {
	s := sizesOf([]Run{runOfSize("bn", 14, 16, 0.4), runOfSize("bn", 14, 16, 0.6), runOfSize("bn", 14, 16, 0.5)})
	if len(s) != 1 || math.Abs(s[0].mean()-0.5) > 1e-12 || math.Abs(s[0].spread()-0.1) > 1e-12 {
		t.Errorf("%+v has mean %v and spread %v, want one size with 0.5 and 0.1", s, s[0].mean(), s[0].spread())
	}
	if spread := sizesOf([]Run{runOfSize("bn", 14, 16, 0.4)})[0].spread(); spread != 0 {
		t.Errorf("the spread of one run is %v, want 0", spread)
	}
}

// TestDepthWidth checks the positions of marks. The axis is logarithmic, so 3200 parameters are
// halfway between 320 and 32000.
func TestDepthWidth(t *testing.T) {
	runs := []Run{runOfSize("bn", 10, 16, 0.2), runOfSize("bn", 100, 16, 0.4), runOfSize("bn", 10, 1600, 0.4)}
	picture := renderFigure(t, depthWidth(runs))
	// ends returns the leftmost and rightmost pixels of a colour in a range of rows.
	ends := func(c color.Color, from, to int) (left, right image.Point) {
		r, g, b, _ := c.RGBA()
		left.X = math.MaxInt
		for y := from; y < to; y++ {
			for x := range picture.Bounds().Dx() {
				if pr, pg, pb, _ := picture.At(x, y).RGBA(); pr == r && pg == g && pb == b {
					if x < left.X {
						left = image.Pt(x, y)
					}
					if x > right.X {
						right = image.Pt(x, y)
					}
				}
			}
		}
		return left, right
	}
	_, deepest := ends(colors[0], 145, 900)
	narrowest, _ := ends(colors[1], 145, 900)
	_, widest := ends(colors[1], deepest.Y, deepest.Y+1) // in the row of the deepest, which has the same accuracy
	radius := 1.2 * float64(markRadius) * dpi / 72
	if got, want := float64(deepest.X)-radius, float64(narrowest.X+widest.X)/2; math.Abs(got-want) > 3 || narrowest.Y < deepest.Y+300 {
		t.Errorf("the deepest network is drawn at x = %v in row %d, want x = %v, halfway between %v and %v, at least 300 rows above the former", got, deepest.Y, want, narrowest, widest)
	}
}

// TestNoDepthWidth checks that nothing is drawn if all networks have the same size or an unknown
// size.
func TestNoDepthWidth(t *testing.T) {
	unknown := runOfSize("bn", 20, 16, 0.5)
	unknown.Summary.Result = nil
	for name, runs := range map[string][]Run{
		"no runs": nil, "one run": {runOfSize("bn", 14, 16, 0.5)}, "same size": {runOfSize("bn", 14, 16, 0.5), runOfSize("all", 14, 16, 0.9)},
		"unknown size": {runOfSize("bn", 14, 16, 0.5), unknown, {Name: "no summary"}},
	} {
		if depthWidth(runs) != nil {
			t.Errorf("%s: depthWidth draws a picture, want none", name)
		}
	}
	if pictures := drawAll(t, []Run{runOfSize("bn", 14, 16, 0.5), runOfSize("bn", 20, 16, 0.5)}); len(pictures) != 1 || pictures["depth_width.png"] == nil {
		t.Errorf("two depths: %d pictures, want only depth_width.png", len(pictures))
	}
}
