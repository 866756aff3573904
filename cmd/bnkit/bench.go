package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bnkit/engine/arch"
	"bnkit/engine/bench"
	"bnkit/engine/config"
)

func newBenchCommand(g *globalOptions) *cobra.Command {
	o := bench.Config{Arch: "resnet-20", Trainable: "bn", Batch: 128, Steps: 7, Activations: config.Float32}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the speed of training or inference on this machine",
		Long: `Measure the speed of training steps, or of inference with --eval, on random pictures
of CIFAR's shape, and the peak speed of this machine in multiply-adds.

--layers also measures the time of each phase of each layer. Shortcuts are then timed
separately; without --layers, they run together with the convolution that reads the
same input.

--json prints images_per_second and step_seconds (medians over the steps),
effective_gflops (the FLOPs of direct convolutions for the same work, per second),
fma_peak_gflops (the speed of the same threads in multiply-adds that do not access memory),
peak_rss_bytes, allocs_per_step, kernel, processor and the settings. With --layers it
also prints layers, in the order of a step: layer, phase, seconds (median) and
effective_gflops.`,
		Example: `  bnkit bench
  bnkit bench --arch resnet-20 --trainable bn --batch 128 --threads 2 --json
  bnkit bench --arch wrn-14-4 --eval
  bnkit bench --arch resnet-110 --activations bf16
  bnkit bench --layers`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			o.MaxMemory = int64(g.maxMemory)
			r, err := bench.Run(c.Context(), o)
			var option *bench.OptionError
			if errors.As(err, &option) {
				return badValue(option.Option, c.Flags().Lookup(option.Option).Value.String(), option.Reason)
			}
			if err != nil {
				return err
			}
			return g.print(r, func(w io.Writer) { printBench(w, r) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.Arch, "arch", o.Arch, "network")
	f.StringVar(&o.Trainable, "trainable", o.Trainable, "parameters that are trained: "+arch.TrainableNames())
	f.IntVar(&o.Batch, "batch", o.Batch, "pictures in each step")
	addThreads(c, &o.Threads, "")
	f.IntVar(&o.Steps, "steps", o.Steps, "steps to measure, after 2 warm-up steps")
	f.BoolVar(&o.Eval, "eval", false, "measure inference instead of training")
	f.StringVar(&o.Activations, "activations", o.Activations, "type in which training stores the outputs of convolutions: "+strings.Join(config.Find("activations").Values, ", "))
	f.BoolVar(&o.Layers, "layers", false, "also measure the time of each layer and phase of training")
	for _, setting := range []string{"arch", "trainable", "activations"} {
		completeFlag(c, setting, cobra.FixedCompletions(config.Find(setting).Values, cobra.ShellCompDirectiveNoFileComp))
	}
	completeFlag(c, "batch", completeNothing)
	completeFlag(c, "steps", completeNothing)
	return c
}

func printBench(w io.Writer, r bench.Result) {
	work := "training " + r.Trainable
	if r.Eval {
		work = "inference"
	}
	if r.Activations != "" && r.Activations != config.Float32 {
		work += ", activations in " + r.Activations
	}
	fmt.Fprintf(w, "%s, %s, batch %d, %d threads\n", r.Arch, work, r.Batch, r.Threads)
	printProcessor(w, r.Processor)
	fmt.Fprintf(w, "%.0f images/s, %.1f ms a step (median of %d)\n", r.ImagesPerSecond, 1e3*r.StepSeconds, r.Steps)
	fmt.Fprintf(w, "%.0f effective GFLOP/s, %.2f times the %.0f GFLOP/s of multiply-adds alone\n",
		r.EffectiveGFLOPS, r.EffectiveGFLOPS/r.FMAPeakGFLOPS, r.FMAPeakGFLOPS)
	if r.PeakRSSBytes > 0 {
		fmt.Fprintf(w, "%s peak memory, ", bytesText(r.PeakRSSBytes))
	}
	fmt.Fprintf(w, "%.0f allocations a step\n", r.AllocsPerStep)
	if len(r.Layers) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nlayer\tphase\tms\tshare\tGFLOP/s\ttimes peak\t")
	total := 0.0
	for _, l := range r.Layers {
		total += l.Seconds
	}
	for _, l := range r.Layers {
		rate := "-\t-"
		if l.EffectiveGFLOPS > 0 {
			rate = fmt.Sprintf("%.0f\t%.2f", l.EffectiveGFLOPS, l.EffectiveGFLOPS/r.FMAPeakGFLOPS)
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%s\t%s\t\n", l.Layer, l.Phase, 1e3*l.Seconds, percent(l.Seconds/total), rate)
	}
	t.Flush()
}
