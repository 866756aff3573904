package plots

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"

	"bnkit/analysis"
	"bnkit/engine"
)

// report is a made-up report of that many layers, every third without a ReLU.
func report(layers int, level float64) *analysis.Report {
	r := &analysis.Report{
		NearZero: []float64{0.001, 0.01, 0.1}, GammaEdges: []float64{-0.5, 0, 0.5, 1},
		Sparsity:  &analysis.Scope{Split: "test", Examples: 100, Statistics: "re-estimated"},
		Gradients: &analysis.Scope{Split: "train", Examples: 256, Batches: 2, Statistics: "batch"},
		Accuracy:  &analysis.Scope{Split: "test", Examples: 100, Statistics: "re-estimated"},
		Sweep: []analysis.Sweep{
			{Accuracy: analysis.Accuracy{TestAccuracy: level}},
			{Threshold: 0.01, Share: 0.1, Accuracy: analysis.Accuracy{TestAccuracy: level}},
			{Threshold: 0.1, Share: 0.5, Accuracy: analysis.Accuracy{TestAccuracy: level / 2}},
		},
	}
	r.Total.NearZero = []float64{0, level / 2, level}
	for i := range layers {
		l := analysis.Layer{Channels: 16, NearZero: []float64{0, level * float64(i%5) / 5, level},
			Gamma:    analysis.Distribution{Quantiles: make([]float64, len(analysis.Levels)), Histogram: []int{2, 10, 4}},
			Gradient: &analysis.Magnitude{Gamma: 0.1 * level, Beta: 0.01 * level, Convolution: 0.001 * level}}
		if i%3 != 2 {
			l.Sparsity = &analysis.Sparsity{Zero: level, Channels: 16, MostlyOff: i % 3}
		}
		r.Layers = append(r.Layers, l)
	}
	return r
}

func epochs(n int) []engine.EpochMetrics {
	var all []engine.EpochMetrics
	for i := range n {
		all = append(all, engine.EpochMetrics{Epoch: i + 1, LearningRate: math.Pow(0.1, float64(i/2)),
			TrainLoss: 2 / float64(i+1), TestLoss: 2.2 / float64(i+1), TrainAccuracy: 0.3 + 0.05*float64(i), TestAccuracy: 0.28 + 0.05*float64(i)})
	}
	return all
}

// drawn draws runs and returns the pictures by name.
func drawn(t *testing.T, runs []Run) map[string]image.Image {
	t.Helper()
	dir := t.TempDir()
	paths, err := Draw(dir, runs)
	if err != nil {
		t.Fatal(err)
	}
	pictures := map[string]image.Image{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := png.Decode(f)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if s := p.Bounds().Size(); s != image.Pt(1600, 1000) {
			t.Errorf("%s is %v pixels", path, s)
		}
		pictures[filepath.Base(path)] = p
	}
	return pictures
}

// count counts the pixels of a colour.
func count(p image.Image, c color.Color) int {
	r, g, b, _ := c.RGBA()
	n := 0
	for y := range p.Bounds().Dy() {
		for x := range p.Bounds().Dx() {
			if pr, pg, pb, _ := p.At(x, y).RGBA(); pr == r && pg == g && pb == b {
				n++
			}
		}
	}
	return n
}

// TestWhatIsDrawn gives every mixture of results.
func TestWhatIsDrawn(t *testing.T) {
	measured := []string{"gamma_histogram.png", "near_zero.png", "sparsity.png", "gradients.png", "threshold.png"}
	described := report(9, 0.6)
	described.Sparsity, described.Gradients, described.Accuracy, described.Sweep = nil, nil, nil, nil
	for name, c := range map[string]struct {
		runs []Run
		want []string
	}{
		"nothing":      {nil, nil},
		"empty run":    {[]Run{{Name: "a"}}, nil},
		"epochs":       {[]Run{{Name: "a", Epochs: epochs(5)}}, []string{"training.png"}},
		"one epoch":    {[]Run{{Name: "a", Epochs: epochs(1)}}, []string{"training.png"}},
		"described":    {[]Run{{Name: "a", Report: described}}, measured[:2]},
		"measured":     {[]Run{{Name: "a", Report: report(9, 0.6)}}, measured},
		"one layer":    {[]Run{{Name: "a", Report: report(1, 0.6)}}, measured},
		"113 layers":   {[]Run{{Name: "a", Report: report(113, 0.6), Epochs: epochs(160)}}, append(slices.Clone(measured), "training.png")},
		"several runs": {[]Run{{Name: "a/b c", Report: report(9, 0.6), Epochs: epochs(4)}, {Name: "d", Report: report(12, 0.4)}, {Name: "e", Epochs: epochs(7)}}, append([]string{"gamma_histogram_a_b_c.png", "gamma_histogram_d.png", "training.png"}, measured[1:]...)},
	} {
		pictures := drawn(t, c.runs)
		if len(pictures) != len(c.want) {
			t.Errorf("%s: %d pictures, want %v", name, len(pictures), c.want)
		}
		for _, w := range c.want {
			p := pictures[w]
			if p == nil {
				t.Errorf("%s: no %s", name, w)
				continue
			}
			data := colors[0]
			if strings.HasPrefix(w, "gamma_histogram") {
				data = colors[4] // the median's
			}
			if n := count(p, data); n < 10 {
				t.Errorf("%s: %d pixels of data in %s", name, n, w)
			}
		}
	}
}

