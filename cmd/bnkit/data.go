package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"bnkit/engine/dataset"
	"bnkit/engine/dataset/fetch"
)

// dataOptions are the flags of the data commands.
type dataOptions struct {
	dataDir string
	mirror  string // of fetch
}

func newDataCommand(g *globalOptions) *cobra.Command {
	var o dataOptions
	c := &cobra.Command{
		Use:   "data",
		Short: "Download data sets and list those that are here",
		Long: `Download data sets and list those that are here.

A data set is named (` + strings.Join(dataset.Names(), ", ") + `)
or given as a path: a folder that holds CIFAR binary files or IDX files (gzipped
or not), a CIFAR .tar.gz as published, or a folder of pictures: PNG or JPEG files
in train/CLASS and in test/CLASS or val/CLASS. Where both test and val are there,
val is the validation split. The pictures of a folder, of any size, are read while
training, and become squares of bnkit train --image-size. The sample, a part of Fashion-MNIST,
is built in and needs no download.

Named data sets are looked for in --data-dir, else in $BNKIT_DATA, else in
bnkit in the user's cache folder: there, in a subfolder of their name, and in
the subfolder their archive unpacks to.`,
		Example: `  bnkit data list
  bnkit data fetch cifar10
  bnkit train --data cifar10
  bnkit train --data ~/pictures --image-size 32`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&o.dataDir, "data-dir", "", "folder of data sets (default: $BNKIT_DATA, or bnkit in the cache folder)")
	c.AddCommand(newDataFetchCommand(g, &o), newDataListCommand(g, &o))
	return c
}

func newDataFetchCommand(g *globalOptions, o *dataOptions) *cobra.Command {
	c := &cobra.Command{
		Use:   "fetch NAME",
		Short: "Download a data set",
		Long: `Download a data set from its publisher, or from a mirror that has the same files
under the same names. Each file is checked against its published digest: SHA-256,
for CIFAR the MD5 that its page lists. What is there already is kept; an
interrupted download is resumed by the same command.

With --json: name, path (folder or archive; not for the sample), bytes.`,
		Example: `  bnkit data fetch cifar10
  bnkit data fetch fashion-mnist --data-dir ~/data
  bnkit data fetch mnist --mirror https://ossci-datasets.s3.amazonaws.com/mnist`,
		ValidArgs: dataset.Names(),
		Args:      cobra.ExactArgs(1),
		RunE:      func(c *cobra.Command, args []string) error { return runDataFetch(c, g, *o, args[0]) },
	}
	c.Flags().StringVar(&o.mirror, "mirror", "", "address of a folder with the published files")
	return c
}

func newDataListCommand(g *globalOptions, o *dataOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the data sets, where they are and their size",
		Long: `List the data sets that can be named, where those that are here are, and the size
of their files, compressed or not, as they are.

With --json: an array of objects with name, present, and where present path
(folder or archive; not for the sample) and bytes.`,
		Example: `  bnkit data list
  bnkit data list --data-dir ~/data --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runDataList(g, *o) },
	}
}

// dataResult is a data set as fetch --json prints it.
type dataResult struct {
	Name  string `json:"name"`
	Path  string `json:"path,omitempty"`
	Bytes int64  `json:"bytes"`
}

func runDataFetch(c *cobra.Command, g *globalOptions, o dataOptions, name string) error {
	progress := &fetchProgress{line: g.newProgress()}
	_, err := fetch.Fetch(c.Context(), name, fetch.Options{Dir: o.dataDir, Mirror: o.mirror, Progress: progress.update})
	progress.line.clear()
	var unknown *dataset.UnknownError
	switch {
	case errors.As(err, &unknown):
		return &usageError{c.CommandPath(), fmt.Errorf("unknown data set %q: want one of %s", name, strings.Join(dataset.Names(), ", "))}
	case errors.Is(err, context.Canceled):
		g.note("the same command resumes the download")
		return err
	case err != nil:
		return err
	}
	loc, err := dataset.Locate(name, o.dataDir)
	if err != nil {
		return err
	}
	return g.print(dataResult{Name: loc.Name, Path: loc.Path, Bytes: loc.Bytes}, func(w io.Writer) {
		if loc.Path == "" {
			fmt.Fprintf(w, "%s is built in: nothing to fetch\n", loc.Name)
			return
		}
		fmt.Fprintf(w, "%s is in %s (%s)\n", loc.Name, loc.Path, bytesText(loc.Bytes))
	})
}

// fetchProgress shows how far a download is, its rate and the time it has left.
type fetchProgress struct {
	line  *progressLine
	file  string
	start time.Time // when the first bytes of file were reported
	first int64     // how many those were: what an earlier run left
}

func (p *fetchProgress) update(file string, done, total int64) {
	if file != p.file || done < p.first {
		p.file, p.start, p.first = file, time.Now(), done
	}
	text := fmt.Sprintf("%s: %s of %s", file, bytesText(done), bytesText(total))
	if elapsed := time.Since(p.start); done > p.first && elapsed > 0 {
		rate := float64(done-p.first) / elapsed.Seconds()
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		text += fmt.Sprintf(", %s/s, %s left", bytesText(int64(rate)), left.Round(time.Second))
	}
	p.line.update("%s", text)
}

// dataEntry is a data set as list --json prints it.
type dataEntry struct {
	Name    string `json:"name"`
	Present bool   `json:"present"`
	Path    string `json:"path,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
}

func runDataList(g *globalOptions, o dataOptions) error {
	var entries []dataEntry
	for _, name := range dataset.Names() {
		loc, err := dataset.Locate(name, o.dataDir)
		var missing *dataset.MissingError
		if err != nil && !errors.As(err, &missing) {
			return err
		}
		entries = append(entries, dataEntry{Name: name, Present: err == nil, Path: loc.Path, Bytes: loc.Bytes})
	}
	return g.print(entries, func(w io.Writer) {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "NAME\tSIZE\tWHERE")
		for _, e := range entries {
			size, where := bytesText(e.Bytes), e.Path
			switch {
			case !e.Present:
				size, where = "-", "not here: bnkit data fetch "+e.Name
			case e.Path == "":
				where = "built in"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", e.Name, size, where)
		}
		table.Flush()
	})
}
