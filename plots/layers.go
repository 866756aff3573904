package plots

import (
	"fmt"
	"math"
	"slices"

	"bnkit/analysis"
)

// comparedThreshold returns the index of the threshold at which several runs are compared. The
// threshold is 0.01 or, if r does not have 0.01, the middle one.
func comparedThreshold(r *analysis.Report) int {
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

// shareNearZero returns the share of a layer's γ below threshold i, or NaN if all its
// channels are pruned.
func shareNearZero(l *analysis.Layer, i int) float64 {
	if l.NearZero == nil {
		return math.NaN()
	}
	return l.NearZero[i]
}

// measure is a quantity of a layer, such as the share of small γ.
type measure struct {
	name  string
	value func(*analysis.Report, *analysis.Layer) float64 // NaN if it is missing
	total func(*analysis.Report) float64                  // over all layers; NaN if it is missing
}

// drawByRole draws measures of a single run, with a panel for each measure and a series for each
// role.
func (f *figure) drawByRole(d depth, run Run, measures []measure) {
	var used [shortcut + 1]bool
	for i, m := range measures {
		p := newPanel("", m.name)
		d.axis(p, 1, i == 0)
		for kind := range used {
			s := d.series(run.Report, role(kind), roleMark(role(kind)), func(l *analysis.Layer) float64 { return m.value(run.Report, l) })
			if s.hasData() {
				p.Add(s)
				used[kind] = true
			}
		}
		if m.total != nil && finite(m.total(run.Report)) {
			t := m.total(run.Report)
			p.Add(horizontal{y: t, style: reference(darkGrey)})
			p.Y.Max = max(p.Y.Max, t)
		}
		f.panels = append(f.panels, panel{p, 1})
	}
	for kind, drawn := range used {
		if drawn && used != [shortcut + 1]bool{true} {
			f.legend = append(f.legend, entry{name: roleNames[kind], mark: roleMark(role(kind))})
		}
	}
	f.panels[len(f.panels)-1].X.Label.Text = d.label()
}

// drawByRun draws measures of one or more runs. Each element of rows becomes a row of panels, with
// a line for each measure and run. names has the label of each row. If a run has last layers of
// blocks, they are in a second column together with the shortcuts. style returns the style of
// measure k of a run.
func (f *figure) drawByRun(d depth, runs []Run, rows [][]measure, names []string, style func(run Run, k int) mark) {
	columns := []role{inner}
	for _, r := range runs {
		if slices.ContainsFunc(r.Report.Layers, func(l analysis.Layer) bool { return roleOf(&l) == last }) {
			columns = []role{inner, last}
		}
	}
	f.columns = len(columns)
	shortcuts := false
	for row, measures := range rows {
		first := len(f.panels)
		for column, kind := range columns {
			name := ""
			if column == 0 {
				name = names[row]
			}
			p := newPanel("", name)
			if row == 0 && len(columns) > 1 {
				p.Title.Text = roleNames[kind]
				p.Title.TextStyle.Font = sans(9.5)
			}
			d.axis(p, 1/float64(len(columns)), row == 0)
			if row == len(rows)-1 {
				p.X.Label.Text = d.label()
				if len(columns) > 1 {
					p.X.Label.Text = "layer, input to output"
				}
			}
			for _, run := range runs {
				for k, m := range measures {
					value := func(l *analysis.Layer) float64 { return m.value(run.Report, l) }
					p.Add(d.series(run.Report, kind, style(run, k).thin(), value))
					if kind == last {
						s := d.series(run.Report, shortcut, style(run, k), value)
						s.mark.shape, s.mark.unjoined = diamondGlyph{}, true
						shortcuts = shortcuts || s.hasData()
						p.Add(s)
					}
				}
			}
			f.panels = append(f.panels, panel{p, 1})
		}
		sameY(f.panels[first:])
	}
	if shortcuts {
		f.note += " Diamonds: shortcuts."
	}
}

// nearZero draws the share of small γ by depth. For a single run it draws a panel for each
// threshold. It compares several runs at one threshold.
func nearZero(runs []Run) *figure {
	runs = runsWithValues(runs, func(r *analysis.Report) bool { return len(r.NearZero) > 0 })
	d, ok := depthOf(runs, func(r *analysis.Report) bool { return true })
	if !ok {
		return nil
	}
	f := &figure{title: title("Share of γ near zero, layer by layer", runs), scope: network(runs)}
	if len(runs) == 1 {
		var measures []measure
		for i, t := range runs[0].Report.NearZero {
			measures = append(measures, measure{
				name:  fmt.Sprintf("|γ| < %g", t),
				value: func(_ *analysis.Report, l *analysis.Layer) float64 { return shareNearZero(l, i) },
				total: func(r *analysis.Report) float64 { return totalNearZero(r, i) },
			})
		}
		f.drawByRole(d, runs[0], measures)
		f.note = "Share of the layer's γ. Dashed: the share over all layers."
	} else {
		t := runs[0].Report.NearZero[comparedThreshold(runs[0].Report)]
		f.title = fmt.Sprintf("Share of γ near zero (|γ| < %g), layer by layer", t)
		counted := slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return !slices.Contains(r.Report.NearZero, t) })
		for _, r := range runs {
			if !slices.Contains(r.Report.NearZero, t) {
				f.note += fmt.Sprintf(" %s is missing: its report has no threshold %g.", r.Name, t)
			}
		}
		m := measure{value: func(r *analysis.Report, l *analysis.Layer) float64 {
			return shareNearZero(l, slices.Index(r.NearZero, t))
		}}
		f.drawByRun(d, counted, [][]measure{{m}}, []string{"share of the layer's γ"}, func(run Run, _ int) mark { return run.style() })
		for _, r := range counted {
			name := r.Name
			if share := totalNearZero(r.Report, slices.Index(r.Report.NearZero, t)); finite(share) {
				name += fmt.Sprintf(" (%.1f%% of all)", 100*share)
			}
			f.legend = append(f.legend, entry{name: name, mark: r.style()})
		}
	}
	for _, p := range f.panels {
		shareAxis(p.Plot, max(3, 8-len(f.panels)))
	}
	return f
}

