package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/convert"
)

// recognised is a file of another program with its network, or with the reason why the network
// is not recognised.
type recognised struct {
	*convert.File
	network *convert.Recognised // nil if it is not recognised
	unknown error               // nil if the network is recognised
}

// recognise opens a file of another program, which the caller must close. arch is the name of
// the network, or "" to recognise it.
func recognise(ctx context.Context, g *globalOptions, path, arch string) (*recognised, error) {
	file, err := engine.OpenForeign(ctx, path, int64(g.maxMemory))
	if err != nil {
		return nil, err
	}
	r := &recognised{File: file}
	options, err := convert.OptionsFrom(file.Metadata)
	if arch != "" {
		options = convert.Options{Arch: arch}
	}
	if err == nil {
		r.network, err = convert.Recognise(file.Tensors, options)
	}
	r.unknown = err
	return r, nil
}

// foreignInfo holds the output of inspect --json for another program's file.
type foreignInfo struct {
	Format     string            `json:"format"`
	Path       string            `json:"path,omitempty"` // of the state dict in the file; missing if it is the whole file
	FileBytes  int64             `json:"file_bytes"`
	Network    *foreignNetwork   `json:"network,omitempty"` // missing if it is not recognised
	Unknown    string            `json:"unknown,omitempty"` // why the network is not recognised
	Parameters int               `json:"parameters"`
	BatchNorms int               `json:"batchnorms"`
	Statistics bool              `json:"statistics"` // whether there are running statistics
	Tensors    []foreignTensor   `json:"tensors"`
	Ignored    []string          `json:"ignored"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

type foreignNetwork struct {
	Arch     string `json:"arch"`
	Shortcut string `json:"shortcut,omitempty"`
	arch.Variants
	Named    bool     `json:"named"` // whether Arch, Shortcut and Variants describe the network completely
	Input    [3]int   `json:"input"` // channels, height, width
	Classes  int      `json:"classes"`
	Evidence []string `json:"evidence"`
}

type foreignTensor struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
}

// inspectForeign runs inspect on another program's file.
func inspectForeign(ctx context.Context, g *globalOptions, path string) error {
	f, err := recognise(ctx, g, path, "")
	if err != nil {
		return err
	}
	defer f.Close()
	r := foreignInfo{
		Format: f.Format, Path: f.Path, FileBytes: fileSize(path), Metadata: f.Metadata,
		BatchNorms: len(convert.BatchNorms(f.Tensors)), Ignored: slices.Clone(f.Ignored),
	}
	for _, x := range f.Tensors {
		r.Tensors = append(r.Tensors, foreignTensor{x.Name, x.DType, append([]int{}, x.Shape...)})
		switch last := x.Name[strings.LastIndex(x.Name, ".")+1:]; last {
		case "running_mean", "running_var":
			r.Statistics = true
		case "num_batches_tracked":
		default:
			r.Parameters += elements(x.Shape)
		}
	}
	if f.unknown != nil {
		r.Unknown = f.unknown.Error()
	} else {
		net := f.network.Network
		r.Network = &foreignNetwork{
			Arch: net.Name, Shortcut: string(net.Options.Shortcut), Variants: net.Options.Variants, Named: f.network.Named,
			Input: [3]int{net.Input.C, net.Input.H, net.Input.W}, Classes: net.Classes, Evidence: f.network.Evidence,
		}
		r.Parameters, r.BatchNorms, r.Statistics = arch.All.Parameters(net), 0, f.network.HasStatistics()
		for i := range net.Units {
			if net.Units[i].BN != "" {
				r.BatchNorms++
			}
		}
		r.Ignored = append(r.Ignored, f.network.Ignored...)
	}
	r.Ignored = append([]string{}, r.Ignored...)
	return g.print(r, func(w io.Writer) { printForeign(w, &r) })
}

// elements returns the number of elements of a tensor.
func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func printForeign(w io.Writer, r *foreignInfo) {
	row := func(name, format string, args ...any) {
		fmt.Fprintln(w, wrapHanging(fmt.Sprintf("%-13s", name), visible(fmt.Sprintf(format, args...)), proseWidth(w)))
	}
	row("format", "%s, %s", r.Format, bytesText(r.FileBytes))
	if r.Path != "" {
		row("state dict", "under %s", printable(r.Path))
	}
	if n := r.Network; n != nil {
		text := n.Arch
		if !n.Named {
			text += " with other widths"
		}
		if n.Shortcut != "" {
			text += ", shortcut " + n.Shortcut
		}
		row("network", "%s, pictures of %d×%d×%d, %d classes", text, n.Input[0], n.Input[1], n.Input[2], n.Classes)
		for name, value := range n.Variants.All() {
			row(strings.ReplaceAll(name, "_", " "), "%s", printable(value))
		}
		for _, sentence := range n.Evidence {
			row("evidence", "%s", printable(sentence))
		}
	} else {
		row("network", "unknown: %s", printable(r.Unknown))
	}
	statistics := "not stored"
	if r.Statistics {
		statistics = "stored in this file"
	}
	row("parameters", "%d", r.Parameters)
	row("BatchNorms", "%d", r.BatchNorms)
	row("statistics", "%s", statistics)
	for _, name := range slices.Sorted(maps.Keys(r.Metadata)) {
		row("metadata", "%s: %s", printable(name), printable(r.Metadata[name]))
	}
	if len(r.Ignored) > 0 {
		row("ignored", "%s", ignoredText(r.Ignored))
	}

	fmt.Fprintf(w, "\n%d tensors\n", len(r.Tensors))
	var rows [][]string
	for _, x := range r.Tensors {
		rows = append(rows, []string{printable(x.Name), printable(x.Type), shapeText(x.Shape)})
	}
	printList(w, "  ", rows, []int{0, 2, 1})
}

// ignoredText lists the ignored values. It counts BatchNorm's counters instead of listing them.
func ignoredText(ignored []string) string {
	var names []string
	counters := 0
	for _, name := range ignored {
		if strings.HasSuffix(name, "num_batches_tracked") {
			counters++
			continue
		}
		names = append(names, printable(name))
	}
	if counters > 0 {
		names = append(names, fmt.Sprintf("%d counters num_batches_tracked", counters))
	}
	return strings.Join(names, ", ")
}
