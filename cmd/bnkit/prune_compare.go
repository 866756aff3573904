package main

import (
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/plots"
	"bnkit/prune"
)

// comparedSizes lists the shares of multiply-adds that --compare-policies uses without
// --target-macs.
var comparedSizes = []float64{0.75, 0.5, 0.35}

// comparePolicies measures every policy at every size. If --policy names one, it measures only
// that one and random, the control.
func (o *pruneOptions) comparePolicies(c *cobra.Command, g *globalOptions, options prune.Options, path string) error {
	compared := prune.ComparisonOptions{Options: options, MACs: o.choice.targetMACs, Pictures: o.choice.pictures}
	if len(compared.MACs) == 0 {
		compared.MACs = comparedSizes
	}
	for _, i := range prune.Importances {
		if options.Importance != "" && options.Importance != i.Name && i.Name != prune.Random {
			continue
		}
		p := options.Policy
		p.Importance = i.Name
		compared.Policies = append(compared.Policies, p)
	}
	if err := o.checkPlot(c); err != nil {
		return err
	}
	model, data, err := o.open(c.Context(), g, path)
	if err != nil {
		return err
	}
	line := g.newProgress()
	compared.Progress = func(task string, done, total int) { line.update("%s: %d of %d", task, done, total) }
	r, err := prune.Compare(c.Context(), model, data, compared)
	line.clear()
	if err != nil {
		return pruneError(c, err)
	}
	if o.choice.plot != "" {
		if err := plots.DrawPolicies(o.choice.plot, r); err != nil {
			return err
		}
	}
	return g.print(r, func(w io.Writer) { printPolicies(w, r) })
}

// checkPlot returns an error if --plot names a file of an unknown format, or one that exists and
// must not be replaced.
func (o *pruneOptions) checkPlot(c *cobra.Command) error {
	if o.choice.plot == "" {
		return nil
	}
	if _, err := plots.ParseFormat(strings.TrimPrefix(filepath.Ext(o.choice.plot), ".")); err != nil {
		return err
	}
	return checkOverwrite(c, o.choice.plot, o.force)
}

func printPolicies(w io.Writer, r *prune.Comparison) {
	rows := [][]string{{"policy", "target", "multiply-adds", "time", "clamped", "re-estimated", "95% interval"}}
	ranks := []int{0, 0, 4, 5, 6, 1, 3}
	if r.Epochs > 0 {
		rows[0], ranks = append(rows[0], "recovered", "95% interval"), append(ranks, 1, 2)
	}
	interval := func(i [2]float64) string { return percent(i[0]) + "–" + percent(i[1]) }
	for _, row := range r.Rows {
		a := row.Reestimated
		cells := []string{string(row.Importance), percent(row.TargetMACs), percent(row.MACs), percent(row.Time), percent(row.Clamped.TestAccuracy), percent(a.TestAccuracy), interval(a.Interval)}
		if a := row.Recovered; a != nil {
			cells = append(cells, percent(a.TestAccuracy), interval(a.Interval))
		}
		rows = append(rows, cells)
	}
	printFitting(w, rows, ranks)
	printProse(w, "(test accuracy of %d pictures; before pruning %s; β of pruned channels %s)", r.Before.Examples, percent(r.Before.TestAccuracy), r.Beta)
}
