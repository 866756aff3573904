package plots

import (
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"bnkit/analysis"
	"bnkit/engine"
)

// threshold draws accuracy, and the share of γ, against the threshold below
// which γ are clamped.
func threshold(runs []Run) *figure {
	var accuracy, clamped *plot.Plot
	var caption string
	for i, run := range runs {
		r := run.Report
		if r == nil || len(r.Sweep) < 2 {
			continue
		}
		if accuracy == nil {
			accuracy = newPanel("Accuracy when small γ are clamped to zero"+subject(runs), "", "test accuracy")
			clamped = newPanel("", "threshold: γ with |γ| below it become 0", "share of γ clamped")
			caption = "Over " + over(r.Accuracy) + ". β is kept. Dashed: nothing clamped."
			for _, p := range []*plot.Plot{accuracy, clamped} {
				p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, thresholdTicks(r.Sweep)
				p.Y.Min, p.Y.Max = 0, 0.05
				p.Y.Tick.Marker = ticks{percent: true}
			}
		}
		c, d := style(i)
		var x, y, s []float64
		for _, row := range r.Sweep[1:] {
			x, y, s = append(x, row.Threshold), append(y, row.TestAccuracy), append(s, row.Share)
		}
		accuracy.Add(horizontal{r.Sweep[0].TestAccuracy, reference})
		name := fmt.Sprintf("unclamped %.1f%%", 100*r.Sweep[0].TestAccuracy)
		if len(runs) > 1 {
			name = run.Name + ": " + name
		}
		series{x: x, y: y, color: c, dashes: d, markers: true, name: name}.add(accuracy)
		series{x: x, y: s, color: c, dashes: d, markers: true}.add(clamped)
		accuracy.Y.Max = math.Max(accuracy.Y.Max, r.Sweep[0].TestAccuracy)
	}
	if accuracy == nil {
		return nil
	}
	roomForLegend(accuracy, 2, len(runs))
	sameX(accuracy, clamped)
	return &figure{[]*plot.Plot{accuracy, clamped}, caption}
}

// thresholdTicks label a logarithmic axis at the thresholds measured.
func thresholdTicks(sweep []analysis.Sweep) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, s := range sweep[1:] {
		ticks = append(ticks, plot.Tick{Value: s.Threshold, Label: strconv.FormatFloat(s.Threshold, 'g', -1, 64)})
	}
	return ticks
}

// training draws accuracy and loss over the epochs, of the training split
// dashed.
func training(runs []Run) *figure {
	var accuracy, loss *plot.Plot
	drawn := map[int]bool{}
	for i, run := range runs {
		if len(run.Epochs) == 0 {
			continue
		}
		if accuracy == nil {
			accuracy = newPanel("Training"+subject(runs), "", "accuracy")
			loss = newPanel("", "epoch", "cross-entropy, nats")
			accuracy.Y.Tick.Marker = ticks{percent: true}
			accuracy.X.Tick.Marker, loss.X.Tick.Marker = ticks{whole: true}, ticks{whole: true}
		}
		column := func(of func(*engine.EpochMetrics) float64) (x, y []float64) {
			for e := range run.Epochs {
				x, y = append(x, float64(run.Epochs[e].Epoch)), append(y, of(&run.Epochs[e]))
			}
			return x, y
		}
		c, _ := style(i)
		for _, part := range []struct {
			p      *plot.Plot
			of     func(*engine.EpochMetrics) float64
			dashes []vg.Length
			name   string
		}{
			{accuracy, func(m *engine.EpochMetrics) float64 { return m.TestAccuracy }, nil, "test"},
			{accuracy, func(m *engine.EpochMetrics) float64 { return m.TrainAccuracy }, dashes[1], "training"},
			{loss, func(m *engine.EpochMetrics) float64 { return m.TestLoss }, nil, ""},
			{loss, func(m *engine.EpochMetrics) float64 { return m.TrainLoss }, dashes[1], ""},
		} {
			x, y := column(part.of)
			name := part.name
			if name != "" && len(runs) > 1 {
				name = run.Name + ", " + name
			}
			series{x: x, y: y, color: c, dashes: part.dashes, name: name}.add(part.p)
		}
		for e := 1; e < len(run.Epochs); e++ {
			at := run.Epochs[e].Epoch
			if run.Epochs[e].LearningRate < run.Epochs[e-1].LearningRate && !drawn[at] {
				drawn[at] = true
				loss.Add(vertical{float64(at) - 0.5, reference})
			}
		}
	}
	if accuracy == nil {
		return nil
	}
	accuracy.Y.Min = 0
	roomForLegend(accuracy, 2, 2*len(runs))
	sameX(accuracy, loss)
	return &figure{[]*plot.Plot{accuracy, loss},
		"Training: over the batches as they were trained on. Test: over the whole split, running statistics. Grey: the learning rate drops."}
}
