package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"bnkit/engine"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// modelFlags are the flags of every command that measures a checkpoint on its data.
type modelFlags struct {
	dataDir string
	threads int
}

func (m *modelFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&m.dataDir, "data-dir", "", "folder that holds the data set (default: where the run found it, or the cache folder)")
	c.Flags().IntVar(&m.threads, "threads", 0, "threads (default: as many as there are processors); does not change the result")
}

// withoutFile is a sentence for the help of each command that takes a checkpoint.
const withoutFile = "Without a file it uses ./ckpt.bnz, or else that of the newest run under ./runs,\nand prints which."

// checkpointArg returns the path of the checkpoint that a command works on: its argument
// or, without one, ./ckpt.bnz or, if that does not exist, the checkpoint of the newest
// run. If it is not the argument, the first line of output names it.
func (g *globalOptions) checkpointArg(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	path, err := rundir.FindCheckpoint(".")
	if err != nil {
		return "", err
	}
	if g.json {
		fmt.Fprintf(g.err, "checkpoint: %s\n", path)
	} else {
		fmt.Fprintf(g.out, "checkpoint: %s\n", path)
	}
	return path, nil
}

// open loads a command's checkpoint and the data it was trained on.
func (m *modelFlags) open(ctx context.Context, g *globalOptions, path string) (*engine.Model, *dataset.Data, error) {
	model, err := g.load(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	data, err := m.openData(model)
	return model, data, err
}

// load reads a checkpoint, within the memory that --max-memory allows.
func (g *globalOptions) load(ctx context.Context, path string) (*engine.Model, error) {
	return engine.LoadModelContext(ctx, path, int64(g.maxMemory))
}

// openData loads the data that a model was trained on, from --data-dir or, without that
// flag, from the location that data.json beside the model's file records.
func (m *modelFlags) openData(model *engine.Model) (*dataset.Data, error) {
	dir := m.dataDir
	if dir == "" {
		var err error
		if dir, err = rundir.ReadPlace(filepath.Dir(model.Source.Path)); err != nil {
			return nil, err
		}
	}
	return model.OpenData(dir)
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
