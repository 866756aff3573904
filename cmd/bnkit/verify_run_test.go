package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/engine/rundir"
)

// copyRun copies the run in testdata, which has 2 epochs, to the new directory dir.
func copyRun(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "run"))); err != nil {
		t.Fatal(err)
	}
}

// mustFail checks that verify finds the problem want in the run in dir.
func mustFail(t *testing.T, dir, want string) {
	t.Helper()
	for _, args := range [][]string{{"verify", dir}, {"verify", dir, "--manifest"}} {
		code, out, _ := bnkit(t, args...)
		found := false
		for line := range strings.Lines(out) {
			found = found || strings.Contains(line, ": FAILED: ") && strings.Contains(line, want)
		}
		if code != 3 || !found {
			t.Errorf("%v: exit code %d and the following, want 3 and the failure %q:\n%s", args, code, want, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, rundir.ManifestFile)); err == nil {
		t.Errorf("verify --manifest wrote %s for a run that does not pass, want none", rundir.ManifestFile)
	}
}

// TestVerifyForeignCheckpoint checks that a run whose ckpt.bnz is another program's file does not pass.
func TestVerifyForeignCheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	copyRun(t, dir)
	foreign, err := os.ReadFile("testdata/resnet8.th")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, rundir.CheckpointFile), foreign)
	mustFail(t, dir, "ckpt.bnz: FAILED: ")
}

// TestVerifyNamesOfDirectories checks that verify finds every .bnz file of a run whose directory has
// a name with characters of patterns.
func TestVerifyNamesOfDirectories(t *testing.T) {
	for _, name := range []string{"r[1]", "r[", "r*", "r?"} {
		dir := filepath.Join(t.TempDir(), name)
		copyRun(t, dir)
		if out := mustRun(t, "verify", dir); strings.Count(out, ": ok: ") != 4 {
			t.Errorf("verify %s prints the following, want 4 files that are ok:\n%s", dir, out)
		}
		writeFile(t, filepath.Join(dir, "pruned.bnz"), []byte("damaged"))
		mustFail(t, dir, "pruned.bnz: FAILED: ")
	}
}

