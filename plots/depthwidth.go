package plots

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"bnkit/analysis"
)

// depthWidth draws test accuracy against the number of BatchNorm parameters. One line joins
// networks that differ only in depth, and another joins networks that differ only in width
// (Frankle et al. 2021, section 4). It returns nil if all networks have the same size.
func depthWidth(runs []Run) *figure {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool {
		s := r.Summary
		return s == nil || s.Model == nil || s.Result == nil || s.Model.BNParameters < 1 || !finite(s.Result.TestAccuracy)
	})
	if sizes := sizesOf(runs); !slices.ContainsFunc(sizes, func(s size) bool { return s.depth != sizes[0].depth || s.width != sizes[0].width }) {
		return nil
	}
	f := &figure{
		title: "Test accuracy of deeper and of wider networks",
		scope: scope(runs, func(r Run) string {
			return fmt.Sprintf("%d pictures of the test split of %s after the last epoch, inference mode (%s statistics)",
				r.Summary.Result.TestExamples, r.Summary.Model.Data, r.Summary.Result.TestStatistics)
		}),
		note: "Large marks: means of runs that differ only in their seeds; bars: ± one standard deviation; small marks: runs. Numbers: depth or width (channels of the first convolution).",
	}
	p := newPanel("number of BatchNorm parameters, γ and β", "test accuracy")
	low, high := math.Inf(1), 0.0
	for i, t := range trendsOf(runs) {
		t.mark = markOf(i)
		p.Add(t)
		for _, s := range t.sizes {
			low, high = min(low, float64(s.parameters)), max(high, float64(s.parameters))
		}
		f.legend = append(f.legend, entry{name: t.name, mark: t.mark})
	}
	// Differences would be invisible on an axis that begins at 0.
	shares := ticks{percent: true, maxSteps: 7}
	step := shares.step(p.Y.Min, p.Y.Max) / 100
	p.Y.Min, p.Y.Max = max(0, math.Floor(p.Y.Min/step-0.4)*step), math.Ceil(p.Y.Max/step+0.4)*step
	p.Y.Tick.Marker = shares
	logAxis(&p.X, roundDown(low), roundUp(high), 12)
	margin := 0.03 * (p.X.Max - p.X.Min) // for labels at the ends
	p.X.Min, p.X.Max = p.X.Min-margin, p.X.Max+margin
	f.panels = []panel{{p, 1}}
	return f
}

// size is the size of a network and the accuracies of its runs.
type size struct {
	depth, width, parameters int // parameters of BatchNorm
	accuracies               []float64
}

func (s size) mean() float64 { return stat.Mean(s.accuracies, nil) }

// spread returns the standard deviation over the runs, or 0 for a single run.
func (s size) spread() float64 {
	if len(s.accuracies) < 2 {
		return 0
	}
	return stat.StdDev(s.accuracies, nil)
}

// sizesOf returns the sizes of the runs' networks, ordered by the number of parameters.
func sizesOf(runs []Run) []size {
	var sizes []size
	for _, r := range runs {
		m := r.Summary.Model
		i := slices.IndexFunc(sizes, func(s size) bool {
			return s.depth == m.Depth && s.width == m.Width && s.parameters == m.BNParameters
		})
		if i < 0 {
			i = len(sizes)
			sizes = append(sizes, size{depth: m.Depth, width: m.Width, parameters: m.BNParameters})
		}
		sizes[i].accuracies = append(sizes[i].accuracies, r.Summary.Result.TestAccuracy)
	}
	slices.SortStableFunc(sizes, func(a, b size) int { return cmp.Compare(a.parameters, b.parameters) })
	return sizes
}

// trend is a plotter of networks that differ either in depth or in width.
type trend struct {
	name  string
	sizes []size
	mark  mark
	label func(size) string
	below bool // whether labels are below the marks
}

// comparableRuns divides the runs into groups whose members differ only in seed, depth, width
// and settings that do not change results. It also returns a text for each group, with the
// properties in which the groups differ.
func comparableRuns(runs []Run) (groups [][]Run, texts []string) {
	summaries := make([]*analysis.Summary, len(runs))
	for i, r := range runs {
		summaries[i] = r.Summary
	}
	properties := []analysis.Setting{{Name: "network"}, {Name: "done"}}
	for _, r := range runs {
		properties[0].Values = append(properties[0].Values, r.Summary.Model.Family)
		done := "all epochs"
		if s := r.Summary; s.Epochs < s.Config.Epochs {
			done = fmt.Sprintf("%d epochs", s.Epochs)
		}
		properties[1].Values = append(properties[1].Values, done)
	}
	for _, s := range analysis.Differences(summaries) {
		// The last two settings do not change results.
		if !slices.Contains([]string{"seed", "arch", "width", "track_gradients", "with_stats"}, s.Name) {
			s.Name = strings.ReplaceAll(s.Name, "_", " ")
			properties = append(properties, s)
		}
	}
	for i, r := range runs {
		var parts []string
		for _, p := range properties {
			if len(slices.Compact(slices.Clone(p.Values))) > 1 {
				parts = append(parts, p.Name+": "+cmp.Or(p.Values[i], "default"))
			}
		}
		text := strings.Join(parts, ", ")
		group := slices.Index(texts, text)
		if group < 0 {
			group = len(texts)
			groups, texts = append(groups, nil), append(texts, text)
		}
		groups[group] = append(groups[group], r)
	}
	return groups, texts
}

