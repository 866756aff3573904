package plots

import (
	"fmt"
	"slices"
	"strings"

	"bnkit/analysis"
	"bnkit/engine/rundir"
)

// ReportError reports that the report of a run cannot be drawn, because a value is invalid or
// its parts contradict each other. This happens if its file was edited.
type ReportError struct{ Run, Reason string }

func (e *ReportError) Error() string {
	return fmt.Sprintf("report of %q: %s; analyze the checkpoint again", e.Run, e.Reason)
}

// BadInput reports that the report is at fault.
func (e *ReportError) BadInput() bool { return true }

// check returns an error if a value of r is invalid or its lists contradict each other. r may be
// nil.
func check(r *analysis.Report) error {
	if r == nil {
		return nil
	}
	for i, e := range r.GammaEdges {
		if !finite(e) {
			return fmt.Errorf("edge %d of γ's bins is %v; edges must be between -1e300 and 1e300", i+1, e)
		}
		if i > 0 && e <= r.GammaEdges[i-1] {
			return fmt.Errorf("edge %d of γ's bins is %v, which is not above edge %d, %v", i+1, e, i, r.GammaEdges[i-1])
		}
	}
	for i, t := range r.NearZero {
		if !(t > 0) || i > 0 && t <= r.NearZero[i-1] {
			return fmt.Errorf("threshold %d of near_zero_thresholds is %v; thresholds must be positive and ascending", i+1, t)
		}
	}
	if r.Total.NearZero != nil && len(r.Total.NearZero) != len(r.NearZero) {
		return fmt.Errorf("total.near_zero has %d values for %d near_zero_thresholds", len(r.Total.NearZero), len(r.NearZero))
	}
	for i := range r.Layers {
		l := &r.Layers[i]
		switch {
		case len(l.Gamma.Histogram) != max(len(r.GammaEdges)-1, 0):
			return fmt.Errorf("layer %d (%s) has %d bins of γ, but %d edges need %d", i+1, l.Name, len(l.Gamma.Histogram), len(r.GammaEdges), max(len(r.GammaEdges)-1, 0))
		case slices.ContainsFunc(l.Gamma.Histogram, func(n int) bool { return n < 0 }):
			return fmt.Errorf("layer %d (%s) has a negative count of γ", i+1, l.Name)
		case l.NearZero == nil && l.Gamma.Quantiles == nil: // all channels are pruned
		case len(l.NearZero) != len(r.NearZero):
			return fmt.Errorf("near_zero of layer %d (%s) has %d values for %d near_zero_thresholds", i+1, l.Name, len(l.NearZero), len(r.NearZero))
		case len(l.Gamma.Quantiles) != len(analysis.Levels):
			return fmt.Errorf("layer %d (%s) has %d quantiles of γ, not %d", i+1, l.Name, len(l.Gamma.Quantiles), len(analysis.Levels))
		}
	}
	if err := checkSensitivity(r); err != nil {
		return err
	}
	if len(r.Sweep) > 0 && r.Sweep[0].Threshold != 0 {
		return fmt.Errorf("the first threshold of the sweep is %v, not 0", r.Sweep[0].Threshold)
	}
	for i := 1; i < len(r.Sweep); i++ {
		if t := r.Sweep[i].Threshold; !finite(t) || t <= r.Sweep[i-1].Threshold {
			return fmt.Errorf("threshold %d of the sweep is %v; it must be finite and above the threshold before it, %v", i+1, t, r.Sweep[i-1].Threshold)
		}
		if s := r.Sweep[i].Share; !(0 <= s && s <= 1) {
			return fmt.Errorf("the share of γ below threshold %d of the sweep is %v; shares are from 0 to 1", i+1, s)
		}
	}
	return nil
}

// title returns a title with the subject of a figure and, if there is only one run, its name.
func title(subject string, runs []Run) string {
	if len(runs) == 1 && runs[0].Name != "" {
		return subject + " · " + runs[0].Name
	}
	return subject
}

// scope returns a description of the data that the numbers of the runs were measured on.
// describe returns the description for one run, or "" to leave the run out. If descriptions
// differ, each follows the names of its runs, on a line of its own.
func scope(runs []Run, describe func(Run) string) string {
	var texts []string
	names := map[string][]string{} // names of runs, by their text
	for _, r := range runs {
		text := describe(r)
		if text == "" {
			continue
		}
		if names[text] == nil {
			texts = append(texts, text)
		}
		names[text] = append(names[text], r.Name)
	}
	if len(texts) == 1 {
		return texts[0]
	}
	for i, text := range texts {
		texts[i] = strings.Join(names[text], ", ") + ": " + text
	}
	return strings.Join(texts, "\n")
}

// network describes the network of a single run. It returns "" for several runs, which a figure
// identifies by their names.
func network(runs []Run) string {
	if len(runs) != 1 || runs[0].Report == nil {
		return ""
	}
	r := runs[0].Report
	var parts []string
	for _, p := range []struct{ format, value string }{{"%s", r.Arch}, {"trained: %s", r.Trainable}, {"data: %s", r.Data}} {
		if p.value != "" {
			parts = append(parts, fmt.Sprintf(p.format, p.value))
		}
	}
	return strings.Join(parts, ", ")
}

// describeMeasurement describes the network of a single run, and the data on which numbers of the
// reports were measured. scopeOf returns the scope of these numbers in a report.
func describeMeasurement(runs []Run, scopeOf func(*analysis.Report) *analysis.Scope) string {
	measured := scope(runs, func(run Run) string {
		if run.Report == nil || scopeOf(run.Report) == nil {
			return ""
		}
		s := scopeOf(run.Report)
		split := "the " + s.Split + " split"
		if s.Split == "train" {
			split = "the training split"
		}
		if len(runs) > 1 && run.Report.Data != "" {
			split += " of " + run.Report.Data
		}
		text := fmt.Sprintf("%d pictures of %s", s.Examples, split)
		switch {
		case s.Augmented:
			text += fmt.Sprintf(" in %d batches, augmented", s.Batches)
		case s.Split == "train":
			text += fmt.Sprintf(" in %d batches, not augmented", s.Batches)
		}
		mode := "inference mode"
		if s.Statistics == "batch" {
			mode = "training mode"
		}
		return fmt.Sprintf("%s, %s (%s statistics)", text, mode, s.Statistics)
	})
	if n := network(runs); n != "" {
		return n + "; " + measured
	}
	return measured
}

// describeEpochs describes the data that training curves were measured on. It includes the training
// split if train is set.
func describeEpochs(epochs []rundir.EpochMetrics, train bool) string {
	last := epochs[len(epochs)-1]
	text := fmt.Sprintf("test: %d pictures", last.TestExamples)
	if n := validationPictures(epochs); n > 0 {
		text += fmt.Sprintf("; validation: %d", n)
	}
	text += fmt.Sprintf(", inference mode (%s statistics)", last.TestStatistics)
	if train {
		text = fmt.Sprintf("training: %d pictures an epoch, measured in the training steps; ", last.TrainExamples) + text
	}
	return text
}

// validationPictures returns the number of pictures held out for validation.
func validationPictures(epochs []rundir.EpochMetrics) int {
	return epochs[len(epochs)-1].ValidationExamples
}
