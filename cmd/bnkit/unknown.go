package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bnkit/analysis"
	"bnkit/checkpoint/safetensors"
	"bnkit/engine"
	"bnkit/engine/convert"
	"bnkit/engine/rundir"
	"bnkit/prune"
)

// The functions in this file handle files of other programs whose networks are not recognised.
// Commands can use γ and β of such a network, but cannot run it.

// unknownHelp is a paragraph for the help of analyze.
const unknownHelp = `If the network of another program's file is not recognised, it cannot be run. Then
only γ and β are shown: for each BatchNorm (X.weight, X.bias and X.running_mean of one
dimension), the shares of channels with |γ|, with |β| and with both near zero.`

// outputName returns the path of a checkpoint without its extension, from which the names of
// output files are made. For another program's file it leaves out the folder, so that outputs
// go to the current folder, because the file's folder may be read-only or shared.
func outputName(path string) string {
	if foreign, err := isForeign(path); err == nil && foreign {
		path = filepath.Base(path)
	}
	for _, extension := range []string{".safetensors.index.json", filepath.Ext(path)} {
		path = strings.TrimSuffix(path, extension)
	}
	return path
}

// describeUnknown returns the report of a file whose network is not recognised.
func describeUnknown(unknown *engine.UnknownNetworkError, nearZero []float64) (*analysis.Report, error) {
	file, err := convert.Open(unknown.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	norms := convert.BatchNorms(file.Tensors)
	if len(norms) == 0 {
		return nil, &engine.ModelError{Path: unknown.Path, Reason: "its network is not recognised, and it has no BatchNorm to analyze: " + unknown.Reason}
	}
	report, err := analysis.DescribeBatchNorms(norms, nearZero, "the network is not recognised, so it cannot be run: "+unknown.Reason)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", unknown.Path, err)
	}
	report.Source, err = sha256Of(unknown.Path)
	return report, err
}

// analyzeUnknown runs analyze on a file whose network is not recognised.
func analyzeUnknown(c *cobra.Command, g *globalOptions, o *analyzeOptions, unknown *engine.UnknownNetworkError) error {
	report, err := describeUnknown(unknown, o.nearZero)
	var option *analysis.OptionError
	if errors.As(err, &option) {
		return &usageError{c.CommandPath(), err}
	}
	if err != nil {
		return err
	}
	pictures, err := saveReport(o.out, unknown.Path, report)
	if err != nil {
		return err
	}
	if err := g.print(report, func(w io.Writer) { printUnknown(w, report, o.wide) }); err != nil {
		return err
	}
	g.note("%d pictures and %s in %s", len(pictures), rundir.ReportFile, o.out)
	g.note("next, try: bnkit prune %s --threshold 0.01", shellQuote(unknown.Path))
	return nil
}

// printUnknown prints the report of a network that is not recognised.
func printUnknown(w io.Writer, r *analysis.Report, wide bool) {
	heading, ranks := []string{"layer", "channels", "γ median", "β median"}, []int{0, 1, 2, 6}
	keptLongest, nextRank := max(0, slices.Index(r.NearZero, 0.01)), 7 // as in layerTable
	for i, t := range r.NearZero {
		heading = append(heading, fmt.Sprintf("|γ|<%g", t), fmt.Sprintf("|β|<%g", t), fmt.Sprintf("both<%g", t))
		if i == keptLongest {
			ranks = append(ranks, 3, 4, 5)
			continue
		}
		ranks = append(ranks, nextRank, nextRank+1, nextRank+2)
		nextRank += 3
	}
	rows := [][]string{heading}
	median := len(analysis.Levels) / 2
	row := func(name string, channels int, gamma, beta *analysis.Distribution, shares ...[]float64) {
		cells := []string{printable(name), fmt.Sprint(channels), fmt.Sprintf("%.3f", gamma.Quantiles[median]), fmt.Sprintf("%.3f", beta.Quantiles[median])}
		for i := range r.NearZero {
			for _, values := range shares {
				cells = append(cells, percent(values[i]))
			}
		}
		rows = append(rows, cells)
	}
	for i := range r.Layers {
		l := &r.Layers[i]
		row(l.Name, l.Channels, &l.Gamma, &l.Beta, l.NearZero, l.BetaNearZero, l.BothNearZero)
	}
	t := &r.Total
	row("all", t.Channels, &t.Gamma, &t.Beta, t.NearZero, t.BetaNearZero, t.BothNearZero)
	if !wide {
		rows = fitColumns(rows, ranks, tableColumns(w))
	}
	printTable(w, rows)
	if len(rows[0]) < len(ranks) {
		fmt.Fprintln(w, "--wide shows more columns")
	}
	for _, line := range []string{
		"both: channels with |γ| and |β| near zero, so that their output is near zero",
		"nothing else was measured: " + r.Unmeasured,
	} {
		printProse(w, "%s", line)
	}
}

