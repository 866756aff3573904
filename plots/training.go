package plots

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"bnkit/engine/rundir"
)

// curve is a value of an epoch that is drawn over the epochs.
type curve struct {
	name  string
	value func(*rundir.EpochMetrics) float64 // returns NaN if the value is missing
}

var (
	trainAccuracy      = curve{"training accuracy", func(m *rundir.EpochMetrics) float64 { return m.TrainAccuracy }}
	testAccuracy       = curve{"test accuracy", func(m *rundir.EpochMetrics) float64 { return m.TestAccuracy }}
	validationAccuracy = curve{"validation accuracy", func(m *rundir.EpochMetrics) float64 { return validationValue(m, m.ValidationAccuracy) }}
	trainLoss          = curve{"training loss", func(m *rundir.EpochMetrics) float64 { return m.TrainLoss }}
	testLoss           = curve{"test loss", func(m *rundir.EpochMetrics) float64 { return m.TestLoss }}
	validationLoss     = curve{"validation loss", func(m *rundir.EpochMetrics) float64 { return validationValue(m, m.ValidationLoss) }}
)

// line returns the line of a curve over the epochs.
func (c curve) line(epochs []rundir.EpochMetrics, m mark) series {
	s := series{mark: m}
	for e := range epochs {
		s.x, s.y = append(s.x, float64(epochs[e].Epoch)), append(s.y, c.value(&epochs[e]))
	}
	return s
}

// result returns the text of the last value, for a label, or "" if there is no value.
func (c curve) result(epochs []rundir.EpochMetrics) string {
	last := math.NaN()
	for e := range epochs {
		if v := c.value(&epochs[e]); finite(v) {
			last = v
		}
	}
	switch {
	case !finite(last):
		return ""
	case strings.Contains(c.name, "loss"):
		return fmt.Sprintf(" %.2f", last)
	}
	return fmt.Sprintf(" %.1f%%", 100*last)
}

// training draws accuracy and loss over the epochs. A single run has one panel for each, with
// lines of the training, test and validation split. Several runs have panels for the accuracy and
// the loss of the test split and, if a run has one, of the validation split.
func training(runs []Run) *figure {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return len(r.Epochs) == 0 })
	if len(runs) == 0 {
		return nil
	}
	f := &figure{
		title: title("Accuracy and loss while training", runs),
		scope: scope(runs, func(r Run) string { return describeEpochs(r.Epochs, len(runs) == 1) }),
	}
	validated := slices.ContainsFunc(runs, func(r Run) bool { return validationPictures(r.Epochs) > 0 })
	if len(runs) == 1 {
		f.curvesOfRun(runs[0], validated)
	} else {
		f.title = "Test accuracy and loss while training"
		curves := []curve{testAccuracy, testLoss}
		if validated {
			f.title = "Test and validation accuracy and loss while training"
			curves = []curve{testAccuracy, validationAccuracy, testLoss, validationLoss}
		}
		f.curvesOfRuns(runs, curves)
	}
	sameX(f.panels)
	d := rateDrops(runs)
	if len(d.x) > 0 {
		f.note = "Grey: the learning rate drops."
	}
	for i, p := range f.panels {
		if i > 0 {
			d.labels = make([]string, len(d.x))
		}
		if len(d.x) > 0 {
			p.Add(d)
		}
		if strings.Contains(p.Y.Label.Text, "accuracy") {
			shareAxis(p.Plot, 5)
		} else {
			p.Y.Tick.Marker = ticks{maxSteps: 5}
		}
		p.X.Tick.Marker = ticks{whole: true}
	}
	f.panels[len(f.panels)-1].X.Label.Text = "epoch"
	return f
}

// curvesOfRun draws one run. Splits differ in colour and dashes.
func (f *figure) curvesOfRun(run Run, validated bool) {
	test, train, validation := markOf(0), markOf(vermillion), markOf(green)
	train.shape, train.dashes, validation.dashes = nil, dashes[1], dashes[2]
	f.legend = []entry{{name: "test", mark: test}, {name: "training", mark: train}}
	accuracy, loss := newPanel("", "accuracy"), newPanel("", "cross-entropy, nats")
	accuracy.Add(trainAccuracy.line(run.Epochs, train), testAccuracy.line(run.Epochs, test))
	loss.Add(trainLoss.line(run.Epochs, train), testLoss.line(run.Epochs, test))
	if validated {
		accuracy.Add(validationAccuracy.line(run.Epochs, validation))
		loss.Add(validationLoss.line(run.Epochs, validation))
		f.legend = append(f.legend, entry{name: "validation", mark: validation})
	}
	f.panels = []panel{{accuracy, 1}, {loss, 1}}
}