// TestVerifyMissingConfig checks that a run without config.json does not pass, even though resume.bnz
// has the same settings, and that a resume writes it again.
func TestVerifyMissingConfig(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	copyRun(t, dir)
	if err := os.Remove(filepath.Join(dir, rundir.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	mustFail(t, dir, "config.json: the file is missing")
	mustRun(t, "train", "--resume", "--out", dir)
	mustRun(t, "verify", dir)
}

// TestVerifyState checks that a resume.bnz passes only if a run with the settings in config.json
// resumes from it and it has the network of ckpt.bnz.
func TestVerifyState(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	train := func(dir string, flags ...string) {
		t.Helper()
		mustRun(t, append([]string{"train", "--data", data, "--out", dir, "--arch", "resnet-8", "--width", "0.25", "--epochs", "1", "--batch", "32"}, flags...)...)
	}
	train("r")
	for name, flags := range map[string][]string{"lr": {"--lr", "0.2"}, "optimizer": {"--optimizer", "adam", "--lr", "0.1"}, "track": {"--track-gradients"}, "arch": {"--arch", "resnet-14"}, "longer": {"--epochs", "2"}} {
		train(name, flags...)
	}
	read := func(file string) []byte {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	intact := map[string][]byte{}
	for _, name := range []string{rundir.ConfigFile, rundir.ResumeFile} {
		intact[name] = read(filepath.Join("r", name))
	}
	for _, c := range []struct{ name, from, want string }{
		{rundir.ResumeFile, "lr/resume.bnz", "its settings are not those of config.json: the run was started with lr 0.2, not 0.1"},
		{rundir.ResumeFile, "optimizer/resume.bnz", "its settings are not those of config.json: the run was started with optimizer adam, not sgd"},
		{rundir.ResumeFile, "track/resume.bnz", "its settings are not those of config.json: the run was started with track_gradients true, not false"},
		{rundir.ResumeFile, "arch/resume.bnz", "its network, resnet-14, is not that of ckpt.bnz, resnet-8"},
		{rundir.ResumeFile, "r/ckpt.bnz", "it is not a resume state"},
	} {
		writeFile(t, filepath.Join("r", c.name), read(c.from))
		mustFail(t, "r", "resume.bnz: FAILED: "+filepath.Join("r", "resume.bnz")+": "+c.want)
		writeFile(t, filepath.Join("r", c.name), intact[c.name])
	}
	// A run may get more epochs, unless its schedule depends on their number, but not fewer.
	setEpochs := func(dir, from, to string) {
		t.Helper()
		name := filepath.Join(dir, rundir.ConfigFile)
		old := `"epochs": ` + from + `,`
		if !strings.Contains(string(read(name)), old) {
			t.Fatalf("%s is %s, want %s in it", name, read(name), old)
		}
		writeFile(t, name, []byte(strings.Replace(string(read(name)), old, `"epochs": `+to+`,`, 1)))
	}
	setEpochs("r", "1", "3")
	mustRun(t, "verify", "r")
	setEpochs("longer", "2", "1")
	mustFail(t, "longer", "its settings are not those of config.json: the run was started with 2 epochs, more than 1")
	train("cosine", "--schedule", "cosine")
	setEpochs("cosine", "1", "3")
	mustFail(t, "cosine", "its settings are not those of config.json: the run was started with 1 epochs, not 3")

	mustRun(t, "train", "--from", "r", "--epochs", "1", "--batch", "32", "--schedule", "constant", "--out", "further")
	mustRun(t, "verify", "further")
	mustRun(t, "train", "--resume", "--out", "further", "--epochs", "2", "--data-dir", data)
	mustRun(t, "verify", "further")
}

// TestVerifyRows checks that a metrics.jsonl with a row without values or with a row of an epoch that
// was not trained does not pass, and that a resume removes the latter.
func TestVerifyRows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	copyRun(t, dir)
	file := filepath.Join(dir, rundir.MetricsFile)
	rows, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, last, _ := strings.Cut(string(rows), "\n")
	writeFile(t, file, []byte("{\"epoch\":1}\n"+last))
	mustFail(t, dir, "line 1: the row has no learning_rate")
	writeFile(t, file, []byte(string(rows)+strings.Replace(first, `"epoch":1`, `"epoch":7`, 1)+"\n"))
	mustFail(t, dir, "line 3: the row is of epoch 7, but ckpt.bnz was trained for 2")
	mustRun(t, "train", "--resume", "--out", dir)
	mustRun(t, "verify", dir)
}

// TestVerifyManifest checks that a manifest passes only if it lists the files of the run, and that
// verify counts the files in the directory that it does not list.
func TestVerifyManifest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	copyRun(t, dir)
	writeFile(t, filepath.Join(dir, ".hidden"), nil)
	mustRun(t, "verify", dir, "--manifest")
	name := filepath.Join(dir, rundir.ManifestFile)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, "verify", dir); !strings.Contains(out, "SHA256SUMS: ok: the SHA-256 of 5 files\n") {
		t.Errorf("verify prints the following, want that the manifest has 5 files and no others:\n%s", out)
	}
	writeFile(t, filepath.Join(dir, "notes.txt"), []byte("a"))
	if out := mustRun(t, "verify", dir); !strings.Contains(out, "SHA256SUMS: ok: the SHA-256 of 5 files; 1 other file in the directory not listed\n") {
		t.Errorf("verify prints the following, want that the manifest does not list 1 file:\n%s", out)
	}
	check := func(text, want string) {
		t.Helper()
		writeFile(t, name, []byte(text))
		if code, out, _ := bnkit(t, "verify", dir); code != 3 || !strings.Contains(out, "SHA256SUMS: FAILED: ") || !strings.Contains(out, want) {
			t.Errorf("exit code %d and the following, want 3 and %q:\n%s", code, want, out)
		}
	}
	check("", "it lists no files")
	for _, left := range []string{rundir.CheckpointFile, rundir.ConfigFile, rundir.MetricsFile, rundir.ResumeFile} {
		text := ""
		for line := range strings.Lines(string(whole)) {
			if !strings.HasSuffix(line, "  "+left+"\n") {
				text += line
			}
		}
		check(text, "it does not list "+left)
	}
}
