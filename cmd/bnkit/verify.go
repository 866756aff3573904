package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// verifyOptions holds the flags of the verify command.
type verifyOptions struct {
	dataDir  string
	manifest bool
}

func newVerifyCommand(g *globalOptions) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [RUN...]",
		Short: "Check files and runs for damage",
		Long: `Check that files are intact and belong together, and print a summary of their content.
` + argumentHelp + `

For a .bnz file, verify checks all hashes, builds the network that the header
describes, draws its weights from the seed, and checks that the tensors fit. If
the data that the network was trained on is found, its hash is compared. Files of
other programs hold no hashes; verify checks that they can be read.

For a run directory, it also checks that ckpt.bnz is a .bnz file, that config.json has
the settings of the model, that a run with these settings can resume from resume.bnz,
that every epoch has its measurements, and all other .bnz files in the directory.

--manifest also writes SHA256SUMS, the SHA-256 of the files in a run directory that
passes, which sha256sum -c can check. It leaves out folders and hidden files. Later,
verify compares the files with it and counts those that it does not list. Training that
continues in the directory removes it.

The exit code is 3 if a file does not pass. --json prints a list with path, content
(what the file holds) and sha256, or problem.`,
		Example: `  bnkit verify
  bnkit verify runs/first runs/second
  bnkit verify runs/first --manifest
  bnkit verify ckpt-pruned.bnz --json`,
		ValidArgsFunction: completeRuns,
		RunE:              func(c *cobra.Command, args []string) error { return runVerify(c, g, &o, args) },
	}
	addDataDir(c, &o.dataDir, "where the run found it, or ")
	c.Flags().BoolVar(&o.manifest, "manifest", false, "write SHA256SUMS into each run directory that passes")
	return c
}

