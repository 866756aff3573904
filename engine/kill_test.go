package engine

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// killedDir is the name of an environment variable. TestKill sets it when it starts this
// binary as another process. Its value is the directory in which that process trains until it
// is killed.
const killedDir = "BNKIT_TEST_KILLED_DIR"

// TestMain trains in the directory that killedDir specifies, if it is set. Otherwise it runs
// the tests.
func TestMain(m *testing.M) {
	dir := os.Getenv(killedDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	cfg, data := killRun()
	_, err := os.Stat(filepath.Join(dir, rundir.ConfigFile))
	_, err = Train(context.Background(), cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: err == nil,
		Step: func(s StepReport) { fmt.Println(s.Epoch, s.Step) }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// killRun returns the settings and the data of the run that TestKill kills.
func killRun() (config.Config, *dataset.Data) {
	cfg := tinyConfig()
	cfg.Epochs = 6
	return cfg, synthetic(64, 20)
}

// TestKill kills a training process (by SIGKILL on Unix) repeatedly, a few steps after it
// begins, and checks that the final checkpoint is that of an uninterrupted run.
func TestKill(t *testing.T) {
	cfg, data := killRun()
	whole := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: whole, Threads: 2})
	dir := t.TempDir()
	// A killed process loses the steps of its unfinished epoch. An epoch has 4 steps, so a
	// process that takes at least 5 completes one.
	for _, steps := range []int{2, 5, 7, 6} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		process := exec.Command(self)
		process.Env = append(os.Environ(), killedDir+"="+dir)
		process.Stderr = os.Stderr
		out, err := process.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range steps {
			if !lines.Scan() {
				t.Fatal("the process ended before it was killed, want it to train on")
			}
		}
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := process.Wait(); err == nil {
			t.Fatal("the process ended by itself, want it to be killed")
		}
	}
	mustTrain(t, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true})
	if !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), readFile(t, whole, rundir.CheckpointFile)) {
		t.Error("ckpt.bnz differs from that of an uninterrupted run, want the same bytes")
	}
}
