package plots

import (
	"fmt"
	"math"
	"strings"

	"bnkit/engine/rundir"
)

// trackedKinds lists the kinds of parameters whose gradients are tracked. The first three are
// the kinds of gradients.png, so they have the same colours there.
var trackedKinds = []struct {
	kind        rundir.GradientKind
	name, label string // in a legend; beside a panel
}{
	{"gamma", "γ", "γ"}, {"beta", "β", "β"}, {"convolution", "convolution weights", "conv. W"},
	{"output_weight", "output weights", "output W"}, {"output_bias", "output bias", "output b"},
	{"convolution_bias", "convolution biases", "conv. b"},
}

// gradientEpochs draws the mean absolute gradient of each kind over the epochs ("Yet Another
// Batch Norm Analysis", gradient magnitudes of VGG-38). Lines of frozen kinds are dashed. A
// single run has one panel, and several runs have one panel for each kind.
func gradientEpochs(runs []Run) *figure {
	f := &figure{
		title: title("Mean gradient magnitude by kind of parameter over the epochs", runs),
		scope: scope(runs, func(r Run) string { return overGradients(r.Epochs) }),
	}
	single := len(runs) == 1
	low, high := math.Inf(1), math.Inf(-1)
	var zero []string
	frozen, inPart := false, false
	named := make([]bool, len(runs)) // in the legend
	for k, kind := range trackedKinds {
		p := newPanel("", kind.label)
		if single && len(f.panels) > 0 {
			p = f.panels[0].Plot
		}
		drawn := false
		for i, run := range runs {
			look, name := markOf(i), run.Name
			if single {
				look, name = markOf(k), kind.name
			}
			plain := look
			s := series{}
			measured, parameters, trained := false, 0, 0
			for _, m := range run.Epochs {
				mean := math.NaN()
				if m.Gradients != nil {
					if g, has := m.Gradients.Kinds[kind.kind]; has {
						mean, measured, parameters, trained = float64(g.Mean), true, g.Parameters, g.Trained
					}
				}
				y := math.NaN()
				// A logarithmic axis cannot show a gradient of exactly zero.
				if mean > 0 && finite(mean) {
					low, high, y = min(low, mean), max(high, mean), math.Log10(mean)
				}
				s.x, s.y = append(s.x, float64(m.Epoch)), append(s.y, y)
			}
			if measured && !s.any() {
				zero = append(zero, kind.name)
				if !single {
					zero[len(zero)-1] += " of " + run.Name
				}
			}
			if !s.any() {
				continue
			}
			switch {
			case trained == 0:
				look.dashes, frozen = dashes[1], true
			case trained < parameters:
				look.dashes, inPart = dashes[2], true
			}
			s.mark, drawn = look, true
			p.Add(s)
			switch {
			case single && trained == 0:
				f.legend = append(f.legend, entry{name: name + " (frozen)", mark: look})
			case single:
				f.legend = append(f.legend, entry{name: name, mark: look})
			case !named[i]:
				f.legend, named[i] = append(f.legend, entry{name: name, mark: plain}), true
			}
		}
		if drawn && (!single || len(f.panels) == 0) {
			f.panels = append(f.panels, panel{p, 1})
		}
	}
	if len(f.panels) == 0 {
		return nil
	}
	if single {
		f.panels[0].Y.Label.Text = "mean |∂loss/∂parameter|"
	} else {
		f.note = "Mean |∂loss/∂parameter| of γ, β, weights W and biases b. "
	}
	if frozen {
		f.note += "Dashed: frozen parameters, whose gradients are only measured. "
	}
	if inPart {
		f.note += "Dotted: only some parameters of this kind are trained. "
	}
	if len(zero) > 0 {
		f.note += "Zero in every epoch: " + strings.Join(zero, ", ") + ". "
	}
	d := rateDrops(runs)
	if len(d.x) > 0 {
		f.note += "Grey: the learning rate drops."
	}
	sameX(f.panels)
	for i, p := range f.panels {
		logAxis(&p.Y, roundDown(low), roundUp(high), max(10/len(f.panels), 3))
		p.X.Tick.Marker = ticks{whole: true}
		if i > 0 {
			d.labels = make([]string, len(d.x))
		}
		p.Add(d)
	}
	f.panels[len(f.panels)-1].X.Label.Text = "epoch"
	return f
}

// overGradients describes what tracked gradients were taken over. It returns "" if there are
// none.
func overGradients(epochs []rundir.EpochMetrics) string {
	for _, m := range epochs {
		if g := m.Gradients; g != nil {
			how := "not augmented"
			if g.Augmented {
				how = "augmented"
			}
			return fmt.Sprintf("training: all %d batches of each epoch, %d pictures, %s, training mode (%s statistics)", g.Batches, g.Examples, how, g.Statistics)
		}
	}
	return ""
}
