package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bnkit/prune"
)

// pruneOptions are the prune command's flags.
type pruneOptions struct {
	modelFlags
	threshold          float64
	keepBeta, zeroBeta bool
	out                string
	dryRun, force      bool
}

func newPruneCommand(g *globalOptions) *cobra.Command {
	var o pruneOptions
	c := &cobra.Command{
		Use:   "prune [CKPT.bnz]",
		Short: "Clamp small γ to zero and measure the cost",
		Long: `Clamp every γ with |γ| below the threshold to zero, re-estimate statistics, and
measure the network before and after on the whole test split. ` + withoutFile + `

A channel whose γ is zero no longer depends on its convolution: its output is its
β. β is kept (--keep-beta, as in the literature) or zeroed too (--zero-beta).

The pruned network is written to --out, by default the name of the source with
-pruned; --dry-run writes nothing. Running statistics that the source stores are
replaced by re-estimated ones.

--json prints threshold, beta (kept or zeroed), clamped and channels, layers (name,
channels, clamped), before and after (test_accuracy, test_loss, examples,
statistics), bytes_before, and, unless it is a dry run, bytes_after and out.`,
		Example: `  bnkit prune --threshold 0.01
  bnkit prune runs/first/ckpt.bnz --threshold 0.01 --out pruned.bnz
  bnkit prune --threshold 0.05 --zero-beta --dry-run`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runPrune(c, g, o, args) },
	}
	o.add(c)
	f := c.Flags()
	f.Float64Var(&o.threshold, "threshold", 0.01, "clamp every γ with |γ| below this")
	f.BoolVar(&o.keepBeta, "keep-beta", true, "keep β of clamped channels")
	f.BoolVar(&o.zeroBeta, "zero-beta", false, "zero β of clamped channels")
	f.StringVar(&o.out, "out", "", "file to write (default: the name of the source with -pruned)")
	f.BoolVar(&o.dryRun, "dry-run", false, "measure, but write nothing")
	f.BoolVar(&o.force, "force", false, "replace the file if it exists")
	c.MarkFlagsMutuallyExclusive("keep-beta", "zero-beta")
	return c
}

// pruneResult is what prune --json prints.
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
	if o.out == "" {
		o.out = strings.TrimSuffix(path, filepath.Ext(path)) + "-pruned.bnz"
	}
	if !o.dryRun {
		if err := mayWrite(c, o.out, o.force); err != nil {
			return err
		}
	}
	model, data, err := o.open(path)
	if err != nil {
		return err
	}
	result, err := prune.Prune(c.Context(), model, data, prune.Options{
		Threshold: o.threshold, ZeroBeta: o.zeroBeta || !o.keepBeta, Threads: o.threads,
	})
	var option *prune.OptionError
	if errors.As(err, &option) {
		return &usageError{c.CommandPath(), err}
	}
	if err != nil {
		return err
	}
	r := pruneResult{Result: result}
	if !o.dryRun {
		if err := result.Model.Save(o.out); err != nil {
			return err
		}
		r.Out, r.BytesAfter = o.out, result.Model.Source.Bytes
	}
	return g.print(r, func(w io.Writer) { printPrune(w, r) })
}

func printPrune(w io.Writer, r pruneResult) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "layer\tchannels\tclamped\tshare\t")
	for _, l := range r.Layers {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t\n", l.Name, l.Channels, l.Clamped, share(float64(l.Clamped)/float64(l.Channels)))
	}
	fmt.Fprintf(t, "all\t%d\t%d\t%s\t\n", r.Channels, r.Clamped, share(float64(r.Clamped)/float64(r.Channels)))
	t.Flush()

	fmt.Fprintf(w, "\n|γ| < %g clamped to 0, β of those channels %s\n\n", r.Threshold, r.Beta)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tbefore\tafter\tchange\t")
	fmt.Fprintf(t, "test accuracy\t%s\t%s\t%+.2f points\t\n", share(r.Before.TestAccuracy), share(r.After.TestAccuracy), 100*(r.After.TestAccuracy-r.Before.TestAccuracy))
	fmt.Fprintf(t, "test loss\t%.4f\t%.4f\t%+.4f\t\n", r.Before.TestLoss, r.After.TestLoss, r.After.TestLoss-r.Before.TestLoss)
	if r.Out != "" {
		fmt.Fprintf(t, "file, bytes\t%d\t%d\t%+d\t\n", r.BytesBefore, r.BytesAfter, r.BytesAfter-r.BytesBefore)
	}
	t.Flush()
	fmt.Fprintf(w, "(%d pictures of the test split; statistics re-estimated before and after)\n", r.After.Examples)
	if r.Out == "" {
		fmt.Fprintln(w, "dry run: nothing was written")
		return
	}
	fmt.Fprintf(w, "pruned network: %s\n", r.Out)
}
