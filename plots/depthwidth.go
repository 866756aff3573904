package plots

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
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
		note: "Each mark is a run; lines join the means of each network's runs. Width: channels of the first convolution.",
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
	shareAxis(p, 7)
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

func (s size) mean() float64 {
	var sum float64
	for _, a := range s.accuracies {
		sum += a
	}
	return sum / float64(len(s.accuracies))
}

// sizesOf returns the sizes of the runs' networks, ordered by the number of parameters.
func sizesOf(runs []Run) []size {
	var sizes []size
	for _, r := range runs {
		m := r.Summary.Model
		at := slices.IndexFunc(sizes, func(s size) bool {
			return s.depth == m.Depth && s.width == m.Width && s.parameters == m.BNParameters
		})
		if at < 0 {
			at = len(sizes)
			sizes = append(sizes, size{depth: m.Depth, width: m.Width, parameters: m.BNParameters})
		}
		sizes[at].accuracies = append(sizes[at].accuracies, r.Summary.Result.TestAccuracy)
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

// trendsOf returns a trend by depth for each width, a trend by width for each depth, and then
// the networks that belong to no trend. It separates runs that differ in trainable set, data
// or shortcuts.
func trendsOf(runs []Run) []trend {
	type family struct{ trainable, data, shortcut string }
	var families []family
	members := map[family][]Run{}
	for _, r := range runs {
		c := &r.Summary.Config
		key := family{c.Trainable, r.Summary.Model.Data, c.Shortcut}
		if members[key] == nil {
			families = append(families, key)
		}
		members[key] = append(members[key], r)
	}
	var trends []trend
	for _, key := range families {
		parts := []string{""}
		for _, part := range []struct {
			format string
			of     func(family) string
		}{
			{"trained: %s", func(f family) string { return f.trainable }},
			{"data: %s", func(f family) string { return f.data }},
			{"shortcut %s", func(f family) string { return f.shortcut }},
		} {
			if slices.ContainsFunc(families, func(f family) bool { return part.of(f) != part.of(key) }) {
				parts = append(parts, fmt.Sprintf(part.format, part.of(key)))
			}
		}
		suffix := strings.Join(parts, ", ")
		sizes := sizesOf(members[key])
		compared := make([]bool, len(sizes))
		for _, way := range []struct {
			format string
			fixed  func(size) int
			label  func(size) string
		}{
			{"by depth, width %d", func(s size) int { return s.width }, func(s size) string { return fmt.Sprint(s.depth) }},
			{"by width, depth %d", func(s size) int { return s.depth }, func(s size) string { return fmt.Sprint(s.width) }},
		} {
			groups := map[int][]int{} // indices of sizes
			for i, s := range sizes {
				groups[way.fixed(s)] = append(groups[way.fixed(s)], i)
			}
			for _, fixed := range slices.Sorted(maps.Keys(groups)) {
				if len(groups[fixed]) < 2 {
					continue
				}
				t := trend{name: fmt.Sprintf(way.format, fixed) + suffix, label: way.label, below: strings.HasPrefix(way.format, "by width")}
				for _, i := range groups[fixed] {
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

func (t trend) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	line := series{mark: t.mark}
	line.mark.shape = nil
	style := textStyle(8.5, t.mark.color)
	for _, s := range t.sizes {
		at := math.Log10(float64(s.parameters))
		line.x, line.y = append(line.x, at), append(line.y, s.mean())
		for _, a := range s.accuracies {
			c.DrawGlyphNoClip(t.mark.glyph(1.2*markRadius), vg.Point{X: x(at), Y: y(a)})
		}
		// Accuracy usually rises with size, so labels on the upper left and lower right of
		// the marks do not cover the lines.
		beside := vg.Point{X: x(at) - vg.Points(3), Y: y(slices.Max(s.accuracies)) + vg.Points(12)}
		style.XAlign = draw.XRight
		if t.below {
			beside = vg.Point{X: x(at) + vg.Points(3), Y: y(slices.Min(s.accuracies)) - vg.Points(3)}
			style.XAlign = draw.XLeft
		}
		c.FillText(style, beside, t.label(s))
	}
	if len(line.x) > 1 {
		line.Plot(c, p)
	}
}

// DataRange implements plot.DataRanger.
func (t trend) DataRange() (xmin, xmax, ymin, ymax float64) {
	var s series
	for _, size := range t.sizes {
		for _, a := range size.accuracies {
			s.x, s.y = append(s.x, math.Log10(float64(size.parameters))), append(s.y, a)
		}
	}
	return s.DataRange()
}