// verified is the result of checking a file.
type verified struct {
	Path    string `json:"path"`
	Content string `json:"content,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// verifyError reports that some files did not pass. The output gives the reasons.
type verifyError struct{ failed, files int }

func (e *verifyError) Error() string {
	return fmt.Sprintf("%d of %d files did not pass", e.failed, e.files)
}

// BadInput reports that the files are at fault.
func (e *verifyError) BadInput() bool { return true }

func runVerify(c *cobra.Command, g *globalOptions, o *verifyOptions, args []string) error {
	if len(args) == 0 {
		path, err := g.checkpointArg(nil)
		if err != nil {
			return err
		}
		args = []string{runDir(path)}
	}
	v := verifier{ctx: c.Context(), g: g, dataDir: o.dataDir}
	for _, path := range args {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("%w; name a file or a run directory", err)
		}
		before := v.failed
		switch {
		case !info.IsDir():
			v.file(path)
		case o.manifest:
			v.run(path)
			if v.failed == before {
				if err := v.writeManifest(path); err != nil {
					return err
				}
			}
		default:
			v.run(path)
			v.manifest(path)
		}
		if err := c.Context().Err(); err != nil {
			return err
		}
	}
	err := g.print(v.results, func(w io.Writer) {
		for _, r := range v.results {
			head, text := r.Path+": ok: ", r.Content
			if r.Problem != "" {
				head, text = r.Path+": FAILED: ", r.Problem
			}
			printHanging(w, head, text)
		}
	})
	if err == nil && v.failed > 0 {
		err = &verifyError{v.failed, len(v.results)}
	}
	return err
}

// verifier checks files and collects the results.
type verifier struct {
	ctx     context.Context
	g       *globalOptions
	dataDir string
	results []verified
	failed  int
}

// add adds the result for a file: what it holds if err is nil, and otherwise the problem.
func (v *verifier) add(path, content, sha256 string, err error) {
	r := verified{Path: path, Content: content, SHA256: sha256}
	if err != nil {
		r = verified{Path: path, Problem: message(err, exitCode(err))}
		v.failed++
	}
	v.results = append(v.results, r)
}

// file checks a file by itself.
func (v *verifier) file(path string) {
	foreign, err := isForeign(path)
	switch {
	case err != nil:
		v.add(path, "", "", err)
	case foreign:
		v.foreign(path)
	default:
		v.bnz(path)
	}
}

// bnz checks a .bnz file by itself. It returns its model, or nil if the file cannot be read or
// is another program's.
func (v *verifier) bnz(path string) *engine.Model {
	m, err := engine.LoadModelContext(v.ctx, path, int64(v.g.maxMemory))
	if err != nil {
		v.add(path, "", "", err)
		return nil
	}
	content, err := describeModel(m)
	data := ""
	if err == nil {
		data, err = v.data(m)
	}
	v.add(path, content+data, m.Source.SHA256, err)
	return m
}

// foreign checks a file of another program.
func (v *verifier) foreign(path string) {
	m, err := engine.ImportContext(v.ctx, path, engine.ImportOptions{MaxMemory: int64(v.g.maxMemory)})
	var unknown *engine.UnknownNetworkError
	switch {
	case errors.As(err, &unknown):
		v.add(path, "readable; "+unknown.Reason, "", nil)
	case err != nil:
		v.add(path, "", "", err)
	default:
		v.add(path, fmt.Sprintf("%s, %s, %d parameters; the format has no hashes", m.Format, m.Network.Name, arch.All.Parameters(m.Network)), m.Source.SHA256, nil)
	}
}

// describeModel describes a model in one line.
func describeModel(m *engine.Model) (string, error) {
	text := m.Network.Name
	trained, err := trainedParameters(m)
	if err != nil {
		return "", err
	}
	if trained != nil {
		text += fmt.Sprintf(", seed %d, %s trained (%d parameters)", m.Origin.Seed, m.Origin.Trainable, *trained)
	} else {
		text += fmt.Sprintf(", all %d parameters stored", arch.All.Parameters(m.Network))
	}
	if n := prunedChannels(m); n > 0 {
		text += fmt.Sprintf(", %s held constant", plural(n, "pruned channel"))
	}
	if history := historyText(m); history != "" {
		text += ", " + history
	}
	return text, nil
}

// data compares the hash of the data that a model was trained on, if it is found. It returns
// the result as the end of a line.
func (v *verifier) data(m *engine.Model) (string, error) {
	if m.Data.Name == "" {
		return "", nil
	}
	flags := modelFlags{dataDir: v.dataDir}
	_, err := flags.openData(m)
	var other *engine.DataError
	switch {
	case err == nil && m.Data.Digest == "":
		return fmt.Sprintf("; the file has no hash of %s to compare", m.Data.Name), nil
	case err == nil:
		return fmt.Sprintf("; its data set, %s, was found and matches", m.Data.Name), nil
	case errors.As(err, &other) && slices.Contains(dataset.Names(), m.Data.Name):
		return "", err
	}
	return fmt.Sprintf("; %s was not found and not compared", m.Data.Name), nil
}

// run checks the files of a run directory. If the checkpoint cannot be read, run does not check the
// other files.
func (v *verifier) run(dir string) {
	m := v.bnz(rundir.File(dir, rundir.CheckpointFile))
	if m == nil {
		return
	}
	cfg, err := engine.VerifyConfig(dir, m)
	v.add(rundir.File(dir, rundir.ConfigFile), "the settings of the model, "+plural(cfg.Epochs, "epoch"), "", err)
	epochs, err := engine.VerifyState(v.ctx, dir, m)
	v.add(rundir.File(dir, rundir.ResumeFile), "the state of the run after "+plural(epochs, "epoch"), "", err)
	rows, err := rundir.VerifyMetrics(dir, epochs, m.TrainedEpochs())
	v.add(rundir.File(dir, rundir.MetricsFile), plural(rows, "row")+", one for each epoch", "", err)
	files, err := os.ReadDir(dir)
	if err != nil {
		v.add(dir, "", "", err)
	}
	for _, f := range files {
		if name := f.Name(); filepath.Ext(name) == ".bnz" && name != rundir.CheckpointFile && name != rundir.ResumeFile {
			v.file(filepath.Join(dir, name))
		}
	}
}

// manifest compares the files of a directory with its manifest, if there is one.
func (v *verifier) manifest(dir string) {
	listed, unlisted, found, err := rundir.VerifyManifest(dir)
	if !found {
		return
	}
	content := "the SHA-256 of " + plural(listed, "file")
	if unlisted > 0 {
		content += "; " + plural(unlisted, "other file") + " in the directory not listed"
	}
	v.add(filepath.Join(dir, rundir.ManifestFile), content, "", err)
}

// writeManifest writes the manifest of a directory.
func (v *verifier) writeManifest(dir string) error {
	entries, err := rundir.WriteManifest(dir)
	if err != nil {
		return err
	}
	v.add(filepath.Join(dir, rundir.ManifestFile), "written, the SHA-256 of "+plural(len(entries), "file"), "", nil)
	return nil
}
