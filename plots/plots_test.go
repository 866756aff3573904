package plots

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"

	"bnkit/analysis"
	"bnkit/engine/rundir"
)

// report returns a made-up report of the given number of layers, in three stages and blocks of
// two layers and a shortcut. Its accuracies, shares and gradients rise with level.
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
		l := analysis.Layer{Channels: 16, Height: 32 >> (3 * i / layers), Width: 32 >> (3 * i / layers), Name: fmt.Sprintf("blocks.%d.bn%d", i/3, i%3+1), Shortcut: i%3 == 2, NearZero: []float64{0, level * float64(i%5) / 5, level},
			Gamma:    analysis.Distribution{Quantiles: make([]float64, len(analysis.Levels)), Histogram: []int{2, 10, 4}},
			Gradient: &analysis.Magnitude{Gamma: 0.1 * level, Beta: 0.01 * level, Convolution: 0.001 * level}}
		if i%3 != 2 {
			l.ReLU = l.Name
			if i%3 == 1 {
				l.ReLU += " + residual"
			}
			l.Sparsity = &analysis.Sparsity{Zero: level, Channels: 16, MostlyOff: i % 3}
		}
		r.Layers = append(r.Layers, l)
	}
	return r
}

// epochs returns made-up metrics of n epochs.
func epochs(n int) []rundir.EpochMetrics {
	var all []rundir.EpochMetrics
	for i := range n {
		all = append(all, rundir.EpochMetrics{Epoch: i + 1, LearningRate: math.Pow(0.1, float64(i/2)),
			TrainLoss: 2 / float64(i+1), TestLoss: 2.2 / float64(i+1), TrainAccuracy: 0.3 + 0.05*float64(i), TestAccuracy: 0.28 + 0.05*float64(i)})
	}
	return all
}

// drawAll draws runs and returns the pictures by name.
func drawAll(t *testing.T, runs []Run) map[string]image.Image {
	t.Helper()
	dir := t.TempDir()
	paths, err := Draw(dir, runs, PNG)
	if err != nil {
		t.Fatal(err)
	}
	pictures := map[string]image.Image{}
	for _, path := range paths {
		p := read(t, path)
		if s := p.Bounds().Size(); s != image.Pt(1600, 1000) {
			t.Errorf("%s has %v pixels, want 1600×1000", path, s)
		}
		pictures[filepath.Base(path)] = p
	}
	return pictures
}

