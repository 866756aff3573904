package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bnkit/engine/dataset"
	"bnkit/engine/dataset/fetch"
)

// dataOptions holds the flags of the data commands.
type dataOptions struct {
	dataDir string
	mirror  string // used only by fetch
}

func newDataCommand(g *globalOptions) *cobra.Command {
	var o dataOptions
	c := &cobra.Command{
		Use:   "data",
		Short: "Download and list data sets",
		Long: `Download data sets, and list them with their location and size on disk.

A data set is given by its name (` + strings.Join(dataset.Names(), ", ") + `)
or by its path: a folder that holds CIFAR binary files or IDX files (gzipped or not), a
CIFAR .tar.gz as published, or a folder of pictures: PNG or JPEG files in train/CLASS
and in test/CLASS or val/CLASS. If there are both test and val, val is the validation
split. The pictures of a folder can have any size; they are read during training and
resized to squares, whose side bnkit train --image-size sets. The sample is a part of
Fashion-MNIST. It is built in and needs no download.

bnkit looks for a named data set in --data-dir or, without that flag, in $BNKIT_DATA
or, if that is not set, in the folder bnkit of the user's cache folder. There it looks
in the folder itself, in the subfolder named after the data set, and in the subfolder
to which the archive of the data set unpacks.`,
		Example: `  bnkit data list
  bnkit data fetch cifar10
  bnkit train --data cifar10
  bnkit train --data ~/pictures --image-size 32`,
		Args: unknownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newDataFetchCommand(g, &o), newDataListCommand(g, &o))
	for _, sub := range c.Commands() {
		addDataDir(sub, &o.dataDir, "")
	}
	return c
}

func newDataFetchCommand(g *globalOptions, o *dataOptions) *cobra.Command {
	c := &cobra.Command{
		Use:   "fetch NAME",
		Short: "Download a data set",
		Long: `Download a data set from its publisher, or from a mirror that has the same files
under the same names. Each file is checked against its published digest: the MD5
that the CIFAR page lists, or SHA-256 for the other data sets. Files that are
already there are kept. The same command resumes an interrupted download.

--json prints name, path (folder or archive; not for the sample) and bytes.`,
		Example: `  bnkit data fetch cifar10
  bnkit data fetch fashion-mnist --data-dir ~/data
  bnkit data fetch mnist --mirror https://ossci-datasets.s3.amazonaws.com/mnist`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runDataFetch(c, g, *o, args[0]) },

		ValidArgs: dataset.Names(),
	}
	c.Flags().StringVar(&o.mirror, "mirror", "", "address of a folder with the published files")
	completeFlag(c, "mirror", completeNothing)
	return c
}

func newDataListCommand(g *globalOptions, o *dataOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List data sets, their location and size on disk",
		Long: `List the data sets that have names, their location and size on disk.

--json prints an array of objects with name, present and, if present, path (folder
or archive; not for the sample) and bytes.`,
		Example: `  bnkit data list
  bnkit data list --data-dir ~/data --json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runDataList(g, *o) },
	}
}

// dataResult holds the output of fetch --json for a data set.
type dataResult struct {
	Name  string `json:"name"`
	Path  string `json:"path,omitempty"`
	Bytes int64  `json:"bytes"`
}

func runDataFetch(c *cobra.Command, g *globalOptions, o dataOptions, name string) error {
	progress := &fetchProgress{line: g.newProgress()}
	hint := offlineHint(name, o.dataDir)
	retry := func(err error) {
		progress.line.clear()
		if network := new(url.Error); errors.As(err, &network) && hint != "" {
			g.note("%v; trying again. %s", err, hint)
			hint = "" // print the hint only once
		}
	}
	_, err := fetch.Fetch(c.Context(), name, fetch.Options{Dir: o.dataDir, Mirror: o.mirror, Progress: progress.update, Retry: retry})
	progress.line.clear()
	var unknown *dataset.UnknownError
	switch {
	case errors.As(err, &unknown):
		return &usageError{c.CommandPath(), fmt.Errorf("data set %q is unknown; use one of: %s%s", name, strings.Join(dataset.Names(), ", "), suggestion(name, dataset.Names()))}
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

// offlineHint describes how to get a data set on a machine that cannot reach the publisher. It
// returns "" if the name is unknown, or if there is no data folder.
func offlineHint(name, dir string) string {
	published, err := dataset.Published(name)
	if err != nil {
		return ""
	}
	if dir == "" {
		if dir, err = dataset.CacheDir(); err != nil {
			return ""
		}
	}
	var files []string
	for _, f := range published.Files {
		files = append(files, f.Name)
	}
	return fmt.Sprintf("Without a connection, use --mirror ADDRESS (of a folder with the published files), or copy %s to %s",
		strings.Join(files, ", "), shellQuote(filepath.Join(dir, published.Name)))
}

// fetchProgress shows the progress of a download, its rate and the time left.
type fetchProgress struct {
	line  *progressLine
	file  string
	start time.Time // when the download of file began, or began again
	found int64     // number of bytes of file that were on disk at start
}

func (p *fetchProgress) update(file string, done, total int64) {
	if file != p.file || done < p.found {
		p.file, p.start, p.found = file, time.Now(), done
	}
	text := fmt.Sprintf("%s: %s of %s", file, bytesText(done), bytesText(total))
	if elapsed := time.Since(p.start); done > p.found && elapsed > 0 {
		rate := float64(done-p.found) / elapsed.Seconds()
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		text += fmt.Sprintf(", %s/s, %s left", bytesText(int64(rate)), left.Round(time.Second))
	}
	p.line.update("%s", text)
}

// dataEntry holds the output of list --json for a data set.
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
		rows := [][]string{{"NAME", "SIZE", "WHERE"}}
		for _, e := range entries {
			size, where := bytesText(e.Bytes), e.Path
			switch {
			case !e.Present:
				size, where = missing, "missing; to download: bnkit data fetch "+e.Name
			case e.Path == "":
				where = "built in"
			}
			rows = append(rows, []string{e.Name, size, printable(where)})
		}
		printWithLast(w, rows)
	})
}