// trendsOf returns the trends of each group of comparable runs: a trend by depth for each width, a
// trend by width for each depth, and one for each network that belongs to neither.
func trendsOf(runs []Run) []trend {
	var trends []trend
	groups, texts := comparableRuns(runs)
	for g, members := range groups {
		suffix := ""
		if texts[g] != "" {
			suffix = ", " + texts[g]
		}
		sizes := sizesOf(members)
		compared := make([]bool, len(sizes))
		for _, direction := range []struct {
			format string
			fixed  func(size) int
			label  func(size) string
		}{
			{"by depth, width %d", func(s size) int { return s.width }, func(s size) string { return fmt.Sprint(s.depth) }},
			{"by width, depth %d", func(s size) int { return s.depth }, func(s size) string { return fmt.Sprint(s.width) }},
		} {
			byFixed := map[int][]int{} // indices of the sizes with the same fixed number
			for i, s := range sizes {
				byFixed[direction.fixed(s)] = append(byFixed[direction.fixed(s)], i)
			}
			for _, fixed := range slices.Sorted(maps.Keys(byFixed)) {
				if len(byFixed[fixed]) < 2 {
					continue
				}
				t := trend{name: fmt.Sprintf(direction.format, fixed) + suffix, label: direction.label, below: strings.HasPrefix(direction.format, "by width")}
				for _, i := range byFixed[fixed] {
					t.sizes, compared[i] = append(t.sizes, sizes[i]), true
				}
				trends = append(trends, t)
			}
		}
		for i, s := range sizes {
			if !compared[i] {
				trends = append(trends, trend{name: fmt.Sprintf("depth %d, width %d", s.depth, s.width) + suffix, sizes: []size{s},
					label: func(size) string { return "" }})
			}
		}
	}
	return trends
}

// Plot implements plot.Plotter.
func (t trend) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	line := series{mark: t.mark}
	line.mark.shape = nil
	style := textStyle(8.5, t.mark.color)
	for _, s := range t.sizes {
		exponent := math.Log10(float64(s.parameters))
		center := x(exponent)
		line.x, line.y = append(line.x, exponent), append(line.y, s.mean())
		if len(s.accuracies) > 1 {
			for _, a := range s.accuracies {
				small := draw.GlyphStyle{Color: t.mark.color, Radius: 0.6 * markRadius, Shape: draw.RingGlyph{}}
				c.DrawGlyphNoClip(small, vg.Point{X: center, Y: y(a)})
			}
		}
		bar := draw.LineStyle{Color: t.mark.color, Width: vg.Points(0.9)}
		top, bottom := y(s.mean()+s.spread()), y(s.mean()-s.spread())
		c.StrokeLine2(bar, center, bottom, center, top)
		for _, end := range []vg.Length{top, bottom} {
			if top > bottom {
				c.StrokeLine2(bar, center-vg.Points(3), end, center+vg.Points(3), end)
			}
		}
		// Accuracy usually rises with size, so labels on the upper left and lower right of
		// the marks do not cover the lines.
		corner := vg.Point{X: center - vg.Points(5), Y: y(s.mean()) + vg.Points(11)}
		style.XAlign = draw.XRight
		if t.below {
			corner = vg.Point{X: center + vg.Points(5), Y: y(s.mean()) - vg.Points(2)}
			style.XAlign = draw.XLeft
		}
		c.FillText(style, corner, t.label(s))
	}
	if len(line.x) > 1 {
		line.Plot(c, p)
	}
	for i := range line.x {
		c.DrawGlyphNoClip(t.mark.glyph(1.2*markRadius), vg.Point{X: x(line.x[i]), Y: y(line.y[i])})
	}
}

// DataRange implements plot.DataRanger.
func (t trend) DataRange() (xmin, xmax, ymin, ymax float64) {
	var s series
	for _, size := range t.sizes {
		exponent := math.Log10(float64(size.parameters))
		for _, a := range append([]float64{size.mean() - size.spread(), size.mean() + size.spread()}, size.accuracies...) {
			s.x, s.y = append(s.x, exponent), append(s.y, a)
		}
	}
	return s.DataRange()
}