// TestMissing gives values that are no numbers: they are gaps.
func TestMissing(t *testing.T) {
	whole := epochs(9)
	gap := slices.Clone(whole)
	gap[4].TestLoss, gap[5].TestLoss = math.NaN(), math.Inf(1)
	a, b := drawn(t, []Run{{Epochs: whole}})["training.png"], drawn(t, []Run{{Epochs: gap}})["training.png"]
	if n, m := count(a, colors[0]), count(b, colors[0]); m >= n {
		t.Errorf("%d pixels with a gap, %d without", m, n)
	}
	r := report(6, 0.5)
	r.Layers[3].Gradient.Gamma = 0
	r.Layers[4].Gradient = nil
	c, d := drawn(t, []Run{{Report: report(6, 0.5)}})["gradients.png"], drawn(t, []Run{{Report: r}})["gradients.png"]
	if n, m := count(c, colors[0]), count(d, colors[0]); m >= n {
		t.Errorf("%d pixels with a gap, %d without", m, n)
	}
}

// TestPosition finds a level line at the height that its value has.
func TestPosition(t *testing.T) {
	p := newPanel("", "x", "y")
	p.Y.Min, p.Y.Max = 0, 1
	series{x: []float64{0, 1}, y: []float64{0.25, 0.25}, color: colors[0]}.add(p)
	series{x: []float64{0, 1}, y: []float64{0, 0}, color: colors[1]}.add(p)
	series{x: []float64{0, 1}, y: []float64{1, 1}, color: colors[2]}.add(p)
	path := filepath.Join(t.TempDir(), "p.png")
	if err := (&figure{panels: []*plot.Plot{p}}).save(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	// The middle of each line, down the middle column.
	at := map[color.Color][]int{}
	for y := range picture.Bounds().Dy() {
		for _, c := range colors[:3] {
			r, g, b, _ := c.RGBA()
			if pr, pg, pb, _ := picture.At(800, y).RGBA(); pr == r && pg == g && pb == b {
				at[c] = append(at[c], y)
			}
		}
	}
	middle := func(c color.Color) float64 {
		if len(at[c]) == 0 {
			t.Fatalf("no line of colour %v", c)
		}
		return float64(at[c][0]+at[c][len(at[c])-1]) / 2
	}
	low, high := middle(colors[1]), middle(colors[2])
	if got, want := middle(colors[0]), low+0.25*(high-low); math.Abs(got-want) > 2 {
		t.Errorf("0.25 lies at row %v, want %v between %v and %v", got, want, low, high)
	}
}

// TestSameBytes draws the same and other results.
func TestSameBytes(t *testing.T) {
	read := func(level float64) []byte {
		dir := t.TempDir()
		if _, err := Draw(dir, []Run{{Name: "a", Report: report(6, level)}}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "near_zero.png"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read(0.5), read(0.5)) {
		t.Error("the same report gives other bytes")
	}
	if bytes.Equal(read(0.5), read(0.4)) {
		t.Error("another report gives the same bytes")
	}
}

func TestNoFolder(t *testing.T) {
	if _, err := Draw(filepath.Join(t.TempDir(), "missing"), []Run{{Epochs: epochs(2)}}); err == nil {
		t.Error("drawn into a folder that is not there")
	}
}

// TestTicks checks that labels are round, few, and within the axis.
func TestTicks(t *testing.T) {
	for _, c := range []struct {
		t         ticks
		low, high float64
		labels    []string
	}{
		{ticks{}, -1.6, 5.5, []string{"0", "2", "4"}},
		{ticks{percent: true}, 0, 0.32, []string{"0%", "5%", "10%", "15%", "20%", "25%", "30%"}},
		{ticks{whole: true}, 1, 3, []string{"1", "2", "3"}},
		{ticks{}, 0.3, 0.7, []string{"0.3", "0.4", "0.5", "0.6", "0.7"}},
		{ticks{}, 1, 1, []string{"1"}},
	} {
		var labels []string
		for _, m := range c.t.Ticks(c.low, c.high) {
			labels = append(labels, m.Label)
		}
		if !slices.Equal(labels, c.labels) {
			t.Errorf("%+v from %v to %v: %q, want %q", c.t, c.low, c.high, labels, c.labels)
		}
	}
}