// read decodes the PNG file at path.
func read(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := png.Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return p
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

// TestDrawnPictures checks which pictures are drawn for various combinations of results.
func TestDrawnPictures(t *testing.T) {
	measured := []string{"gamma_histogram.png", "gamma_layers.png", "near_zero.png", "sparsity.png", "gradients.png", "threshold.png"}
	described := report(9, 0.6)
	described.Sparsity, described.Gradients, described.Accuracy, described.Sweep = nil, nil, nil, nil
	withBeta := report(9, 0.6)
	for i := range withBeta.Layers {
		withBeta.Layers[i].Beta.Quantiles = []float64{-3, -2, -1, 0, 1, 2, 3}
	}
	for name, c := range map[string]struct {
		runs []Run
		want []string
	}{
		"no runs":      {nil, nil},
		"empty run":    {[]Run{{Name: "a"}}, nil},
		"epochs":       {[]Run{{Name: "a", Epochs: epochs(5)}}, []string{"training.png"}},
		"tracked":      {[]Run{{Name: "a", Epochs: trackedEpochs(5, 0.1)}}, []string{"training.png", "gradient_epochs.png"}},
		"one epoch":    {[]Run{{Name: "a", Epochs: epochs(1)}}, []string{"training.png"}},
		"described":    {[]Run{{Name: "a", Report: described}}, measured[:3]},
		"measured":     {[]Run{{Name: "a", Report: report(9, 0.6)}}, measured},
		"with β":       {[]Run{{Name: "a", Report: withBeta}}, append(slices.Clone(measured), "beta_layers.png")},
		"one layer":    {[]Run{{Name: "a", Report: report(1, 0.6)}}, measured},
		"113 layers":   {[]Run{{Name: "a", Report: report(113, 0.6), Epochs: epochs(160)}}, append(slices.Clone(measured), "training.png")},
		"several runs": {[]Run{{Name: "a/b c", Report: report(9, 0.6), Epochs: epochs(4)}, {Name: "d", Report: report(12, 0.4)}, {Name: "e", Epochs: epochs(7)}}, append([]string{"gamma_histogram_a_b_c.png", "gamma_layers_a_b_c.png", "gamma_histogram_d.png", "gamma_layers_d.png", "training.png"}, measured[2:]...)},
	} {
		pictures := drawAll(t, c.runs)
		if len(pictures) != len(c.want) {
			t.Errorf("%s: got the pictures %v, want %v", name, slices.Sorted(maps.Keys(pictures)), c.want)
		}
		for _, w := range c.want {
			p := pictures[w]
			if p == nil {
				t.Errorf("%s: Draw did not write %s, want it", name, w)
				continue
			}
			if n := count(p, colors[0]); n < 10 {
				t.Errorf("%s: the data of %s has %d pixels, want at least 10", name, w, n)
			}
		}
	}
}

// TestGaps checks that values that are missing, not finite or zero on a logarithmic axis are drawn
// as gaps.
func TestGaps(t *testing.T) {
	whole := epochs(9)
	gap := slices.Clone(whole)
	gap[4].TestLoss, gap[5].TestLoss = math.NaN(), math.Inf(1)
	checkFewer := func(name string, wholeRun, gapRun Run) {
		t.Helper()
		all, fewer := count(drawAll(t, []Run{wholeRun})[name], colors[0]), count(drawAll(t, []Run{gapRun})[name], colors[0])
		if fewer >= all {
			t.Errorf("%s has %d pixels with a gap, want fewer than the %d without", name, fewer, all)
		}
	}
	checkFewer("training.png", Run{Epochs: whole}, Run{Epochs: gap})
	r := report(6, 0.5)
	r.Layers[3].Gradient.Gamma = 0
	r.Layers[4].Gradient = nil
	checkFewer("gradients.png", Run{Report: report(6, 0.5)}, Run{Report: r})
}

// rows returns the first and last row with a colour in a column of a picture.
func rows(t *testing.T, p image.Image, x int, c color.Color) (first, last int) {
	t.Helper()
	r, g, b, _ := c.RGBA()
	first = -1
	for y := range p.Bounds().Dy() {
		if pr, pg, pb, _ := p.At(x, y).RGBA(); pr == r && pg == g && pb == b {
			if first < 0 {
				first = y
			}
			last = y
		}
	}
	if first < 0 {
		t.Fatalf("column %d has no pixel of %v, want at least one", x, c)
	}
	return first, last
}

// renderFigure returns a figure as a picture.
func renderFigure(t *testing.T, f *figure) image.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.png")
	if err := f.save(path, PNG); err != nil {
		t.Fatal(err)
	}
	return read(t, path)
}

// TestPanelPositions checks the heights of horizontal lines in two panels. The upper panel is three
// times as high as the lower one.
func TestPanelPositions(t *testing.T) {
	values := []float64{0, 0.25, 1, 0, 0.25, 1}
	f := &figure{title: "title", note: "note"}
	for i, share := range []float64{3, 1} {
		p := newPanel("x", "y")
		p.Y.Min, p.Y.Max = 0, 1
		for k, v := range values[3*i:][:3] {
			p.Add(series{x: []float64{0, 1}, y: []float64{v, v}, mark: mark{color: colors[3*i+k]}})
		}
		f.panels = append(f.panels, panel{p, share})
	}
	picture := renderFigure(t, f)
	middle := func(i int) float64 {
		first, last := rows(t, picture, 800, colors[i])
		return float64(first+last) / 2
	}
	for i := range f.panels {
		low, high := middle(3*i), middle(3*i+2)
		if got, want := middle(3*i+1), low+0.25*(high-low); math.Abs(got-want) > 2 {
			t.Errorf("panel %d: 0.25 is in row %v, want %v, between %v and %v", i+1, got, want, low, high)
		}
	}
	if upper, lower := middle(0)-middle(2), middle(3)-middle(5); math.Abs(upper/lower-3) > 0.1 || middle(0) >= middle(5) {
		t.Errorf("the panels have %v and %v rows, the upper one ends at %v and the lower one begins at %v; want a ratio of 3 to 1 and no overlap", upper, lower, middle(0), middle(5))
	}
}

// TestManyRuns checks that a long legend makes a picture higher and not wider.
func TestManyRuns(t *testing.T) {
	var runs []Run
	for range 28 {
		runs = append(runs, Run{Name: strings.Repeat("long ", 12), Report: report(9, 0.6)})
	}
	few, many := renderFigure(t, nearZero(forDrawing(runs[:2]))), renderFigure(t, nearZero(forDrawing(runs)))
	if few.Bounds().Dy() != 1000 || many.Bounds().Dy() <= 1000 || many.Bounds().Dx() != 1600 {
		t.Errorf("the picture of 2 runs is %v and that of 28 is %v, want 1600×1000 pixels and more rows", few.Bounds(), many.Bounds())
	}
}

