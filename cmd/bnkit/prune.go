package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"bnkit/checkpoint/durable"
	"bnkit/engine"
	"bnkit/plots"
	"bnkit/prune"
)

// pruneOptions holds the flags of the prune command.
type pruneOptions struct {
	modelFlags
	choice             pruneChoice
	threshold, remove  float64
	protect            []string
	maxPerLayer        float64
	plan, planOut      string
	keepBeta, zeroBeta bool
	out                string
	dryRun, force      bool
}

func newPruneCommand(g *globalOptions) *cobra.Command {
	var o pruneOptions
	c := &cobra.Command{
		Use:   "prune [RUN]",
		Short: "Remove channels and measure the effect on accuracy and speed",
		Long: `Choose channels of BatchNorms, clamp their γ to zero, and measure the network
before and after on the whole test split, with statistics re-estimated for each.
` + argumentHelp + `

` + foreignHelp + foreignOutputHelp + `

` + copyHelp + `

--threshold chooses the channels whose |γ| is below it. --remove chooses a share of
all channels, in order of |γ|, smallest first, but keeps at least one channel of each
layer. --protect names layers that keep all channels, and --max-per-layer limits the
share of a layer's channels that are chosen. --plan-out only writes the choice to a
file, which can be edited; --plan applies such a file.

` + choiceHelp + `

A channel whose γ is zero no longer depends on its convolution: its output is its β.
β is kept (--keep-beta, as in the literature) or zeroed too (--zero-beta). Such
channels can be removed: the smaller network computes the same, and the output shows
how often the two agree on the test split. A channel of a residual stream is removed only
if all blocks that add to it leave it constant.

` + intervalHelp + `

The pruned network is written to --out, by default the name of the source with
-pruned; --dry-run writes nothing. Running statistics that the source stores are
replaced by re-estimated ones.

--json prints threshold or remove, beta (kept or zeroed), channels, clamped and
removed, layers (name, height, width, channels, clamped, removed); before, after and
after_original_statistics, which is the clamped network with the statistics from
before clamping (each with test_accuracy, test_accuracy_interval, test_loss, examples and
statistics); predictions_changed (pictures whose class changed) and agreement
(share of pictures to which the smaller network and the clamped one give the same
class). The following have the suffix _before for the whole network and _after for
the smaller one: parameters, trained, macs (of one picture), buffer_bytes (activations
that each thread keeps in inference), bytes (of the file), images_per_second
(inference in batches of inference_batch), images_per_second_single (inference of
one picture at a time) and images_per_second_training (steps that train γ and β, in
batches of training_batch). A dry run has no bytes_after and no out. --plan-out
prints the plan. For a clamped copy, there are threshold, beta, channels, clamped,
layers, bytes_after, out and unmeasured (why nothing was measured). With a policy or
a target there are also policy, scope, normalise,
per_mac, policy_seed, policy_batches, target_macs, target_latency, max_drop and split,
and with --recover recover_epochs, recover_lr, iterations and recovered.
--compare-policies prints before, beta and rows (policy, target_macs, macs, time,
removed, and the evaluations clamped, reestimated and recovered).`,
		Example: `  bnkit prune --threshold 0.01
  bnkit prune --remove 0.3 --protect bn,'blocks.0.*' --max-per-layer 0.5
  bnkit prune --remove 0.3 --plan-out plan.json
  bnkit prune --plan plan.json --dry-run
` + choiceExamples + `  bnkit prune runs/first/ckpt.bnz --threshold 0.05 --zero-beta --out pruned.bnz
  bnkit prune efficientnet.pt --threshold 0.001`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeRun,
		RunE: func(c *cobra.Command, args []string) error { return runPrune(c, g, o, args) },
	}
	o.add(c)
	f := c.Flags()
	f.Float64Var(&o.threshold, "threshold", 0.01, "prune channels with |γ| below this value")
	f.Float64Var(&o.remove, "remove", 0, "prune this share of all channels, in order of |γ|, smallest first")
	f.StringSliceVar(&o.protect, "protect", nil, "`names` or patterns of layers that keep all channels, e.g. 'blocks.0.*'")
	f.Float64Var(&o.maxPerLayer, "max-per-layer", 0, "largest share of a layer's channels to prune (default: no limit)")
	f.StringVar(&o.plan, "plan", "", "file that lists the channels to keep")
	f.StringVar(&o.planOut, "plan-out", "", "only write the list of channels to keep to this file")
	f.BoolVar(&o.keepBeta, "keep-beta", true, "keep β of pruned channels")
	f.BoolVar(&o.zeroBeta, "zero-beta", false, "zero β of pruned channels")
	f.StringVar(&o.out, "out", "", "file to write (default: the name of the source with -pruned)")
	f.BoolVar(&o.dryRun, "dry-run", false, "measure, but write nothing")
	f.BoolVar(&o.force, "force", false, "replace the file if it exists")
	c.MarkFlagsMutuallyExclusive("keep-beta", "zero-beta")
	for _, flag := range []string{"remove", "protect", "max-per-layer", "threshold", "keep-beta", "zero-beta", "plan-out"} {
		c.MarkFlagsMutuallyExclusive("plan", flag)
	}
	c.MarkFlagsMutuallyExclusive("threshold", "remove")
	o.choice.add(c)
	c.MarkFlagsMutuallyExclusive("plan-out", "dry-run")
	c.MarkFlagsMutuallyExclusive("plan-out", "out")
	for _, flag := range []string{"threshold", "remove", "protect", "max-per-layer"} {
		completeFlag(c, flag, completeNothing)
	}
	completeFlag(c, "plan", completeFiles("json"))
	completeFlag(c, "plan-out", completeFiles("json"))
	completeFlag(c, "out", completeFiles("bnz"))
	return c
}

