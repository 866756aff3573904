package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bnkit/checkpoint"
)

// The files of a run directory.
const (
	ConfigFile     = "config.json"   // the run's Config
	MetricsFile    = "metrics.jsonl" // an EpochMetrics a line
	CheckpointFile = "ckpt.bnz"      // the model after the last epoch
	ResumeFile     = "resume.bnz"    // the state that training continues from
)

// runDir is a run directory's path.
type runDir string

func (d runDir) path(name string) string { return filepath.Join(string(d), name) }

// holdsRun says whether any file of a run is there.
func (d runDir) holdsRun() (bool, error) {
	for _, name := range []string{ConfigFile, MetricsFile, CheckpointFile, ResumeFile} {
		_, err := os.Lstat(d.path(name))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// begin makes the directory, removes what an earlier run left in it, and
// writes config.json.
func (d runDir) begin(cfg *Config) error {
	if err := os.MkdirAll(string(d), 0o777); err != nil {
		return err
	}
	// The state goes first: what is left of a removal cut short is never
	// continued as the run that begins.
	for _, name := range []string{ResumeFile, CheckpointFile, MetricsFile, ConfigFile} {
		if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return d.writeConfig(cfg)
}

func (d runDir) writeConfig(cfg *Config) error {
	b, err := cfg.encode()
	if err != nil {
		return err
	}
	return checkpoint.WriteFileAtomic(d.path(ConfigFile), b)
}

// FindCheckpoint returns the checkpoint that a command without a file takes:
// dir/ckpt.bnz, or else the newest dir/runs/*/ckpt.bnz. The error is
// ErrNoCheckpoint where there is neither.
func FindCheckpoint(dir string) (string, error) {
	here := filepath.Join(dir, CheckpointFile)
	if info, err := os.Stat(here); err == nil && info.Mode().IsRegular() {
		return here, nil
	}
	runs := filepath.Join(dir, "runs")
	entries, err := os.ReadDir(runs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var newest string
	var when time.Time
	for _, e := range entries {
		path := filepath.Join(runs, e.Name(), CheckpointFile)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.ModTime().After(when) {
			newest, when = path, info.ModTime()
		}
	}
	if newest == "" {
		return "", fmt.Errorf("%w: neither %s nor %s is there; name a file, or make one with: bnkit train", ErrNoCheckpoint, here, filepath.Join(runs, "*", CheckpointFile))
	}
	return newest, nil
}

// FindUnfinishedRun returns the run directory under runs whose training was
// begun last and has not done all its epochs. The error is ErrNoRun where
// there is none.
func FindUnfinishedRun(runs string) (string, error) {
	entries, err := os.ReadDir(runs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var newest string
	var when time.Time
	for _, e := range entries {
		dir := runDir(filepath.Join(runs, e.Name()))
		info, err := os.Stat(dir.path(ConfigFile))
		if err != nil || !info.ModTime().After(when) {
			continue
		}
		cfg, err := ReadConfig(dir.path(ConfigFile))
		if err != nil {
			continue
		}
		// A metrics.jsonl that is missing or unreadable counts as no epoch done;
		// the resume itself will say what is wrong with it.
		if done, _ := ReadMetrics(dir.path(MetricsFile)); len(done) < cfg.Epochs {
			newest, when = string(dir), info.ModTime()
		}
	}
	if newest == "" {
		return "", fmt.Errorf("%w: every run under %s is finished; name a run with --out, or a larger number of --epochs too", ErrNoRun, runs)
	}
	return newest, nil
}
