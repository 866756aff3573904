package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"bnkit/engine"
)

// evalOptions holds the flags of the eval command.
type evalOptions struct {
	modelFlags
	statistics string
}

func newEvalCommand(g *globalOptions) *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "eval [RUN]",
		Short: "Measure a checkpoint's test accuracy",
		Long: `Measure a checkpoint's accuracy and loss on the whole test split, in BatchNorm's
inference mode. The pruned channels of a pruned network are removed first.
` + argumentHelp + `

` + foreignHelp + `

If the file stores BatchNorm's statistics (bnkit train --with-stats), these are used.
Otherwise they are re-estimated: averaged over a fixed number of batches of the
unaugmented training split, which are the same every time. --statistics chooses one
of the two.

` + intervalHelp + `

--json prints test_accuracy (share from 0 to 1), test_loss (mean cross-entropy,
nats), examples, statistics (stored or re-estimated) and test_accuracy_interval.`,
		Example: `  bnkit eval
  bnkit eval runs/first/ckpt.bnz --json
  bnkit eval resnet20.th --data cifar10 --normalise-mean imagenet
  bnkit eval --statistics re-estimated --data-dir ~/cifar-10-batches-bin`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeRun,
		RunE: func(c *cobra.Command, args []string) error { return runEval(c, g, o, args) },
	}
	o.add(c)
	addChoice(c, &o.statistics, "statistics", "BatchNorm statistics: stored or re-estimated (default: stored if the file has them)", engine.StatisticsStored, engine.StatisticsReestimated)
	return c
}

func runEval(c *cobra.Command, g *globalOptions, o evalOptions, args []string) error {
	path, err := g.checkpointArg(args)
	if err != nil {
		return err
	}
	model, data, err := o.open(c.Context(), g, path)
	if err != nil {
		return err
	}
	if o.statistics == engine.StatisticsStored && model.Stored == nil {
		return &usageError{c.CommandPath(), errors.New("the file stores no statistics: use --statistics re-estimated, or train with --with-stats")}
	}
	if model.Kept != nil {
		if model, _, err = model.Compact(); err != nil {
			return err
		}
	}
	evaluator, err := model.Evaluator(data, o.threads)
	if err != nil {
		return err
	}
	defer evaluator.Close()
	stats := model.Stored
	if stats == nil || o.statistics == engine.StatisticsReestimated {
		if stats, err = evaluator.Reestimate(c.Context()); err != nil {
			return err
		}
	}
	r, err := evaluator.Evaluate(c.Context(), stats)
	if err != nil {
		return err
	}
	return g.print(r, func(w io.Writer) {
		printProse(w, "test accuracy %s, test loss %.4f", accuracyText(r.TestAccuracy, r.Interval), r.TestLoss)
		printProse(w, "on the %d pictures of %s's test split, %s statistics", r.Examples, data.Name, r.Statistics)
	})
}