// options returns the options of package prune that the flags give.
func (o *pruneOptions) options(ctx context.Context) (prune.Options, error) {
	p := prune.Options{
		Threshold: o.threshold, Remove: o.remove, Protect: o.protect, MaxPerLayer: o.maxPerLayer,
		ZeroBeta: o.zeroBeta || !o.keepBeta, Threads: o.threads,
	}
	if o.remove != 0 {
		p.Threshold = 0
	}
	if err := o.choice.set(&p); err != nil {
		return p, err
	}
	var err error
	if o.plan != "" {
		p.Plan, err = prune.ReadPlan(ctx, o.plan)
	}
	return p, err
}

// pruneResult holds the output of prune --json.
type pruneResult struct {
	*prune.Result
	BytesAfter int64  `json:"bytes_after,omitempty"` // of the file that was written
	Out        string `json:"out,omitempty"`
}

func runPrune(c *cobra.Command, g *globalOptions, o pruneOptions, args []string) error {
	path, err := g.checkpointArg(args)
	if err != nil {
		return err
	}
	options, err := o.options(c.Context())
	if err != nil {
		return pruneError(c, err)
	}
	if done, err := o.clampCopy(c, g, path); done || err != nil {
		return err
	}
	if o.choice.compare {
		return o.comparePolicies(c, g, options, path)
	}
	if o.planOut != "" {
		return writePlan(c, g, o, options, path)
	}
	if o.out == "" {
		o.out = outputName(path) + "-pruned.bnz"
	}
	if !o.dryRun {
		if err := checkOverwrite(c, o.out, o.force); err != nil {
			return err
		}
	}
	if err := o.checkPlot(c); err != nil {
		return err
	}
	model, data, err := o.open(c.Context(), g, path)
	if err != nil {
		return err
	}
	line := g.newProgress()
	options.Progress = func(task string, done, total int) { line.update("%s: %d of %d", task, done, total) }
	result, err := prune.Prune(c.Context(), model, data, options)
	line.clear()
	if err != nil {
		return pruneError(c, err)
	}
	r := pruneResult{Result: result}
	if !o.dryRun {
		if err := result.Model.Save(o.out); err != nil {
			return err
		}
		r.Out, r.BytesAfter = o.out, result.Model.Source.Bytes
	}
	if o.choice.plot != "" {
		if err := plots.DrawKept(o.choice.plot, runName(path), result); err != nil {
			return err
		}
	}
	return g.print(r, func(w io.Writer) { printPrune(w, r) })
}

// pruneError turns a *prune.OptionError into a usage error, and returns other errors unchanged.
func pruneError(c *cobra.Command, err error) error {
	var option *prune.OptionError
	if errors.As(err, &option) {
		return &usageError{c.CommandPath(), err}
	}
	return err
}

// writePlan writes the plan without measuring the network.
func writePlan(c *cobra.Command, g *globalOptions, o pruneOptions, options prune.Options, path string) error {
	if err := checkOverwrite(c, o.planOut, o.force); err != nil {
		return err
	}
	plan, err := o.makePlan(c, g, options, path)
	if err != nil {
		return pruneError(c, err)
	}
	b, err := plan.Encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(o.planOut, b); err != nil {
		return err
	}
	return g.print(plan, func(w io.Writer) {
		printProse(w, "%d of %d channels held constant, %d of them removed; MACs %d → %d, parameters %d → %d",
			plan.Clamped, plan.Channels, plan.Removed, plan.MACsBefore, plan.MACsAfter, plan.ParametersBefore, plan.ParametersAfter)
		fmt.Fprintf(w, "plan: %s\nnext, try: bnkit prune --plan %s\n", o.planOut, o.planOut)
	})
}

