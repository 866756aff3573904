package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/config"
)

func newInspectCommand(g *globalOptions) *cobra.Command {
	cfg := config.Default()
	cfg.Arch = ""
	c := &cobra.Command{
		Use:   "inspect [RUN]",
		Short: "List a checkpoint's header and tensors, or a network's trainable sets",
		Long: `List the header of a .bnz file and the tensors it stores, without reading their
data. ` + argumentHelp + `

For another program's file (safetensors, or .pt, .pth or .th of PyTorch), inspect shows
the keys that lead to the state dict, the recognised network with the evidence for it or
the tensor that does not fit, all tensors, and the other values in the file. No code in
it is run.

With --arch it lists the trainable sets of a network instead: what each set trains,
and the number of its parameters, for pictures of 3×32×32 in 10 classes. The flags for
variants of the network are the same as for bnkit train.

--json prints header, sections (name, required, tensors: name, type, shape,
crc32c), file_bytes, tensor_bytes (uncompressed) and stored_bytes (compressed);
for another program's file: format, path (of the state dict in it), file_bytes, network
(arch, shortcut and other variants, named, input, classes, evidence) or unknown (why it
is not recognised), parameters, batchnorms, statistics, tensors (name, type, shape),
ignored and metadata; with --arch it prints arch, shortcut and other variants, input, classes, parameters
(the number of all parameters) and sets (name, trains, parameters).`,
		Example: `  bnkit inspect
  bnkit inspect runs/first/ckpt.bnz --json
  bnkit inspect resnet56.th
  bnkit inspect --arch resnet-110 --shortcut A
  bnkit inspect --arch resnet-20 --no-scale '*'
  bnkit inspect --arch resnet50 --width 0.25`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeRun,
		RunE: func(c *cobra.Command, args []string) error {
			flags := c.Flags()
			if !flags.Changed("arch") {
				for _, s := range config.Settings {
					if name := s.FlagName(); flags.Changed(name) {
						return &usageError{c.CommandPath(), fmt.Errorf("--%s needs --arch", name)}
					}
				}
				return runInspect(c.Context(), g, args)
			}
			if len(args) > 0 {
				return &usageError{c.CommandPath(), errors.New("inspect either a file or a network (--arch), not both")}
			}
			return flagError(c, inspectNetwork(g, &cfg))
		},
	}
	addSettings(c, &cfg, config.Network)
	return c
}

// networkSets holds the output of inspect --arch --json.
type networkSets struct {
	Arch     string `json:"arch"`
	Shortcut string `json:"shortcut"`
	arch.Variants
	Input      [3]int   `json:"input"` // channels, height, width
	Classes    int      `json:"classes"`
	Parameters int      `json:"parameters"`
	Sets       []setRow `json:"sets"`
}

type setRow struct {
	Name       string `json:"name"`
	Trains     string `json:"trains"`
	Parameters int    `json:"parameters"`
}

func inspectNetwork(g *globalOptions, cfg *config.Config) error {
	net, err := cfg.Network(arch.Shape{C: 3, H: 32, W: 32}, 10)
	if err != nil {
		return err
	}
	r := networkSets{
		Arch: cfg.Arch, Shortcut: cfg.Shortcut, Variants: net.Options.Variants,
		Input: [3]int{net.Input.C, net.Input.H, net.Input.W}, Classes: net.Classes, Parameters: arch.All.Parameters(net),
	}
	for _, s := range append(slices.Clone(arch.TrainableSets), "random-2", "bn+random-2") {
		r.Sets = append(r.Sets, setRow{string(s), s.Meaning(), s.Parameters(net)})
	}
	return g.print(r, func(w io.Writer) {
		printProse(w, "%s, shortcut %s, pictures of %v, %d classes: %d parameters", r.Arch, r.Shortcut, net.Input, r.Classes, r.Parameters)
		fmt.Fprintln(w)
		width := max(len(fmt.Sprint(r.Parameters)), len("parameters"))
		rows := [][]string{{"trainable set", fmt.Sprintf("%*s", width, "parameters"), "  share", "trains"}}
		for _, s := range r.Sets {
			rows = append(rows, []string{s.Name, fmt.Sprintf("%*d", width, s.Parameters), fmt.Sprintf("%7s", percent(float64(s.Parameters)/float64(r.Parameters))), s.Trains})
		}
		printWithLast(w, rows)
	})
}

func runInspect(ctx context.Context, g *globalOptions, args []string) error {
	path, err := g.checkpointArg(args)
	if err != nil {
		return err
	}
	if foreign, err := isForeign(path); err != nil {
		return err
	} else if foreign {
		return inspectForeign(ctx, g, path)
	}
	info, err := checkpoint.ReadInfo(path)
	if err != nil {
		return err
	}
	return g.print(info, func(w io.Writer) { printInfo(w, path, info) })
}