// TestSameBytes checks that equal reports give equal bytes, and different reports do not.
func TestSameBytes(t *testing.T) {
	bytesOf := func(level float64) []byte {
		dir := t.TempDir()
		if _, err := Draw(dir, []Run{{Name: "a", Report: report(6, level)}}, PNG); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "near_zero.png"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(bytesOf(0.5), bytesOf(0.5)) {
		t.Error("equal reports give different bytes, want equal ones")
	}
	if bytes.Equal(bytesOf(0.5), bytesOf(0.4)) {
		t.Error("different reports give equal bytes, want different ones")
	}
}

// TestMissingFolder checks that Draw fails if the folder does not exist.
func TestMissingFolder(t *testing.T) {
	if _, err := Draw(filepath.Join(t.TempDir(), "missing"), []Run{{Epochs: epochs(2)}}, PNG); err == nil {
		t.Error("Draw succeeds in a folder that does not exist, want an error")
	}
}

// TestReportError damages one part of a report at a time, and checks that Draw refuses the report
// before it draws anything.
func TestReportError(t *testing.T) {
	for wantErr, damage := range map[string]func(r *analysis.Report){
		"edge 2 of γ's bins is -0.5":             func(r *analysis.Report) { r.GammaEdges[1] = -0.5 },
		"edge 4 of γ's bins is +Inf":             func(r *analysis.Report) { r.GammaEdges[3] = math.Inf(1) },
		"threshold 2 of near_zero_thresholds":    func(r *analysis.Report) { r.NearZero[1] = 0.001 },
		"threshold 1 of near_zero_thresholds":    func(r *analysis.Report) { r.NearZero[0] = 0 },
		"total.near_zero has 2 values for 3":     func(r *analysis.Report) { r.Total.NearZero = r.Total.NearZero[:2] },
		"near_zero of layer 3 (bn) has 2 values": func(r *analysis.Report) { r.Layers[2].NearZero = r.Layers[2].NearZero[:2] },
		"layer 2 (bn) has 4 bins of γ":           func(r *analysis.Report) { r.Layers[1].Gamma.Histogram = make([]int, 4) },
		"layer 2 (bn) has a negative count":      func(r *analysis.Report) { r.Layers[1].Gamma.Histogram[1] = -12 },
		"near_zero of layer 4 (bn) has 0 values": func(r *analysis.Report) { r.Layers[3].NearZero = nil },
		"layer 3 (bn) has 2 bins of γ": func(r *analysis.Report) {
			r.Layers[2].NearZero, r.Layers[2].Gamma = nil, analysis.Distribution{Histogram: make([]int, 2)}
		},
		"layer 1 (bn) has 0 quantiles of γ":     func(r *analysis.Report) { r.Layers[0].Gamma.Quantiles = nil },
		"first threshold of the sweep is 0.01":  func(r *analysis.Report) { r.Sweep = r.Sweep[1:] },
		"threshold 3 of the sweep is 0.01":      func(r *analysis.Report) { r.Sweep[2].Threshold = 0.01 },
		"below threshold 3 of the sweep is 1.5": func(r *analysis.Report) { r.Sweep[2].Share = 1.5 },
		"threshold 2 of the sweep is -1":        func(r *analysis.Report) { r.Sweep[1].Threshold = -1 },
		"threshold 3 of the sweep is +Inf":      func(r *analysis.Report) { r.Sweep[2].Threshold = math.Inf(1) },

		"sensitivity has 3 layers, but the report has 4": func(r *analysis.Report) { r.Sensitivity.Layers = r.Sensitivity.Layers[:3] },
		"share 2 of the sensitivity is 0.25":             func(r *analysis.Report) { r.Sensitivity.Shares[1] = 0.25 },
		"share 2 of the sensitivity is 1.5":              func(r *analysis.Report) { r.Sensitivity.Shares[1] = 1.5 },
		"has 1 accuracies for 2 shares":                  func(r *analysis.Report) { r.Sensitivity.Layers[2].Clamped = r.Sensitivity.Layers[2].Clamped[:1] },
		"has the accuracy NaN":                           func(r *analysis.Report) { r.Sensitivity.Layers[3].Clamped[1].TestAccuracy = math.NaN() },
		"accuracy without clamped channels is +Inf":      func(r *analysis.Report) { r.Sensitivity.Unclamped.TestAccuracy = math.Inf(1) },
	} {
		bad := reportWithSensitivity(4)
		for i := range bad.Layers {
			bad.Layers[i].Name = "bn"
		}
		damage(bad)
		dir := t.TempDir()
		_, err := Draw(dir, []Run{{Name: "good", Report: report(4, 0.5)}, {Name: "bad", Report: bad}}, PNG)
		var refused *ReportError
		if !errors.As(err, &refused) || refused.Run != "bad" || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("got error %v, want a *ReportError of the run bad with %q", err, wantErr)
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%s: Draw wrote %v, want no files", wantErr, files[0])
		}
	}
}

