package plots

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"

	"bnkit/analysis"
)

// depth is the horizontal axis of pictures by layer. It shows the number of the layer. If
// networks of different depth are drawn in one panel, it shows the relative depth instead,
// so that corresponding stages are at the same position.
type depth struct {
	layers   int // of the deepest network
	relative bool
}

// depthOf returns the axis for the runs that have the values to be drawn. ok reports whether
// there is such a run.
func depthOf(runs []Run, has func(*analysis.Report) bool) (d depth, ok bool) {
	for _, r := range runs {
		if r.Report == nil || len(r.Report.Layers) == 0 || !has(r.Report) {
			continue
		}
		n := len(r.Report.Layers)
		d.relative = d.relative || ok && n != d.layers
		d.layers, ok = max(d.layers, n), true
	}
	return d, ok
}

// series returns the line of a value over the layers. A NaN is a gap.
func (d depth) series(r *analysis.Report, m mark, value func(*analysis.Layer) float64) series {
	s := series{mark: m}
	for i := range r.Layers {
		x := float64(i + 1)
		if d.relative {
			x = float64(i) / float64(max(len(r.Layers)-1, 1))
		}
		s.x, s.y = append(s.x, x), append(s.y, value(&r.Layers[i]))
	}
	return s
}

// axis sets the panel's horizontal axis.
func (d depth) axis(p *plot.Plot) {
	if d.relative {
		p.X.Min, p.X.Max = -0.01, 1.01
		p.X.Tick.Marker = ticks{percent: true}
		return
	}
	p.X.Min, p.X.Max = 0.5, float64(d.layers)+0.5
	p.X.Tick.Marker = ticks{whole: true}
}

// label returns the label of the horizontal axis.
func (d depth) label() string {
	if d.relative {
		return "BatchNorm layer, from each network's first (0%) to its last (100%)"
	}
	return "BatchNorm layer, input to output"
}

// headline returns the index of the threshold at which several runs are compared. It is 0.01
// or, if that was not counted, the middle threshold.
func headline(r *analysis.Report) int {
	if i := slices.Index(r.NearZero, 0.01); i >= 0 {
		return i
	}
	return len(r.NearZero) / 2
}

// totalNearZero returns the share of all γ below threshold i, or NaN if it is missing.
func totalNearZero(r *analysis.Report, i int) float64 {
	if i >= len(r.Total.NearZero) {
		return math.NaN()
	}
	return r.Total.NearZero[i]
}

// nearZero draws the share of small γ by depth. It draws all thresholds of a single run, and
// one common threshold of several runs.
func nearZero(runs []Run) *figure {
	d, ok := depthOf(runs, func(r *analysis.Report) bool { return len(r.NearZero) > 0 })
	if !ok {
		return nil
	}
	f := &figure{
		title: title("Share of γ near zero, layer by layer", runs),
		scope: network(runs),
		note:  "Dashed: the share over all layers.",
	}
	p := newPanel(d.label(), "share of the layer's γ")
	add := func(r *analysis.Report, m mark, at int, name string) {
		s := d.series(r, m.thin(), func(l *analysis.Layer) float64 { return l.NearZero[at] })
		if !s.any() {
			return
		}
		p.Add(s)
		if t := totalNearZero(r, at); finite(t) {
			p.Add(horizontal{y: t, style: reference(m.color)})
			name += fmt.Sprintf(" (%.1f%% of all)", 100*t)
		}
		f.legend = append(f.legend, entry{name: name, mark: m})
	}
	if len(runs) == 1 {
		r := runs[0].Report
		for at, t := range r.NearZero {
			add(r, markOf(at), at, fmt.Sprintf("|γ| < %g", t))
		}
	} else {
		t := 0.0
		for i, run := range runs {
			r := run.Report
			if r == nil || len(r.NearZero) == 0 {
				continue
			}
			if t == 0 {
				t = r.NearZero[headline(r)]
				f.title = fmt.Sprintf("Share of γ near zero (|γ| < %g), layer by layer", t)
			}
			if at := slices.Index(r.NearZero, t); at >= 0 {
				add(r, markOf(i), at, run.Name)
			} else {
				f.note += fmt.Sprintf(" %s was not counted at %g.", run.Name, t)
			}
		}
	}
	if len(f.legend) == 0 {
		return nil
	}
	shareAxis(p, 7)
	d.axis(p)
	f.panels = []panel{{p, 1}}
	return f
}