// curvesOfRuns draws a panel for each curve, with names at the ends of lines.
func (f *figure) curvesOfRuns(runs []Run, curves []curve) {
	for _, c := range curves {
		name := c.name
		if strings.Contains(name, "loss") {
			name += ", nats"
		}
		p := newPanel("", name)
		var lines []namedLine
		for _, run := range runs {
			line := namedLine{run.Name, c.result(run.Epochs), c.line(run.Epochs, run.style())}
			p.Add(line)
			lines = append(lines, line)
		}
		f.label(p, lines)
		f.panels = append(f.panels, panel{p, 1})
	}
}

// accuracyByTime draws test accuracy against the time that training and testing took.
func accuracyByTime(runs []Run) *figure {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return !finite(lastTime(r.Epochs)) })
	if len(runs) == 0 {
		return nil
	}
	f := &figure{
		title: title("Test accuracy by training time", runs),
		scope: scope(runs, func(r Run) string {
			last := r.Epochs[len(r.Epochs)-1]
			return fmt.Sprintf("test: %d pictures, inference mode (%s statistics)", last.TestExamples, last.TestStatistics)
		}),
		note: "The time includes tests. It depends on the machine and its load.",
	}
	var longest float64
	for _, r := range runs {
		longest = max(longest, lastTime(r.Epochs))
	}
	unit, seconds := "s", 1.0
	switch {
	case longest > 2*3600:
		unit, seconds = "h", 3600
	case longest > 2*60:
		unit, seconds = "min", 60
	}
	p := newPanel("time, "+unit, "test accuracy")
	var lines []namedLine
	for _, run := range runs {
		s := testAccuracy.line(run.Epochs, run.style())
		for e, t := range elapsed(run.Epochs) {
			s.x[e] = t / seconds
		}
		p.Add(s)
		lines = append(lines, namedLine{run.Name, testAccuracy.result(run.Epochs), s})
	}
	if len(runs) > 1 {
		f.label(p, lines)
	}
	p.X.Min = 0
	shareAxis(p, 7)
	f.panels = []panel{{p, 1}}
	return f
}

// elapsed returns the time until the end of each epoch in seconds. Times are NaN from a missing
// row or a negative time on.
func elapsed(epochs []rundir.EpochMetrics) []float64 {
	times := make([]float64, len(epochs))
	total, next := 0.0, 1
	for i, m := range epochs {
		if m.Epoch != next || math.IsNaN(m.LearningRate) || m.Seconds < 0 {
			total = math.NaN()
		}
		total += m.Seconds
		times[i], next = total, m.Epoch+1
	}
	return times
}

// lastTime returns the last known time of elapsed, or NaN if there is none.
func lastTime(epochs []rundir.EpochMetrics) float64 {
	last := math.NaN()
	for _, t := range elapsed(epochs) {
		if finite(t) && t > 0 {
			last = t
		}
	}
	return last
}

// withGaps returns the rows of a run with one row of missing values in each gap, so that no
// line joins the epochs before and after it.
func withGaps(epochs []rundir.EpochMetrics) []rundir.EpochMetrics {
	var all []rundir.EpochMetrics
	for i, m := range epochs {
		if i > 0 && m.Epoch > epochs[i-1].Epoch+1 {
			nan := math.NaN()
			all = append(all, rundir.EpochMetrics{
				Epoch: epochs[i-1].Epoch + 1, LearningRate: nan, TrainLoss: nan, TrainAccuracy: nan, TestLoss: nan, TestAccuracy: nan,
			})
		}
		all = append(all, m)
	}
	return all
}

// validationValue returns x, a value of the validation split, or NaN if the epoch has none.
func validationValue(m *rundir.EpochMetrics, x float64) float64 {
	if m.ValidationExamples == 0 {
		return math.NaN()
	}
	return x
}

// rateDrops returns the epochs at which the otherwise constant learning rates of all runs drop
// to half or less. A drop is labelled with the new rate, unless runs drop to different rates.
func rateDrops(runs []Run) drops {
	labels, count := map[int]string{}, map[int]int{} // by the first epoch with the lower rate
	for _, run := range runs {
		rate := func(e int) float64 {
			if e < 0 || e >= len(run.Epochs) {
				return math.NaN()
			}
			return run.Epochs[e].LearningRate
		}
		for e := range run.Epochs {
			isDrop := rate(e) <= rate(e-1)/2
			// The rate must be constant before or after a drop, so a gradual fall has none.
			if !isDrop || rate(e-1) != rate(e-2) && rate(e) != rate(e+1) {
				continue
			}
			epoch, label := run.Epochs[e].Epoch, fmt.Sprintf("lr %.3g", rate(e))
			if other, ok := labels[epoch]; ok && other != label {
				label = ""
			}
			labels[epoch] = label
			count[epoch]++
		}
	}
	var d drops
	for _, epoch := range slices.Sorted(maps.Keys(labels)) {
		if count[epoch] == len(runs) {
			d.x, d.labels = append(d.x, float64(epoch)-0.5), append(d.labels, labels[epoch])
		}
	}
	return d
}
