package plots

import (
	"fmt"
	"math"
	"slices"
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

// trackedCurve is the line of the gradients of one kind in one run. Its vertical coordinates are
// logarithms.
type trackedCurve struct {
	series
	measured            bool // whether the gradients of the kind were tracked
	parameters, trained int  // numbers of all parameters of the kind, and of trained ones
}

// trackedOf returns the line of a kind over the epochs.
func trackedOf(epochs []rundir.EpochMetrics, kind rundir.GradientKind, m mark) trackedCurve {
	c := trackedCurve{series: series{mark: m}}
	for _, e := range epochs {
		y := math.NaN()
		if e.Gradients != nil {
			if g, ok := e.Gradients.Kinds[kind]; ok {
				c.measured, c.parameters, c.trained = true, g.Parameters, g.Trained
				// A logarithmic axis cannot show a gradient of exactly zero.
				if g.Mean > 0 && finite(float64(g.Mean)) {
					y = math.Log10(float64(g.Mean))
				}
			}
		}
		c.x, c.y = append(c.x, float64(e.Epoch)), append(c.y, y)
	}
	return c
}

// gradientEpochs draws the mean absolute gradient of each kind over the epochs ("Yet Another
// Batch Norm Analysis", gradient magnitudes of VGG-38). A single run has one panel, in which
// lines of frozen kinds are dashed. Several runs have one panel for each kind.
func gradientEpochs(runs []Run) *figure {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return describeGradients(r.Epochs) == "" })
	f := &figure{
		title: title("Mean gradient magnitude by kind of parameter over the epochs", runs),
		scope: scope(runs, func(r Run) string { return describeGradients(r.Epochs) }),
	}
	var zeroKinds []string
	if len(runs) == 1 {
		zeroKinds = f.gradientsOfRun(runs[0])
	} else {
		zeroKinds = f.gradientsOfRuns(runs)
	}
	if len(f.panels) == 0 {
		return nil
	}
	if len(zeroKinds) > 0 {
		f.note += "Zero in every epoch: " + strings.Join(zeroKinds, ", ") + ". "
	}
	d := rateDrops(runs)
	if len(d.x) > 0 {
		f.note += "Grey: the learning rate drops."
	}
	sameX(f.panels)
	for i, p := range f.panels {
		p.X.Tick.Marker = ticks{whole: true}
		if i > 0 {
			d.labels = make([]string, len(d.x))
		}
		p.Add(d)
		if i >= len(f.panels)-max(1, f.columns) {
			p.X.Label.Text = "epoch"
		}
	}
	return f
}

// gradientsOfRun draws one run, and returns the kinds whose gradients are zero in every epoch.
func (f *figure) gradientsOfRun(run Run) (zeroKinds []string) {
	p := newPanel("", "mean |∂loss/∂parameter|")
	frozen, partlyTrained := false, false
	for k, kind := range trackedKinds {
		c, name := trackedOf(run.Epochs, kind.kind, markOf(k)), kind.name
		switch {
		case !c.hasData() && c.measured:
			zeroKinds = append(zeroKinds, kind.name)
			continue
		case !c.hasData():
			continue
		case c.trained == 0:
			name += " (frozen)"
			c.mark.dashes, frozen = dashes[1], true
		case c.trained < c.parameters:
			c.mark.dashes, partlyTrained = dashes[2], true
		}
		p.Add(c)
		f.legend = append(f.legend, entry{name: name, mark: c.mark})
	}
	if len(f.legend) == 0 {
		return nil
	}
	if frozen {
		f.note += "Dashed: frozen parameters, whose gradients are only measured. "
	}
	if partlyTrained {
		f.note += "Dotted: only some parameters of this kind are trained. "
	}
	low, high := roundDown(math.Pow(10, p.Y.Min)), roundUp(math.Pow(10, p.Y.Max))
	logAxis(&p.Y, low, high, 10)
	f.panels = []panel{{p, 1}}
	return zeroKinds
}

// gradientsOfRuns draws a panel for each kind, with names at the ends of lines, and
// returns the kinds whose gradients are zero in every epoch, with the names of the runs. Panels
// have axes of their own but equal scales, so that equal ratios have equal heights.
func (f *figure) gradientsOfRuns(runs []Run) (zeroKinds []string) {
	span := 0.0
	frozen := false
	for _, kind := range trackedKinds {
		p := newPanel("", kind.label)
		var lines []namedLine
		for _, run := range runs {
			c, result := trackedOf(run.Epochs, kind.kind, run.style()), ""
			if c.measured && !c.hasData() {
				zeroKinds = append(zeroKinds, kind.name+" of "+run.Name)
			}
			if !c.hasData() {
				continue
			}
			if c.trained == 0 {
				result, frozen = " *", true
			}
			p.Add(c)
			lines = append(lines, namedLine{run.Name, result, c.series})
		}
		if len(lines) > 0 {
			f.label(p, lines)
			f.panels = append(f.panels, panel{p, 1})
			span = max(span, p.Y.Max-p.Y.Min)
		}
	}
	if len(f.panels) > 2 {
		f.columns = 2
	}
	span = max(1.15*span, 0.5)
	for _, p := range f.panels {
		middle := (p.Y.Min + p.Y.Max) / 2
		p.Y.Min, p.Y.Max = middle-span/2, middle+span/2
		p.Y.Tick.Marker = logTicks{6}
		p.Y.Label.Text = "|∂loss/∂" + strings.Replace(p.Y.Label.Text, ". ", " ", 1) + "|"
	}
	f.note = "Means over the parameters of a kind; W: weights, b: biases. All panels have the same scale, so equal ratios have equal heights. "
	if frozen {
		f.note += "*: the run does not train these parameters; their gradients are only measured. "
	}
	return zeroKinds
}

// describeGradients describes the data on which gradients were tracked. It returns "" if they were
// not tracked.
func describeGradients(epochs []rundir.EpochMetrics) string {
	for _, m := range epochs {
		if g := m.Gradients; g != nil {
			augmentation := "not augmented"
			if g.Augmented {
				augmentation = "augmented"
			}
			return fmt.Sprintf("training: all %d batches of each epoch, %d pictures, %s, training mode (%s statistics)", g.Batches, g.Examples, augmentation, g.Statistics)
		}
	}
	return ""
}
