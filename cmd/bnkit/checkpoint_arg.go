package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bnkit/engine"
	"bnkit/engine/dataset"
)

// modelFlags are what commands that measure a checkpoint on its data share.
type modelFlags struct {
	dataDir string
	threads int
}

func (m *modelFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&m.dataDir, "data-dir", "", "folder that holds the data set (default: the cache folder)")
	c.Flags().IntVar(&m.threads, "threads", 0, "threads (default: as many as there are processors); does not change the result")
}

// withoutFile is what the help of each command that takes a checkpoint says.
const withoutFile = "Without a file it takes ./ckpt.bnz, or else the newest run under ./runs, and says which."

// checkpointArg is the checkpoint that a command works on: its argument, or
// ./ckpt.bnz, or the newest run's. The first line of output says which.
func (g *globalOptions) checkpointArg(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	path, err := engine.FindCheckpoint(".")
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
func (m *modelFlags) open(path string) (*engine.Model, *dataset.Data, error) {
	model, err := engine.LoadModel(path)
	if err != nil {
		return nil, nil, err
	}
	data, err := model.OpenData(m.dataDir)
	if err != nil {
		return nil, nil, err
	}
	return model, data, nil
}

// fileSize is a file's size in bytes, 0 where it cannot be told.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 10_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