// TestExtremeValues checks that values that are very large, very small, all equal or missing can
// be drawn.
func TestExtremeValues(t *testing.T) {
	for name, change := range map[string]func(r *analysis.Report, e []rundir.EpochMetrics){
		"huge": func(r *analysis.Report, e []rundir.EpochMetrics) {
			r.Sweep[2].TestAccuracy, r.Layers[1].NearZero[2], r.GammaEdges[0] = math.MaxFloat64, math.MaxFloat64, -1e299
			r.Layers[1].Gradient.Gamma, e[1].TestLoss, e[1].TrainAccuracy = math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64
			r.Layers[1].Gamma.Quantiles = slices.Repeat([]float64{math.MaxFloat64}, len(analysis.Levels))
		},
		"tiny": func(r *analysis.Report, e []rundir.EpochMetrics) {
			r.Sweep[1].Threshold, r.Sweep[2].Threshold = 5e-324, 1e-323
			r.Layers[1].Gradient.Gamma, e[1].TestLoss, e[1].LearningRate = 5e-324, 5e-324, 5e-324
		},
		"equal": func(r *analysis.Report, e []rundir.EpochMetrics) {
			r.Sweep = r.Sweep[:2]
			for i := range e {
				e[i].TestLoss, e[i].TrainLoss = 1, 1
			}
		},
		"no channels": func(r *analysis.Report, _ []rundir.EpochMetrics) {
			r.Layers[1].Sparsity.Channels = 0
			r.Layers[1].Gamma.Histogram = []int{0, 0, 0}
			r.Layers[2].Gamma, r.Layers[2].NearZero = analysis.Distribution{Histogram: make([]int, 3)}, nil // all channels are pruned
		},
	} {
		r, e := report(4, 0.5), epochs(4)
		change(r, e)
		if pictures := drawAll(t, []Run{{Name: name, Report: r, Epochs: e}}); len(pictures) != 7 {
			t.Errorf("%s: got %d pictures, want 7", name, len(pictures))
		}
	}
}

// TestTicks checks that labels are few round numbers within the axis.
func TestTicks(t *testing.T) {
	for _, c := range []struct {
		t         plot.Ticker
		low, high float64
		labels    []string
	}{
		{ticks{}, -1.6, 5.5, []string{"0", "2", "4"}},
		{ticks{percent: true}, 0, 0.32, []string{"0%", "5%", "10%", "15%", "20%", "25%", "30%"}},
		{ticks{whole: true}, 1, 3, []string{"1", "2", "3"}},
		{ticks{}, 0.3, 0.7, []string{"0.3", "0.4", "0.5", "0.6", "0.7"}},
		{ticks{}, 1, 1, []string{"1"}},
		{ticks{percent: true, maxSteps: 3}, 0, 0.6, []string{"0%", "20%", "40%", "60%"}},
		{logTicks{10}, -3, -2, []string{"0.001", "0.002", "0.005", "0.01"}},
		{logTicks{3}, -3, -1, []string{"0.001", "", "", "0.01", "", "", "0.1"}},
		{logTicks{3}, -6, 0, []string{"1e-06", "", "0.0001", "", "0.01", "", "1"}},
	} {
		var labels []string
		for _, m := range c.t.Ticks(c.low, c.high) {
			labels = append(labels, m.Label)
			if m.Value < c.low-1e-9 || m.Value > c.high+1e-9 {
				t.Errorf("%+v: label %q is at %v, want a value from %v to %v", c.t, m.Label, m.Value, c.low, c.high)
			}
		}
		if !slices.Equal(labels, c.labels) {
			t.Errorf("%+v from %v to %v: got labels %q, want %q", c.t, c.low, c.high, labels, c.labels)
		}
	}
}
