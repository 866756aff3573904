package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestProvenanceCommands runs the commands that inspect prints for the provenance of a file,
// and checks that they write the same file.
func TestProvenanceCommands(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no sh to split the printed line")
	}
	data := writeIDX(t)
	chdirTemp(t)
	for i, flags := range []string{
		"--lr-drops 1", "--lr-drops none --no-augment --bn-weight-decay=false", "--optimizer adam --lr 0.01 --no-scale blocks.*.bn2 --with-stats --seed 18446744073709551615",
		"--schedule cosine --trainable all --beta-init 1",
	} {
		dir := filepath.Join("it's", string(rune('a'+i)))
		mustRun(t, append([]string{"train", "--data", data, "--out", dir, "--arch", "resnet-8", "--epochs", "2", "--batch", "32"}, strings.Fields(flags)...)...)
		repeatCommand(t, filepath.Join(dir, "ckpt.bnz"), "bnkit train ", "--out", "copy"+string(rune('a'+i)), filepath.Join("copy"+string(rune('a'+i)), "ckpt.bnz"))
		mustRun(t, "prune", dir, "--remove", "0.2", "--zero-beta")
		repeatCommand(t, filepath.Join(dir, "ckpt-pruned.bnz"), "bnkit prune ", "--out", "pruned"+string(rune('a'+i))+".bnz", "pruned"+string(rune('a'+i))+".bnz")
	}
	for i, flags := range []string{
		`--threshold 0.4 --protect bn --protect blocks.0.* --protect "blocks.[1,7].bn1" --max-per-layer 0.5 --recover 2 --recover-lr 0.01`,
		"--remove 0.3 --mean-beta",
		"--remove 0.2 --policy random --policy-seed 7 --protect blocks.1.bn1",
		"--target-macs 0.7 --policy l1 --scope layer --normalise --per-mac 0.5 --max-per-layer 0.75 --zero-beta",
		"--target-macs 0.6 --policy taylor --policy-batches 1 --iterate 2 --recover 1",
		"--max-drop 30",
	} {
		name := fmt.Sprintf("it's/a/choice%d.bnz", i)
		mustRun(t, append([]string{"prune", "it's/a", "--out", name}, strings.Fields(flags)...)...)
		repeatCommand(t, name, "bnkit prune ", "--out", fmt.Sprintf("again%d.bnz", i), fmt.Sprintf("again%d.bnz", i))
	}
	// The command for another program's file also describes the pictures.
	mustRun(t, "train", "--arch", "resnet-8", "--epochs", "1", "--subset", "128", "--out", "sample")
	mustRun(t, "export", "sample", "--out", "m.safetensors")
	mustRun(t, "prune", "m.safetensors", "--data", "sample", "--normalise-mean", "0.25", "--normalise-std", "0.5", "--threshold", "0.3")
	repeatCommand(t, "m-pruned.bnz", "bnkit prune m.safetensors", "--out", "m2.bnz", "m2.bnz")
	mustRun(t, "train", "--from", "prunedb.bnz", "--data", data, "--epochs", "1", "--batch", "32", "--out", "runs/more")
	repeatCommand(t, "runs/more/ckpt.bnz", "bnkit train --from", "--out", "runs/more2", "runs/more2/ckpt.bnz")
	mustRun(t, "train", "--like", "prunedb.bnz", "--data", data, "--epochs", "1", "--batch", "32", "--out", "runs/like")
	repeatCommand(t, "runs/like/ckpt.bnz", "bnkit train --like", "--out", "runs/like2", "runs/like2/ckpt.bnz")
	// Outside the run directory, inspect finds neither the source nor the location of the data. It
	// prints a placeholder for the source, and the stored event instead of the train command.
	if err := os.Rename("it's/a/ckpt-pruned.bnz", "alone.bnz"); err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, "inspect", "alone.bnz"); !strings.Contains(out, "bnkit prune SOURCE.bnz (the file with SHA-256 ") || !strings.Contains(out, `bnkit train {"epochs":2}`) {
		t.Errorf("inspect prints the following, want the placeholder SOURCE.bnz and the stored event:\n%s", out)
	}
}

// repeatCommand runs the last command with the given prefix that inspect prints for a file. It
// adds a flag with a value, and compares the written file with the original.
func repeatCommand(t *testing.T, path, prefix string, flag, value, written string) {
	t.Helper()
	command := ""
	for line := range strings.Lines(mustRun(t, "inspect", path)) {
		if _, text, found := strings.Cut(line, "made by"); found && strings.HasPrefix(strings.TrimSpace(text), prefix) {
			command = strings.TrimPrefix(strings.TrimSpace(text), "bnkit ")
		}
	}
	words, err := exec.Command("sh", "-c", `set -- `+command+`; printf '%s\n' "$@"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, append(strings.Split(strings.TrimSuffix(string(words), "\n"), "\n"), flag, value)...)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(written); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file that %q writes (%d bytes, error %v) differs from %s (%d bytes), want equal ones", command, len(got), err, path, len(want))
	}
}