// runsWithValues returns the runs whose reports have layers and the values to be drawn.
func runsWithValues(runs []Run, hasValues func(*analysis.Report) bool) []Run {
	return slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Report == nil || len(r.Report.Layers) == 0 || !hasValues(r.Report) })
}

// sparsity draws by depth the share of zero ReLU outputs, and the share of channels with
// more than 99% of their outputs zero.
func sparsity(runs []Run) *figure {
	runs = runsWithValues(runs, func(r *analysis.Report) bool { return r.Sparsity != nil })
	d, ok := depthOf(runs, func(r *analysis.Report) bool { return true })
	if !ok {
		return nil
	}
	f := &figure{
		title: title("Activation sparsity, layer by layer", runs),
		scope: describeMeasurement(runs, func(r *analysis.Report) *analysis.Scope { return r.Sparsity }),
		note:  "The ReLU of the last layer in a block follows the residual sum. A shortcut has no ReLU.",
	}
	measureOf := func(value func(*analysis.Sparsity) float64) measure {
		return measure{
			value: func(_ *analysis.Report, l *analysis.Layer) float64 {
				if l.Sparsity == nil {
					return math.NaN()
				}
				return value(l.Sparsity)
			},
			total: func(r *analysis.Report) float64 {
				if r.Total.Sparsity == nil {
					return math.NaN()
				}
				return value(r.Total.Sparsity)
			},
		}
	}
	zero := measureOf(func(s *analysis.Sparsity) float64 { return s.Zero })
	off := measureOf(func(s *analysis.Sparsity) float64 { return float64(s.MostlyOff) / float64(s.Channels) })
	zero.name, off.name = "zero ReLU outputs", "channels > 99% zero"
	if len(runs) == 1 {
		f.drawByRole(d, runs[0], []measure{zero, off})
		f.note += " Dashed: over all layers."
	} else {
		f.drawByRun(d, runs, [][]measure{{zero}, {off}}, []string{zero.name, off.name}, func(run Run, _ int) mark { return run.style() })
		for _, r := range runs {
			name := r.Name
			if t := zero.total(r.Report); finite(t) {
				name += fmt.Sprintf(" (%.0f%% of all outputs are zero)", 100*t)
			}
			f.legend = append(f.legend, entry{name: name, mark: r.style()})
		}
	}
	for _, p := range f.panels {
		shareAxis(p.Plot, 5)
	}
	return f
}

// kinds lists the kinds of parameters whose gradients a report has.
var kinds = []struct {
	name, label string
	value       func(*analysis.Magnitude) float64
}{
	{"γ", "|∂loss/∂γ|", func(m *analysis.Magnitude) float64 { return m.Gamma }},
	{"β", "|∂loss/∂β|", func(m *analysis.Magnitude) float64 { return m.Beta }},
	{"convolution weights w", "|∂loss/∂w|", func(m *analysis.Magnitude) float64 { return m.Convolution }},
}

// gradients draws the mean absolute gradient of each kind by depth. A single run has one row of
// panels, and several runs have one row for each kind.
func gradients(runs []Run) *figure {
	runs = runsWithValues(runs, func(r *analysis.Report) bool { return r.Gradients != nil })
	d, ok := depthOf(runs, func(r *analysis.Report) bool { return true })
	if !ok {
		return nil
	}
	f := &figure{
		title: title("Mean gradient magnitude by kind of parameter, layer by layer", runs),
		scope: describeMeasurement(runs, func(r *analysis.Report) *analysis.Scope { return r.Gradients }),
		note:  "Gradients of frozen parameters are measured too.",
	}
	low, high := math.Inf(1), math.Inf(-1)
	var rows [][]measure
	var names []string
	for k, kind := range kinds {
		m := measure{value: func(_ *analysis.Report, l *analysis.Layer) float64 {
			// A logarithmic axis cannot show a gradient of exactly zero.
			if l.Gradient == nil || !(kind.value(l.Gradient) > 0) {
				return math.NaN()
			}
			low, high = min(low, kind.value(l.Gradient)), max(high, kind.value(l.Gradient))
			return math.Log10(kind.value(l.Gradient))
		}}
		if len(runs) > 1 || k == 0 {
			rows, names = append(rows, nil), append(names, kind.label)
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], m)
	}
	if len(runs) == 1 {
		names[0] = "mean |∂loss/∂parameter|"
		f.drawByRun(d, runs, rows, names, func(_ Run, k int) mark { return markOf(k) })
		for k, kind := range kinds {
			f.legend = append(f.legend, entry{name: kind.name, mark: markOf(k)})
		}
	} else {
		f.drawByRun(d, runs, rows, names, func(run Run, _ int) mark { return run.style() })
		for _, r := range runs {
			f.legend = append(f.legend, entry{name: r.Name, mark: r.style()})
		}
		f.note = "w: weights of convolutions. " + f.note
	}
	if !finite(low) {
		return nil
	}
	for _, p := range f.panels {
		logAxis(&p.Y, roundDown(low), roundUp(high), 10/len(rows))
	}
	return f
}

// sameY gives panels the same range of the vertical axis.
func sameY(panels []panel) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range panels {
		low, high = min(low, p.Y.Min), max(high, p.Y.Max)
	}
	for _, p := range panels {
		p.Y.Min, p.Y.Max = low, high
	}
}
