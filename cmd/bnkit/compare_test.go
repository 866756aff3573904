package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/analysis"
	"bnkit/engine/config"
)

// TestCompare compares two runs and a run without epochs, and checks the table, the JSON and
// the pictures.
func TestCompare(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "runs/a", "--lr", "0.05"}, smallRun...)...)
	mustRun(t, "train", "--data", data, "--out", "runs/b", "--arch", "resnet-14", "--trainable", "all", "--epochs", "1", "--schedule", "cosine", "--batch", "32")
	settings, err := os.ReadFile("runs/b/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("other/b", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("other/b/config.json", settings, 0o644); err != nil {
		t.Fatal(err)
	}
	table := mustRun(t, "compare", "runs/a", "runs/b", "other/b", "--out", "pictures")
	// The table has a column for each run, because it is narrower that way.
	rows := map[string][]string{} // by heading
	body, _, _ := strings.Cut(table, "test accuracy:")
	for line := range strings.SplitSeq(body, "\n") {
		if cells := strings.Fields(line); len(cells) > 1 {
			rows[cells[0]] = cells[1:]
		}
	}
	for heading, want := range map[string][]string{
		"run": {filepath.Join("runs", "a"), filepath.Join("runs", "b"), filepath.Join("other", "b")}, "network": {"resnet-8", "resnet-14", "resnet-14"},
		"trained": {"bn", "all", "all"}, "epochs": {"2", "1", "0", "of", "1"}, "lr": {"0.05", "0.1", "0.1"},
		"schedule": {"step", "cosine", "cosine"}, // step is the default, which config.json leaves out
		// ResNet-14 has 175,258 on CIFAR-10; this one has two input channels and six classes fewer.
		"parameters": {"672", "174580", "–"},
	} {
		if got := rows[heading]; !slices.Equal(got, want) {
			t.Errorf("the row %s is %q, want %q in\n%s", heading, got, want, table)
		}
	}
	if rows["momentum"] != nil || !strings.Contains(table, "40 pictures of the test split") {
		t.Errorf("compare prints the following, want no row for equal settings and the number of test pictures:\n%s", table)
	}

	var r comparison
	decode(t, mustRun(t, "compare", "runs/a", "runs/b", "other/b", "--out", "pictures", "--json"), &r)
	if len(r.Runs) != 3 || r.Runs[0].Epochs != 2 || r.Runs[1].Model.Trained != r.Runs[1].Model.Parameters || r.Runs[2].Result != nil || r.Runs[2].Model != nil {
		t.Errorf("runs %+v, want 2 epochs in the first, all parameters trained in the second, and no model and result in the third", r.Runs)
	}
	if want := []string{filepath.Join("pictures", "training.png"), filepath.Join("pictures", "accuracy_time.png"), filepath.Join("pictures", "depth_width.png")}; !slices.Equal(r.Pictures, want) {
		t.Errorf("pictures %v, want %v", r.Pictures, want)
	}
	for _, p := range r.Pictures {
		if info, err := os.Stat(p); err != nil || info.Size() == 0 {
			t.Errorf("the picture %s is %v (error %v), want a file that is not empty", p, info, err)
		}
	}
}

// TestCompareLayout checks that the table has a column for each run if there are few runs, and
// a row for each run if there are many.
func TestCompareLayout(t *testing.T) {
	var names []string
	var runs []*analysis.Summary
	for i := range 30 {
		c := config.Default()
		c.Seed = uint64(i)
		names = append(names, fmt.Sprint("run", i))
		runs = append(runs, &analysis.Summary{Config: c})
	}
	for _, n := range []int{2, 30} {
		var b strings.Builder
		printComparison(&b, names[:n], comparison{Runs: runs[:n]})
		line, _, _ := strings.Cut(b.String(), "\n")
		if got, want := strings.Contains(line, "network"), n == 30; got != want {
			t.Errorf("%d runs: the first line, %q, is the heading: %v, want %v", n, line, got, want)
		}
	}
}

// TestCompareSkips checks that arguments that are not runs are skipped with a note.
func TestCompareSkips(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "runs/a"}, smallRun...)...)
	if err := errors.Join(os.Mkdir("runs/empty", 0o755), os.WriteFile("runs/notes.txt", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := bnkit(t, "compare", "runs/a/ckpt.bnz", "runs/empty", "runs/notes.txt")
	if code != 0 || !strings.Contains(out, "resnet-8") || strings.Count(stderr, "\n") != 2 ||
		!strings.Contains(stderr, "skipped: runs/empty is not a run: it has no config.json") || !strings.Contains(stderr, "runs/notes.txt") {
		t.Errorf("exit code %d, output %q, notes %q; want 0, the run, and a note for each of the other two", code, out, stderr)
	}
	if code, _, stderr := bnkit(t, "compare", "runs/empty", "runs/notes.txt"); code != 2 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("without a run: exit code %d, %q; want 2 and one line", code, stderr)
	}
}