// sparsity draws the share of zero activations and the share of dead channels by depth.
func sparsity(runs []Run) *figure {
	d, ok := depthOf(runs, func(r *analysis.Report) bool { return r.Sparsity != nil })
	if !ok {
		return nil
	}
	f := &figure{
		title: title("Activation sparsity, layer by layer", runs),
		scope: over(runs, func(r *analysis.Report) *analysis.Scope { return r.Sparsity }),
		note:  "A gap is a layer without a ReLU, such as a shortcut. A block's last ReLU follows the residual sum.",
	}
	zero, off := newPanel("", "zero ReLU outputs"), newPanel(d.label(), "channels off > 99%")
	for i, run := range runs {
		r := run.Report
		if r == nil || r.Sparsity == nil {
			continue
		}
		part := func(of func(*analysis.Sparsity) float64) series {
			return d.series(r, markOf(i).thin(), func(l *analysis.Layer) float64 {
				if l.Sparsity == nil {
					return math.NaN()
				}
				return of(l.Sparsity)
			})
		}
		zero.Add(part(func(s *analysis.Sparsity) float64 { return s.Zero }))
		off.Add(part(func(s *analysis.Sparsity) float64 { return float64(s.MostlyOff) / float64(s.Channels) }))
		if len(runs) > 1 {
			name := run.Name
			if t := r.Total.Sparsity; t != nil {
				name += fmt.Sprintf(" (%.0f%% of all outputs are zero)", 100*t.Zero)
			}
			f.legend = append(f.legend, entry{name: name, mark: markOf(i)})
		}
	}
	for _, p := range []*plot.Plot{zero, off} {
		shareAxis(p, 5)
		d.axis(p)
		f.panels = append(f.panels, panel{p, 1})
	}
	return f
}

// kinds lists the kinds of parameters that have gradients.
var kinds = []struct {
	name string
	of   func(*analysis.Magnitude) float64
}{
	{"γ", func(m *analysis.Magnitude) float64 { return m.Gamma }},
	{"β", func(m *analysis.Magnitude) float64 { return m.Beta }},
	{"convolution weights", func(m *analysis.Magnitude) float64 { return m.Convolution }},
}

// gradients draws the mean absolute gradient of each kind by depth. A single run has one panel,
// and several runs have one panel for each kind.
func gradients(runs []Run) *figure {
	d, ok := depthOf(runs, func(r *analysis.Report) bool { return r.Gradients != nil })
	if !ok {
		return nil
	}
	f := &figure{
		title: title("Mean gradient magnitude by kind of parameter, layer by layer", runs),
		scope: over(runs, func(r *analysis.Report) *analysis.Scope { return r.Gradients }),
		note:  "Gradients of frozen parameters are measured too.",
	}
	single := len(runs) == 1
	low, high := math.Inf(1), math.Inf(-1)
	for k, kind := range kinds {
		if k == 0 || !single {
			f.panels = append(f.panels, panel{newPanel("", "|∂loss/∂"+kind.name+"|"), 1})
		}
		p := f.panels[len(f.panels)-1]
		for i, run := range runs {
			r := run.Report
			if r == nil || r.Gradients == nil {
				continue
			}
			look, name := markOf(i), run.Name
			if single {
				look, name = markOf(k), kind.name
			}
			s := d.series(r, look.thin(), func(l *analysis.Layer) float64 {
				// A logarithmic axis cannot show a gradient of exactly zero.
				if l.Gradient == nil || !(kind.of(l.Gradient) > 0) {
					return math.NaN()
				}
				low, high = min(low, kind.of(l.Gradient)), max(high, kind.of(l.Gradient))
				return math.Log10(kind.of(l.Gradient))
			})
			p.Add(s)
			if single || k == 0 {
				f.legend = append(f.legend, entry{name: name, mark: look})
			}
		}
	}
	if !finite(low) {
		return nil
	}
	if single {
		f.panels[0].Y.Label.Text = "mean |∂loss/∂parameter|"
	} else {
		f.panels[len(kinds)-1].Y.Label.Text = "|∂loss/∂w|"
		f.note = "γ, β and the convolutions' weights w. " + f.note
	}
	f.panels[len(f.panels)-1].X.Label.Text = d.label()
	for _, p := range f.panels {
		d.axis(p.Plot)
		logAxis(&p.Y, roundDown(low), roundUp(high), 10/len(f.panels))
	}
	return f
}
