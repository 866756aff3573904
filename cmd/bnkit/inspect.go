package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bnkit/checkpoint"
)

func newInspectCommand(g *globalOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect [CKPT.bnz]",
		Short: "List a checkpoint's header and tensors",
		Long: `List what a .bnz file says of itself and which tensors it stores, without
reading their data. ` + withoutFile + `

With --json: header, sections (name, required, tensors: name, type, shape,
crc32c), file_bytes, tensor_bytes (uncompressed), stored_bytes (compressed).`,
		Example: `  bnkit inspect
  bnkit inspect runs/first/ckpt.bnz --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runInspect(g, args) },
	}
}

func runInspect(g *globalOptions, args []string) error {
	path, err := g.checkpointArg(args)
	if err != nil {
		return err
	}
	info, err := checkpoint.ReadInfo(path)
	if err != nil {
		return err
	}
	return g.print(info, func(w io.Writer) { printInfo(w, info) })
}

func printInfo(w io.Writer, info *checkpoint.Info) {
	h := &info.Header
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("network", "%s, shortcut %s, pictures of %d×%d×%d, %d classes", h.Arch, h.Shortcut, h.Input[0], h.Input[1], h.Input[2], h.Classes)
	for _, v := range []struct{ name, value string }{{"stem", h.Stem}, {"bn", h.BN}, {"no scale", h.NoScale}, {"no shift", h.NoShift}} {
		if v.value != "" {
			row(v.name, "%s", v.value)
		}
	}
	if h.BNEvery != 0 {
		row("bn every", "%d convolutions", h.BNEvery)
	}
	row("trained", "%s", h.Trainable)
	row("seed", "%d (%s; weights %s, γ %s, β %s)", h.Seed, h.Initialisers.Generator, h.Initialisers.Weights, h.Initialisers.Gamma, h.Initialisers.Beta)
	subset := "all training pictures"
	if h.Data.Subset > 0 {
		subset = fmt.Sprintf("%d training pictures", h.Data.Subset)
	}
	row("data", "%s, %s, SHA-256 %.16s…", h.Data.Name, subset, h.Data.Digest)
	row("normalisation", "mean %v, std %v of pixel/255", h.Normalisation.Mean, h.Normalisation.Std)
	row("statistics", "re-estimated over %d batches of %d, order of seed %d", h.Statistics.Batches, h.Statistics.Batch, h.Statistics.Seed)
	for _, e := range h.Provenance {
		row("made by", "%s %s %s", e.Tool, e.Action, e.Parameters)
	}
	if len(h.Config) > 0 {
		row("settings", "%s", h.Config)
	}
	if len(h.State) > 0 {
		row("state", "to resume from: %s", h.State)
	}
	row("size", "%s; tensors %s, compressed to %s", bytesText(info.FileSize), bytesText(info.DataSize), bytesText(info.Stored))
	t.Flush()

	for _, s := range info.Sections {
		need := "required"
		if !s.Required {
			need = "optional"
		}
		fmt.Fprintf(w, "\nsection %s (%s), %d tensors\n", s.Name, need, len(s.Tensors))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, x := range s.Tensors {
			fmt.Fprintf(t, "  %s\t%s\t%s\tCRC-32C %s\n", x.Name, x.Type, shapeText(x.Shape), x.CRC32C)
		}
		t.Flush()
	}
}

func shapeText(shape []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", "×"), "[]")
}