// TestCompareWithoutGamma checks that the share of γ near zero is missing for a run without γ.
func TestCompareWithoutGamma(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "a"}, smallRun...)...)
	mustRun(t, append([]string{"train", "--data", data, "--out", "b", "--bn", "none", "--trainable", "all", "--lr", "0.01"}, smallRun...)...)
	var r struct {
		Runs []struct {
			Result map[string]any
		}
	}
	decode(t, mustRun(t, "compare", "a", "b", "--json"), &r)
	for i, want := range []bool{true, false} {
		if _, got := r.Runs[i].Result["gamma_near_zero"]; got != want {
			t.Errorf("run %d has gamma_near_zero: %v, want %v", i, got, want)
		}
	}
	if table := mustRun(t, "compare", "a", "b"); strings.Contains(table, "NaN") {
		t.Errorf("compare prints NaN, want –:\n%s", table)
	}
}

// TestCompareWithoutChannels checks that the share of γ near zero is missing for a file in which all
// channels are pruned.
func TestCompareWithoutChannels(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "a"}, smallRun...)...)
	mustRun(t, "prune", "a", "--threshold", "1e9", "--out", "p.bnz", "--data-dir", data)
	var r comparison
	decode(t, mustRun(t, "compare", "p.bnz", "--json"), &r)
	if len(r.Files) != 1 || r.Files[0].GammaNearZero != nil {
		t.Errorf("the files are %+v, want one without gamma_near_zero", r.Files)
	}
}

func TestRunNames(t *testing.T) {
	for _, c := range []struct{ dirs, want []string }{
		{[]string{"runs/a/", "b"}, []string{"a", "b"}},
		{[]string{"x/a", "y/a/", "b"}, []string{filepath.Join("x", "a"), filepath.Join("y", "a"), "b"}},
	} {
		if got := runNames(c.dirs); !slices.Equal(got, c.want) {
			t.Errorf("the names of %v are %v, want %v", c.dirs, got, c.want)
		}
	}
}

// TestComparePruned checks what compare shows for pruned files and for a run that starts from one.
func TestComparePruned(t *testing.T) {
	data := foreignDir(t)[1]
	mustRun(t, append([]string{"train", "--data", data, "--out", "a"}, smallRun...)...)
	mustRun(t, "prune", "a", "--remove", "0.2", "--recover", "3", "--out", "p.bnz", "--data-dir", data)
	mustRun(t, "train", "--from", "p.bnz", "--data", data, "--epochs", "1", "--batch", "32", "--out", "b")
	args := []string{"compare", "a", "b", "p.bnz", "models/unknown.pt"}
	table := mustRun(t, args...)
	body, notes, _ := strings.Cut(table, "test accuracy: ")
	rows := map[string]string{} // the cells of each row, by its first word
	for line := range strings.Lines(body) {
		if cells := strings.Fields(line); len(cells) > 0 {
			rows[cells[0]] = strings.Join(cells[1:], " ")
		}
	}
	// ResNet-8 has 672 γ and β in 336 channels. A fifth of the channels, 67, has 134 of them.
	for heading, want := range map[string]string{
		"network": "resnet-8 resnet-8 resnet-8 unknown", "trained": "bn bn bn –", "parameters": "672 538 538 –",
		"epochs": "2 1 2+3 –", "lr": "0.1 0.01 0.1 –", "schedule": "step cosine step –",
	} {
		if rows[heading] != want {
			t.Errorf("the row %s is %q, want %q in\n%s", heading, rows[heading], want, table)
		}
	}
	for _, heading := range []string{"test", "gap", "time", "images/s"} {
		if !strings.HasSuffix(rows[heading], " – –") {
			t.Errorf("the row %s is %q, want – for both files", heading, rows[heading])
		}
	}
	if start := rows["start"]; !strings.HasPrefix(start, "not set from ") || !strings.HasSuffix(start, "… not set –") {
		t.Errorf("the row start is %q, want not set for the first run and the file, and the beginning of a SHA-256 for the second run", start)
	}
	if !strings.Contains(notes, "\n–: ") || !strings.Contains(notes, "joined by +") {
		t.Errorf("the notes are the following, want the meanings of – and +:\n%s", notes)
	}
	var r comparison
	decode(t, mustRun(t, append(args, "--json")...), &r)
	if f := r.Files[0]; f.Pruned != 67 || f.Trained == nil || *f.Trained != 538 || !slices.Equal(f.Epochs, []int{2, 3}) || f.Config == nil || f.Config.LR != 0.1 || r.Runs[1].Model.Trained != 538 {
		t.Errorf("compare --json: file %+v and run %+v, want 67 pruned channels, 538 trained parameters in each, 2 and 3 epochs and the settings", f, r.Runs[1].Model)
	}
	if f := r.Files[1]; f.Trained != nil || f.Epochs != nil || f.Config != nil {
		t.Errorf("compare --json: file %+v, want nothing on its training", f)
	}
	if alone := mustRun(t, "compare", "p.bnz"); !strings.Contains(alone, "–: not in the file") {
		t.Errorf("compare of a file alone prints the following, want the meaning of –:\n%s", alone)
	}
}
