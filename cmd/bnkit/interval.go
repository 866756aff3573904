package main

import (
	"fmt"

	"bnkit/analysis"
	"bnkit/engine"
)

// evaluation is the JSON of a measured accuracy.
type evaluation struct {
	engine.Evaluation
	Interval [2]float64 `json:"test_accuracy_interval"` // see analysis.Wilson
}

func withInterval(e engine.Evaluation) evaluation {
	return evaluation{e, analysis.AccuracyInterval(e.TestAccuracy, e.Examples)}
}

// intervalHelp is a sentence for the help of each command that measures an accuracy.
const intervalHelp = "Parentheses behind an accuracy hold its 95% confidence interval (Wilson's)."

// accuracyText formats an accuracy and its interval, e.g. "72.00% (69.1–74.7)".
func accuracyText(accuracy float64, interval [2]float64) string {
	return fmt.Sprintf("%s (%.1f–%.1f)", share(accuracy), 100*interval[0], 100*interval[1])
}
