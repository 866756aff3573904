package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"bnkit/engine"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// modelFlags holds the flags shared by the commands that read a model and its data.
type modelFlags struct {
	data    string
	dataDir string
	threads int
	foreign foreignFlags
}

func (m *modelFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&m.data, "data", "", "data set: a name, or the path of a folder or archive (default: the data that the run was trained on)")
	completeFlag(c, "data", cobra.FixedCompletions(dataset.Names(), cobra.ShellCompDirectiveDefault))
	addDataDir(c, &m.dataDir, "where the run found it, or ")
	addThreads(c, &m.threads, "; does not change the result")
	m.foreign.add(c)
}

// addDataDir adds the flag --data-dir to a command. In the help, firstDefault precedes the
// other defaults.
func addDataDir(c *cobra.Command, dir *string, firstDefault string) {
	c.Flags().StringVar(dir, "data-dir", "", "folder that holds the data set (default: "+firstDefault+"$BNKIT_DATA, or bnkit in the cache folder)")
	completeFlag(c, "data-dir", completeFolders)
}

// maxThreads is the largest value of --threads. Few machines have as many processors.
const maxThreads = 4096

// threadsFlag is the value of --threads. It implements pflag.Value.
type threadsFlag struct{ n *int }

func (f threadsFlag) Type() string { return "int" }

func (f threadsFlag) String() string {
	if f.n == nil { // pflag also calls it on a zero value
		return "0"
	}
	return strconv.Itoa(*f.n)
}

func (f threadsFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxThreads {
		return fmt.Errorf("use a whole number from 1 to %d, or 0 for one thread for each processor", maxThreads)
	}
	*f.n = n
	return nil
}

// addThreads adds the flag --threads to a command. note is the end of its description.
func addThreads(c *cobra.Command, n *int, note string) {
	c.Flags().Var(threadsFlag{n}, "threads", "number of threads (default: one for each processor)"+note)
	completeFlag(c, "threads", completeNothing)
}

// argumentHelp describes the argument in the help of each command that takes a checkpoint.
const argumentHelp = "The argument is a .bnz file, a run directory or another program's file. Without it, the\ncommand uses ./ckpt.bnz or, if that does not exist, the newest run under ./runs, and prints the path."

// checkpointArg returns the path of the checkpoint that a command works on. This is the
// argument or, if there is none, ./ckpt.bnz or, if that does not exist, the checkpoint of
// the newest run. If there is no argument, it prints the path: to standard error with --json,
// and otherwise as the first line of the output.
func (g *globalOptions) checkpointArg(args []string) (string, error) {
	if len(args) == 1 {
		return checkpointIn(args[0])
	}
	path, err := rundir.FindCheckpoint(".")
	if err != nil {
		return "", err
	}
	if g.json {
		fmt.Fprintf(g.err, "checkpoint: %s\n", visible(path))
	} else {
		fmt.Fprintf(g.out, "checkpoint: %s\n", path)
	}
	return path, nil
}

// checkpointIn returns path if it names a file, and the path of ckpt.bnz in it if it names a
// run directory.
func checkpointIn(path string) (string, error) {
	if info, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; name a .bnz file or a run directory", err)
	} else if !info.IsDir() {
		return path, nil
	}
	file := filepath.Join(path, rundir.CheckpointFile)
	_, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s has no %s", rundir.ErrNoCheckpoint, path, rundir.CheckpointFile)
	}
	return file, err
}

// runDir returns the run directory that path names, or whose ckpt.bnz it names.
func runDir(path string) string {
	if filepath.Base(path) == rundir.CheckpointFile {
		return filepath.Dir(path)
	}
	return path
}

// open loads the checkpoint of a command and the data that it is measured on.
func (m *modelFlags) open(ctx context.Context, g *globalOptions, path string) (*engine.Model, *dataset.Data, error) {
	model, data, err := m.load(ctx, g, path)
	if err != nil {
		return nil, nil, err
	}
	if data != nil {
		return model, model.Normalised(data), nil
	}
	data, err = m.openData(model)
	return model, data, err
}

// openData loads the data that a model was trained on, from the location that --data-dir or a
// path in --data gives, else from the location that data.json beside the model's file records,
// else from the default location.
func (m *modelFlags) openData(model *engine.Model) (*dataset.Data, error) {
	dir := m.dataDir
	if m.data == "" && model.Data.Name == "" {
		return nil, errNoData(model.Source.Path)
	}
	if m.data != "" && !dataset.IsName(m.data) {
		if dir != "" {
			return nil, errTwoDataLocations(m.data)
		}
		// The sample is built in, so OpenData would ignore a wrong path.
		if _, err := os.Stat(m.data); errors.Is(err, fs.ErrNotExist) {
			return nil, &dataset.UnknownError{Name: m.data}
		}
		return model.OpenData(m.data)
	}
	if m.data != "" {
		named, err := dataset.Published(m.data)
		if err != nil {
			return nil, err
		}
		if named.Name != model.Data.Name {
			return nil, &config.Error{Key: "--data", Reason: fmt.Sprintf("%s was trained on %s, not on %s", model.Source.Path, model.Data.Name, named.Name)}
		}
	}
	if dir == "" {
		var err error
		if dir, err = rundir.ReadDataPath(filepath.Dir(model.Source.Path)); err != nil {
			return nil, err
		}
	}
	return model.OpenData(dir)
}

// errNoData returns the error for a file that does not name its data set if the command line
// does not name it either.
func errNoData(path string) error {
	return &config.Error{Key: "--data", Reason: fmt.Sprintf("%s does not name its data; name a data set", path)}
}

// errTwoDataLocations returns the error for a command line that gives two locations of the data.
func errTwoDataLocations(path string) error {
	return &config.Error{Key: "--data-dir", Reason: fmt.Sprintf("--data %s already gives the location of the data; use one of them", shellQuote(path))}
}

// fileSize returns a file's size in bytes, or 0 if it cannot be read.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// bytesText formats a number of bytes for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 10_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
