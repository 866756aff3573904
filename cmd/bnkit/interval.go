package main

import "fmt"

// intervalHelp is a sentence for the help of the commands that print accuracies with intervals.
const intervalHelp = "The numbers in parentheses after an accuracy are its 95% confidence interval\n(Wilson's)."

// accuracyText formats an accuracy and its interval, e.g. "72.00% (69.1–74.7)".
func accuracyText(accuracy float64, interval [2]float64) string {
	return fmt.Sprintf("%s (%.1f–%.1f)", percent(accuracy), 100*interval[0], 100*interval[1])
}