// copyHelp is a paragraph for the help of prune.
const copyHelp = `If the network of another program's file is not recognised, --threshold writes a
clamped copy of the file instead, NAME-clamped.safetensors, and measures nothing:
small γ are set to zero (with --zero-beta, β of the same channels too), and all other
values keep their bytes. --out NAME.safetensors writes such a copy of any other
program's file.`

// copyFlags are the flags of prune that clampCopy accepts. It uses some of them, and the
// others have no effect on a clamped copy.
var copyFlags = []string{"threshold", "keep-beta", "zero-beta", "out", "force", "dry-run", "json", "quiet", "max-memory", "data", "data-dir", "threads", "arch", "normalise-mean", "normalise-std", "image-size"}

// clampedFile holds the output of prune --json for a clamped copy.
type clampedFile struct {
	*prune.ClampedDict
	Unmeasured string `json:"unmeasured,omitempty"` // why the network was not run
	BytesAfter int64  `json:"bytes_after,omitempty"`
	Out        string `json:"out,omitempty"`
}

// clampCopy writes a clamped copy of another program's file if its network is not recognised
// or if --out asks for one. done reports whether it handled the file.
func (o *pruneOptions) clampCopy(c *cobra.Command, g *globalOptions, path string) (done bool, err error) {
	foreign, err := isForeign(path)
	if err != nil || !foreign {
		return false, err
	}
	wantsCopy := strings.EqualFold(filepath.Ext(o.out), ".safetensors")
	f, err := recognise(c.Context(), g, path, o.foreign.arch)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if !wantsCopy && (f.network != nil || o.foreign.arch != "") {
		return false, nil // if --arch is wrong, loading the model reports it
	}
	reason := "--out names a safetensors file, which is a clamped copy of the file"
	if f.unknown != nil {
		reason = "the network is not recognised, so it cannot be run: " + f.unknown.Error()
	}
	var flagErr error
	c.Flags().Visit(func(flag *pflag.Flag) {
		if !slices.Contains(copyFlags, flag.Name) && flagErr == nil {
			flagErr = &usageError{c.CommandPath(), fmt.Errorf("%s: --%s cannot be used: %s; use --threshold alone", path, flag.Name, reason)}
		}
	})
	if flagErr != nil {
		return false, flagErr
	}
	if o.out == "" {
		o.out = outputName(path) + "-clamped.safetensors"
	} else if !wantsCopy {
		return false, &usageError{c.CommandPath(), fmt.Errorf("--out %s: a clamped copy of %s is written in the format safetensors; use a name that ends in .safetensors", o.out, path)}
	}
	if !o.dryRun {
		if err := checkOverwrite(c, o.out, o.force); err != nil {
			return false, err
		}
	}
	clamped, err := prune.ClampDict(f.File, o.threshold, o.zeroBeta || !o.keepBeta)
	if err != nil {
		return false, pruneError(c, fmt.Errorf("%s: %w", path, err))
	}
	r := clampedFile{ClampedDict: clamped}
	if f.unknown != nil {
		r.Unmeasured = reason
	}
	if !o.dryRun {
		if err := safetensors.Write(o.out, clamped.Tensors, metadataOf(f.File)); err != nil {
			return false, err
		}
		r.Out, r.BytesAfter = o.out, fileSize(o.out)
	}
	return true, g.print(r, func(w io.Writer) { printClamped(w, &r) })
}

// metadataOf returns the metadata for a copy of a file. Programs that load safetensors files
// into PyTorch expect the key "format".
func metadataOf(file *convert.File) map[string]string {
	if file.Metadata != nil {
		return file.Metadata
	}
	return map[string]string{"format": "pt"}
}

func printClamped(w io.Writer, r *clampedFile) {
	rows := [][]string{{"layer", "channels", "clamped", "share"}}
	row := func(name string, channels, clamped int) {
		rows = append(rows, []string{printable(name), fmt.Sprint(channels), fmt.Sprint(clamped), percent(float64(clamped) / float64(channels))})
	}
	for _, l := range r.Layers {
		row(l.Name, l.Channels, l.Clamped)
	}
	row("all", r.Channels, r.Clamped)
	printFitting(w, rows, []int{0, 3, 1, 2})
	fmt.Fprintf(w, "\n|γ| < %g clamped to 0, β of those channels %s\n", r.Threshold, r.Beta)
	if r.Unmeasured != "" {
		printProse(w, "nothing was measured: %s", r.Unmeasured)
	}
	if r.Out == "" {
		fmt.Fprintln(w, "dry run: nothing was written")
		return
	}
	fmt.Fprintf(w, "clamped copy: %s\n", r.Out)
}