// printInfo prints the header and the tensors of a .bnz file.
func printInfo(w io.Writer, path string, info *checkpoint.Info) {
	h := &info.Header
	var rows [][]string
	row := func(name, format string, args ...any) {
		rows = append(rows, []string{name, visible(fmt.Sprintf(format, args...))})
	}
	if h.Network != nil {
		printDescription(row, h)
	} else {
		row("network", "%s, shortcut %s, pictures of %d×%d×%d, %d classes", printable(h.Arch), printable(h.Shortcut), h.Input[0], h.Input[1], h.Input[2], h.Classes)
	}
	for name, value := range arch.Variants(h.Variants).All() {
		row(strings.ReplaceAll(name, "_", " "), "%s", printable(value))
	}
	if len(h.Pruned) > 0 {
		row("pruned", "%s", prunedText(h.Pruned))
	}
	row("trained", "%s", printable(h.Trainable))
	if in := h.Initialisers; in != (checkpoint.Initialisers{}) {
		row("seed", "%d (%s; weights %s, γ %s, β %s)", h.Seed, printable(in.Generator), printable(in.Weights), printable(in.Gamma), printable(in.Beta))
	}
	if h.Data != (checkpoint.DataSet{}) {
		row("data", "%s, %s, SHA-256 %.16s…", printable(h.Data.Name), selectionText(&h.Data), h.Data.Digest)
	}
	if n := len(h.Normalisation.Mean); n > len(h.Normalisation.Std) {
		row("normalisation", "mean picture of %d values, std %v of pixel/255", n, h.Normalisation.Std)
	} else {
		row("normalisation", "mean %v, std %v of pixel/255", h.Normalisation.Mean, h.Normalisation.Std)
	}
	row("statistics", "%s", statisticsText(info))
	for _, line := range provenanceLines(path, h) {
		row("made by", "%s", line)
	}
	if len(h.Config) > 0 {
		row("settings", "%s", oneLine(h.Config))
	}
	if len(h.State) > 0 {
		row("state", "to resume from: %s", oneLine(h.State))
	}
	row("size", "%s; tensors %s, compressed to %s", bytesText(info.FileSize), bytesText(info.DataSize), bytesText(info.Stored))
	for i, line := range rows {
		switch line[0] {
		case "made by":
			rows[i][1] = commandLines(w, columnWidth(rows, 0), line[1])
		case "settings", "state":
			if terminalOf(w) != nil { // JSON can be broken between its members
				rows[i][1] = strings.ReplaceAll(line[1], `,"`, `, "`)
			}
		}
	}
	printWithLast(w, rows)

	for _, s := range info.Sections {
		kind := "required"
		if !s.Required {
			kind = "optional"
		}
		fmt.Fprintf(w, "\nsection %s (%s), %d tensors\n", printable(s.Name), kind, len(s.Tensors))
		var rows [][]string
		for _, x := range s.Tensors {
			rows = append(rows, []string{printable(x.Name), printable(x.Type), shapeText(x.Shape), "CRC-32C " + x.CRC32C})
		}
		printList(w, "  ", rows, []int{0, 2, 1, 3})
	}
}

// statisticsText describes the source of the running statistics.
func statisticsText(info *checkpoint.Info) string {
	if slices.ContainsFunc(info.Sections, func(s checkpoint.SectionInfo) bool { return s.Name == checkpoint.SectionStats }) {
		return "stored in this file"
	}
	if s := info.Header.Statistics; s.Batches > 0 {
		return fmt.Sprintf("re-estimated over %d batches of %d, order of seed %d", s.Batches, s.Batch, s.Seed)
	}
	return "not stored"
}

// oneLine returns JSON without the spaces and line breaks between its values.
func oneLine(text json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return printable(string(text))
	}
	return b.String()
}

// prunedText describes the channels that are held constant: their number and their
// BatchNorms.
func prunedText(pruned map[string][]int) string {
	total, names := 0, slices.Sorted(maps.Keys(pruned))
	for i, name := range names {
		total += len(pruned[name])
		names[i] = fmt.Sprintf("%s %d", printable(name), len(pruned[name]))
	}
	return fmt.Sprintf("%d channels held constant: %s", total, strings.Join(names, ", "))
}

// selectionText describes the pictures that were trained on, and how they were resized.
func selectionText(d *checkpoint.DataSet) string {
	text := "all training pictures"
	switch {
	case d.Subset > 0:
		text = fmt.Sprintf("%d training pictures", d.Subset)
	case d.SubsetPerClass > 0:
		text = fmt.Sprintf("%d training pictures of each class", d.SubsetPerClass)
	}
	if d.Validation > 0 {
		text += fmt.Sprintf(", %d held out", d.Validation)
	}
	if d.RandomLabels {
		text += ", random labels"
	}
	if d.ImageSize > 0 {
		text += fmt.Sprintf(", resized to %d×%d (%s)", d.ImageSize, d.ImageSize, printable(d.Crop))
	}
	return text
}

// shapeText formats a shape, e.g. "16×3×3×3".
func shapeText(shape []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", "×"), "[]")
}