func printPrune(w io.Writer, r pruneResult) {
	rows := [][]string{{"layer", "channels", "clamped", "removed", "share"}}
	row := func(name string, channels, clamped, removed int) {
		rows = append(rows, []string{name, fmt.Sprint(channels), fmt.Sprint(clamped), fmt.Sprint(removed), percent(float64(clamped) / float64(channels))})
	}
	for _, l := range r.Layers {
		row(l.Name, l.Channels, l.Clamped, l.Removed)
	}
	row("all", r.Channels, r.Clamped, r.Removed)
	printFitting(w, rows, []int{0, 3, 1, 4, 2})

	choice := "γ of the channels that the plan leaves out,"
	switch {
	case r.Importance != "":
		choice = choiceText(r.Policy, r.Target)
	case r.Threshold > 0:
		choice = fmt.Sprintf("|γ| < %g", r.Threshold)
	case r.Remove > 0:
		choice = fmt.Sprintf("the smallest |γ|, %s of all,", percent(r.Remove))
	}
	fmt.Fprintln(w)
	printProse(w, "%s clamped to 0, β of those channels %s", choice, r.Beta)
	fmt.Fprintln(w)
	printAccuracies(w, r.Result)
	printSplit(w, r.Result)
	printCosts(w, r)
	if r.Out == "" {
		fmt.Fprintln(w, "dry run: nothing was written")
		return
	}
	fmt.Fprintf(w, "pruned network: %s\n", r.Out)
}

// printAccuracies prints the accuracy and loss of the network before pruning and after each step,
// and how many predictions changed.
func printAccuracies(w io.Writer, r *prune.Result) {
	rows := [][]string{{"", "test accuracy", "test loss"}}
	step := func(name string, e *engine.Evaluation) {
		rows = append(rows, []string{name, accuracyText(e.TestAccuracy, e.Interval), fmt.Sprintf("%.4f", e.TestLoss)})
	}
	step("before", &r.Before)
	step("clamped, statistics from before", &r.AfterOriginalStatistics)
	step("clamped, statistics re-estimated", &r.After)
	if r.Recovered != nil {
		step(recoveredText(r.Epochs*max(r.Iterations, 1)), r.Recovered)
	}
	printFitting(w, rows, []int{0, 1, 2})
	when := ""
	if r.Recovered != nil {
		when = "before this training, "
	}
	printProse(w, "%s%d of the %d pictures of the test split get another class than before; the smaller network and the clamped one give %s of them the same class",
		when, r.PredictionsChanged, r.After.Examples, percent(r.Agreement))
	fmt.Fprintln(w)
}

// printCosts prints the sizes and speeds of the whole network and of the smaller one.
func printCosts(w io.Writer, r pruneResult) {
	rows := [][]string{{"", "before", "after", "change"}}
	row := func(name string, before, after float64, format func(float64) string) {
		rows = append(rows, []string{name, format(before), format(after), formatChange(before, after)})
	}
	number := func(v float64) string { return formatCount(int64(v)) }
	size := func(v float64) string { return bytesText(int64(v)) }
	speed := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	row("parameters", float64(r.ParametersBefore), float64(r.ParametersAfter), number)
	if r.TrainedBefore != nil {
		row("trained parameters", float64(*r.TrainedBefore), float64(*r.TrainedAfter), number)
	}
	row("multiply-adds a picture", float64(r.MACsBefore), float64(r.MACsAfter), number)
	row("inference buffers, per thread", float64(r.BufferBytesBefore), float64(r.BufferBytesAfter), size)
	if r.Out != "" && r.BytesBefore > 0 {
		row("file", float64(r.BytesBefore), float64(r.BytesAfter), size)
	}
	row("images/s, inference, batch "+fmt.Sprint(r.InferenceBatch), r.ImagesPerSecondBefore, r.ImagesPerSecondAfter, speed)
	row("images/s, inference, batch 1", r.ImagesPerSecondSingleBefore, r.ImagesPerSecondSingleAfter, speed)
	row("images/s, BN-only training, batch "+fmt.Sprint(r.TrainingBatch), r.ImagesPerSecondTrainingBefore, r.ImagesPerSecondTrainingAfter, speed)
	printFitting(w, rows, []int{0, 3, 1, 2})
	if r.Removed > 0 && r.BufferBytesAfter == r.BufferBytesBefore {
		printProse(w, "the inference buffers hold the outputs that are needed at the same time, and the largest of these, usually those of the first residual stream, have kept their size")
	}
}

// formatCount formats a large number for people, in thousands, millions or billions.
func formatCount(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1f k", float64(n)/1e3)
	}
	return strconv.FormatInt(n, 10)
}

// formatChange formats the relative change of a number as a percentage.
func formatChange(before, after float64) string { return fmt.Sprintf("%+.1f%%", 100*(after/before-1)) }
