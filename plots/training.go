package plots

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/plot"

	"bnkit/engine/rundir"
)

// training draws accuracy and loss over the epochs. Lines of the test split are solid, and
// lines of the training split are dashed. The validation split is drawn for a single run only.
func training(runs []Run) *figure {
	f := &figure{
		title: title("Accuracy and loss while training", runs),
		scope: scope(runs, func(r Run) string {
			if len(r.Epochs) == 0 {
				return ""
			}
			return overEpochs(r.Epochs)
		}),
	}
	accuracy, loss := newPanel("", "accuracy"), newPanel("epoch", "cross-entropy, nats")
	for i, run := range runs {
		if len(run.Epochs) == 0 {
			continue
		}
		test := markOf(i)
		train, validation := test, markOf(green)
		train.shape, train.dashes = nil, dashes[1]
		if len(runs) == 1 {
			train.color = colors[vermillion]
		}
		add := func(p *plot.Plot, m mark, of func(*rundir.EpochMetrics) float64) {
			s := series{mark: m}
			for e := range run.Epochs {
				s.x, s.y = append(s.x, float64(run.Epochs[e].Epoch)), append(s.y, of(&run.Epochs[e]))
			}
			p.Add(s)
		}
		add(accuracy, train, func(m *rundir.EpochMetrics) float64 { return m.TrainAccuracy })
		add(accuracy, test, func(m *rundir.EpochMetrics) float64 { return m.TestAccuracy })
		add(loss, train, func(m *rundir.EpochMetrics) float64 { return m.TrainLoss })
		add(loss, test, func(m *rundir.EpochMetrics) float64 { return m.TestLoss })
		if len(runs) > 1 {
			f.legend = append(f.legend, entry{name: run.Name, mark: test})
		} else {
			f.legend = []entry{{name: "test", mark: test}, {name: "training", mark: train}}
		}
		// With several runs, a third curve for each would hide the others.
		if held(run.Epochs) > 0 && len(runs) == 1 {
			add(accuracy, validation, func(m *rundir.EpochMetrics) float64 { return ofValidation(m, m.ValidationAccuracy) })
			add(loss, validation, func(m *rundir.EpochMetrics) float64 { return ofValidation(m, m.ValidationLoss) })
			f.legend = append(f.legend, entry{name: "validation", mark: validation})
		}
	}
	if len(f.legend) == 0 {
		return nil
	}
	if len(runs) > 1 {
		f.note = "Solid: test. Dashed: training."
	}
	f.panels = []panel{{accuracy, 1}, {loss, 1}}
	sameX(f.panels)
	if d := rateDrops(runs); len(d.x) > 0 {
		accuracy.Add(d)
		loss.Add(drops{d.x, make([]string, len(d.x))})
		f.note += " Grey: the learning rate drops."
	}
	shareAxis(accuracy, 5)
	loss.Y.Tick.Marker = ticks{most: 5}
	accuracy.X.Tick.Marker, loss.X.Tick.Marker = ticks{whole: true}, ticks{whole: true}
	return f
}

// withGaps returns the rows of a run with one row of missing values in each gap, so that no
// line joins the epochs before and after it.
func withGaps(epochs []rundir.EpochMetrics) []rundir.EpochMetrics {
	var all []rundir.EpochMetrics
	for i, m := range epochs {
		if i > 0 && m.Epoch > epochs[i-1].Epoch+1 {
			none := math.NaN()
			all = append(all, rundir.EpochMetrics{
				Epoch: epochs[i-1].Epoch + 1, LearningRate: none, TrainLoss: none, TrainAccuracy: none, TestLoss: none, TestAccuracy: none,
			})
		}
		all = append(all, m)
	}
	return all
}

// ofValidation returns x, a value of the validation split, or NaN if the epoch has none.
func ofValidation(m *rundir.EpochMetrics, x float64) float64 {
	if m.ValidationExamples == 0 {
		return math.NaN()
	}
	return x
}

// rateDrops returns the epochs at which an otherwise constant learning rate drops to half or
// less. A drop is labelled with the new rate, unless runs drop to different rates there.
func rateDrops(runs []Run) drops {
	labels := map[int]string{} // by the first epoch with the lower rate
	for _, run := range runs {
		rate := func(e int) float64 {
			if e < 0 || e >= len(run.Epochs) {
				return math.NaN()
			}
			return run.Epochs[e].LearningRate
		}
		for e := range run.Epochs {
			step := rate(e) <= rate(e-1)/2
			// A rate that falls in every epoch has no steps.
			if !step || rate(e-1) != rate(e-2) && rate(e) != rate(e+1) {
				continue
			}
			epoch, label := run.Epochs[e].Epoch, fmt.Sprintf("lr %.3g", rate(e))
			if other, ok := labels[epoch]; ok && other != label {
				label = ""
			}
			labels[epoch] = label
		}
	}
	var d drops
	for _, epoch := range slices.Sorted(maps.Keys(labels)) {
		d.x, d.labels = append(d.x, float64(epoch)-0.5), append(d.labels, labels[epoch])
	}
	return d
}
