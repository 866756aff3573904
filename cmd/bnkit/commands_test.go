package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bnkit/engine"
)

// writeIDX writes a data set of 8×8 pictures whose bright rows depend on the class, so
// that a few training steps learn something.
func writeIDX(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for prefix, n := range map[string]int{"train": 96, "t10k": 40} {
		images := binary.BigEndian.AppendUint32(nil, 0x803)
		labels := binary.BigEndian.AppendUint32(nil, 0x801)
		labels = binary.BigEndian.AppendUint32(labels, uint32(n))
		for _, d := range []int{n, 8, 8} {
			images = binary.BigEndian.AppendUint32(images, uint32(d))
		}
		for i := range n {
			labels = append(labels, byte(i%4))
			for p := range 64 {
				v := byte((i*31 + p*17) % 60)
				if p/16 == i%4 {
					v += 180
				}
				images = append(images, v)
			}
		}
		for name, b := range map[string][]byte{"-images-idx3-ubyte": images, "-labels-idx1-ubyte": labels} {
			if err := os.WriteFile(filepath.Join(dir, prefix+name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// bnkit runs a command line in the current directory. It returns the exit code and what was
// printed to standard output and standard error.
func bnkit(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

// mustRun runs a command line that must succeed, and returns its output.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, out, err := bnkit(t, args...)
	if code != 0 {
		t.Fatalf("bnkit %s: exit code %d: %s", strings.Join(args, " "), code, err)
	}
	return out
}

// chdirTemp changes to an empty directory, so that the test has its own runs/.
func chdirTemp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	return dir
}

// smallRun holds the flags of a short run of a small network.
var smallRun = []string{"--arch", "resnet-8", "--epochs", "2", "--lr-drops", "1", "--batch", "32"}

// TestTrainAnalyzePrune runs train and then other commands, which find the checkpoint without
// an argument, by its name or by its run directory.
func TestTrainAnalyzePrune(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	out := mustRun(t, "train", "--data", data, "--arch", "resnet-8", "--epochs", "12", "--lr-drops", "10", "--batch", "16")
	if !strings.Contains(out, "test accuracy") || !strings.Contains(out, "\n12/12 ") {
		t.Errorf("train prints the following, want the row of epoch 12/12 and a test accuracy:\n%s", out)
	}
	runs, err := filepath.Glob("runs/*/ckpt.bnz")
	if err != nil || len(runs) != 1 {
		t.Fatalf("train wrote the checkpoints %v (error %v), want one", runs, err)
	}
	ckpt := runs[0]

	for _, args := range [][]string{
		{"analyze", "--data-dir", data, "--batches", "2"},
		{"prune", "--data-dir", data, "--threshold", "0.2", "--out", "pruned.bnz"},
		{"eval", "--data-dir", data},
		{"inspect"},
		{"plot"},
	} {
		out := mustRun(t, args...)
		if line, _, _ := strings.Cut(out, "\n"); line != "checkpoint: "+ckpt {
			t.Errorf("the first line of %s is %q, want %q", args[0], line, "checkpoint: "+ckpt)
		}
	}
	var before, after struct {
		Accuracy   float64 `json:"test_accuracy"`
		Loss       float64 `json:"test_loss"`
		Examples   int     `json:"examples"`
		Statistics string  `json:"statistics"`
	}
	decode(t, mustRun(t, "eval", ckpt, "--data-dir", data, "--json"), &before)
	decode(t, mustRun(t, "eval", "pruned.bnz", "--data-dir", data, "--json"), &after)
	if before.Examples != 40 || before.Statistics != "re-estimated" || before.Accuracy < 0.5 {
		t.Errorf("eval: %+v, want 40 examples, re-estimated statistics and an accuracy of at least 0.5", before)
	}
	if after.Loss == before.Loss {
		t.Errorf("pruning with --threshold 0.2 left the loss at %v, want a change", before.Loss)
	}
	pictures, err := filepath.Glob(filepath.Join(filepath.Dir(ckpt), "plots", "*.png"))
	if err != nil || len(pictures) < 5 {
		t.Errorf("pictures: %v (error %v), want at least 5", pictures, err)
	}
	mustRun(t, "plot", filepath.Dir(ckpt), "--out", "overlay", "--format", "svg")
	if drawings, err := filepath.Glob("overlay/*.svg"); err != nil || len(drawings) < 5 {
		t.Errorf("SVG pictures: %v (error %v), want at least 5", drawings, err)
	}
	// The argument may be the run directory, and --data may be the path of the data.
	for _, args := range [][]string{
		{"eval", "--data", data}, {"analyze", "--data", data, "--batches", "2"}, {"prune", "--data", data, "--dry-run", "--remove", "0.1", "--json"}, {"inspect"},
	} {
		byFile := mustRun(t, append(args, ckpt)...)
		// The speeds that prune prints differ from run to run.
		if byDir := mustRun(t, append(args, filepath.Dir(ckpt))...); byDir != byFile && args[0] != "prune" {
			t.Errorf("%s prints for a run directory:\n%s\nwant the output for its file:\n%s", args[0], byDir, byFile)
		}
	}
	layers := mustRun(t, "plot", ckpt, "pruned.bnz", "--filters", "conv", "--feature-maps", "blocks.0.bn2", "--image", "3", "--data-dir", data, "--out", "layers")
	if want := filepath.Join("layers", "filters_conv.png") + "\n" + filepath.Join("layers", "feature_maps_blocks.0.conv2_3.png") + "\n"; layers != want {
		t.Errorf("plot prints %q, want %q", layers, want)
	}
	for _, flags := range []string{"--filters=conv9", "--feature-maps=conv9", "--feature-maps=conv --image=40", "--format=gif"} {
		args := append([]string{"plot", ckpt, "--data-dir", data}, strings.Fields(flags)...)
		if code, _, err := bnkit(t, args...); code != 2 || strings.Count(err, "\n") != 1 {
			t.Errorf("plot %s: exit code %d, %q; want 2 and one line", flags, code, err)
		}
	}
	mustRun(t, "export", ckpt, "--data-dir", data, "--out", "m.safetensors")
	if code, _, err := bnkit(t, "export", ckpt, "--data-dir", data, "--out", "m.safetensors"); code != 2 || !strings.Contains(err, "--force") {
		t.Errorf("export to a file that exists: exit code %d, %q; want 2 and --force", code, err)
	}
}

// decode decodes JSON into v.
func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
}

// TestTrainJSON checks that train --json prints a line for each epoch, and a last line that
// describes the run.
func TestTrainJSON(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	lines := strings.Split(strings.TrimSpace(mustRun(t, append([]string{"train", "--json", "--data", data, "--out", "r"}, smallRun...)...)), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want one for each of 2 epochs and one for the run:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	var epoch struct {
		Epoch int     `json:"epoch"`
		Loss  float64 `json:"train_loss"`
	}
	decode(t, lines[1], &epoch)
	var last trainResult
	decode(t, lines[2], &last)
	if epoch.Epoch != 2 || epoch.Loss <= 0 || last.Checkpoint != filepath.Join("r", "ckpt.bnz") || last.Config.Arch != "resnet-8" {
		t.Errorf("the last two lines are %+v and %+v, want epoch 2 with a loss, and the checkpoint and settings of run r", epoch, last)
	}
}

// TestResume trains one run without a break and another in two parts, and checks that
// their checkpoints are equal.
func TestResume(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, "train", "--data", data, "--arch", "resnet-8", "--batch", "32", "--lr-drops", "3", "--epochs", "4", "--out", "once")
	mustRun(t, "train", "--data", data, "--arch", "resnet-8", "--batch", "32", "--lr-drops", "3", "--epochs", "2", "--out", "twice", "--threads", "1")
	mustRun(t, "train", "--data", data, "--resume", "--out", "twice/ckpt.bnz", "--epochs", "4") // the path of its checkpoint also names the run
	once, err := os.ReadFile("once/ckpt.bnz")
	if err != nil {
		t.Fatal(err)
	}
	twice, err := os.ReadFile("twice/ckpt.bnz")
	if err != nil || !bytes.Equal(once, twice) {
		t.Errorf("the checkpoint of the resumed run (%d bytes, error %v) differs from that of the run without a break (%d bytes), want equal ones", len(twice), err, len(once))
	}
	if code, _, err := bnkit(t, "train", "--data", data, "--resume", "--out", "twice", "--lr", "0.2"); code != 2 || !strings.Contains(err, "lr") {
		t.Errorf("resume with a different learning rate: exit code %d, %q; want 2 and lr", code, err)
	}
}

// TestResumeFlags checks that a resumed run refuses flags that change its settings, except
// --epochs, and keeps the settings that the command line does not give.
func TestResumeFlags(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, "train", "--data", data, "--arch", "resnet-8", "--batch", "32", "--lr-drops", "1,3", "--epochs", "1", "--out", "r", "--no-augment", "--optimizer", "adam", "--lr", "0.01")
	for _, c := range []struct{ flags, refused string }{
		{"--no-augment=false", "augment"}, {"--lr-drops 3", "lr_drops"}, {"--optimizer adamw", "optimizer"}, {"--adam-eps 1e-4", "adam_eps"},
		{"--no-augment --lr-drops 1,3 --optimizer adam --epochs 2", ""}, {"--epochs 3", ""},
	} {
		code, _, err := bnkit(t, append([]string{"train", "--data", data, "--resume", "--out", "r"}, strings.Fields(c.flags)...)...)
		if (code == 0) != (c.refused == "") || !strings.Contains(err, c.refused) {
			t.Errorf("resume with %s: exit code %d, %q; want a refusal that names %q, or success if that is empty", c.flags, code, err, c.refused)
		}
	}
	cfg, err := engine.ReadConfig("r/config.json")
	if err != nil || cfg.Augment || cfg.Optimizer != "adam" || len(cfg.LRDrops) != 2 || cfg.Epochs != 3 {
		t.Errorf("the settings after several resumes are %+v (error %v), want the first ones with 3 epochs", cfg, err)
	}
}

// TestExitCodes checks the exit codes of wrong command lines, bad files and other failures, and that
// the message is one line with the expected text.
func TestExitCodes(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	if err := os.WriteFile("broken.bnz", []byte("no checkpoint"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("taken", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("taken/ckpt.bnz", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	torn := writeIDX(t)
	if err := os.Truncate(filepath.Join(torn, "train-images-idx3-ubyte"), 100); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "train", "--data", data, "--out", "edited", "--arch", "resnet-8", "--epochs", "1", "--lr-drops", "1", "--batch", "32")
	if err := os.MkdirAll("edited/plots", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("edited/plots/analysis.json", []byte(`{"layers":`), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][2]string{
		"torn":  {"config.json", "{\"arch\":"},
		"wrong": {"config.json", `{"arch":"resnet-8","epochs":-1}`},
		"mixed": {"metrics.jsonl", "{\"epoch\":1}\n{\"epoch\":1}\n"},
	} {
		if err := os.CopyFS(name, os.DirFS("edited")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(name, files[0]), []byte(files[1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"compare edited torn", 3, filepath.Join("torn", "config.json")},
		{"compare wrong", 3, "epochs: -1"},
		{"train --resume --out wrong --data " + data, 3, "epochs: -1"},
		{"compare mixed", 3, "line 2 has epoch 1"},
		{"plot mixed", 3, "line 2 has epoch 1"},
		{"trian", 2, "did you mean train?"},
		{"train --epoch 3", 2, "unknown flag"},
		{"train extra", 2, "unexpected argument \"extra\" (see bnkit train --help)"},
		{"train --arch resnet-21", 2, "20 and 26"},
		{"train --trainable gama", 2, "bn, all"},
		{"train --bn none --data missing", 2, "trains nothing"},
		{"train --arch resnet-18 --data missing", 2, "resnet18, without a hyphen"},
		{"train --no-scale x --data missing", 2, "no BatchNorm matches"},
		{"train --arch vgg-16 --batch 32 --data " + data, 2, "too small"},
		{"train --width 0 --data missing", 2, "width: 0; use a number above 0"},
		{"train --width nan --data missing", 2, "--width: NaN; use a number above 0"},
		{"train --arch resnet50 --width 4 --data missing", 2, "up to 2"},
		{"train --width half", 2, "half"},
		{"train --lr -1", 2, "lr"},
		{"train --optimizer rmsprop", 2, "sgd, adam, adamw"},
		{"train --optimizer rmsprop --momentum 0.5", 2, "--optimizer: \"rmsprop\" is unknown"},
		{"train --optimizer adamw --momentum 0.5", 2, "--momentum does nothing"},
		{"train --schedule cosine --lr-drops 5", 2, "--lr-drops does nothing"},
		{"train --schedule cosine --lr-ramp 5", 2, "ramp-exponential"},
		{"train --no-augment --brightness 0.1", 2, "--brightness does nothing with --no-augment"},
		{"train --schedule cosine-restarts", 2, "--lr-period: schedule cosine-restarts needs"},
		{"train --seed -1", 2, "\"-1\" is not a whole number of at least 0"},
		{"train --bn some", 2, "--bn: \"some\" is unknown; use none, or leave it out"},
		{"train --crop centre", 2, "--crop does nothing without --image-size"},
		{"train --lr-drops 5,x", 2, "--lr-drops\" flag: \"5,x\" is not a list"},
		{"train --lr-drops 5,4 --data missing", 2, "--lr-drops: epoch 4 follows 5"},
		{"train --optimizer adam --nesterov", 2, "nesterov"},
		{"train --data imagenot", 2, "imagenot"},
		{"train --data " + data + " --out taken", 2, "--force"},
		{"train --resume --out nowhere", 2, "nowhere"},
		{"train --resume --force", 2, "one of them"},
		{"train --force", 2, "--force has an effect only with --out"},
		{"train --force --out= --data missing", 2, "--force has an effect only with --out"},
		{"train --data " + torn, 3, "train-images-idx3-ubyte"},
		{"eval", 2, "bnkit train"},
		{"eval missing.bnz", 1, "missing.bnz"},
		{"eval broken.bnz", 3, "broken.bnz"},
		{"inspect broken.bnz", 3, "broken.bnz"},
		{"analyze broken.bnz", 3, "broken.bnz"},
		{"prune broken.bnz --threshold 0.01", 3, "broken.bnz"},
		{"prune broken.bnz --threshold nought", 2, "nought"},
		{"export broken.bnz --out x --format onnx", 2, "safetensors"},
		{"bench --arch vgg", 2, "vgg"},
		{"inspect --arch resnet-21", 2, "20 and 26"},
		{"inspect --arch resnet-20 broken.bnz", 2, "not both"},
		{"inspect --shortcut A", 2, "--arch"},
		{"inspect --bn none", 2, "--arch"},
		{"inspect --width 2", 2, "--width needs --arch"},
		{"inspect --arch resnet-20 --width -2", 2, "--width: -2; use a number above 0"},
		{"train --arch vgg-16 --bn none --trainable gamma", 2, "trains nothing"},
		{"train --trainable random-0", 2, "random-2"},
		{"train --init xavier", 2, "he-normal"},
		{"train --gamma-init constant:x", 2, "constant:0.5"},
		{"train --beta-init 2", 2, "constant:X"},
		{"plot", 2, "bnkit train"},
		{"plot taken/nothing", 1, "taken/nothing"},
		{"eval .", 2, "has no ckpt.bnz"},
		{"prune --keep-beta --zero-beta", 2, "--keep-beta and --zero-beta cannot be used together"},
		{"prune --plan p --threshold 1", 2, "--plan and --threshold cannot be used together"},
		{"train --threads -1", 2, "from 1 to 4096"},
		{"eval --threads 5000", 2, "from 1 to 4096"},
		{"bench --threads x", 2, "from 1 to 4096"},
		{"export edited --out m.pt", 2, "ends in .safetensors"},
		{"train --data . --data-dir .", 2, "--data-dir: --data . already gives"},
		{"eval edited --data cifar10", 2, "was trained on"},
		{"eval edited --data " + data + " --data-dir .", 2, "use one of them"},
		{"train --epoch 3", 2, "did you mean --epochs?"},
		{"analyze --treshold 3", 2, "did you mean --thresholds?"},
		{"train --arch resnet14", 2, "--arch: \"resnet14\" is unknown; did you mean resnet-14?"},
		{"inspect --arch vgg16", 2, "did you mean vgg-16?"},
		{"bench --arch wrn14-4", 2, "did you mean wrn-14-4?"},
		{"train --trainable gama", 2, "did you mean gamma?"},
		{"train --optimizer adamm", 2, "did you mean adam?"},
		{"train --preset frankle-resnet-14", 2, "did you mean frankle-resnet-14-bn?"},
		{"train --data fashion-mnst", 2, "did you mean fashion-mnist?"},
		{"data fech", 2, "unknown command \"fech\"; did you mean fetch? (see bnkit data --help)"},
		{"plot edited", 3, "analyze the checkpoint again"},
		{"compare", 2, "--help"},
		{"compare missing", 1, "missing"},
		{"compare edited missing", 1, "missing"},
		{"compare broken.bnz", 3, "broken.bnz"},
		{"compare taken", 2, "config.json"},
	} {
		code, _, err := bnkit(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(err, c.want) || strings.Count(err, "\n") != 1 {
			t.Errorf("bnkit %s: exit code %d, %q; want %d and one line with %q", c.args, code, err, c.code, c.want)
		}
	}
}

// TestInspectNetwork compares with the counts that Frankle et al. give for ResNet-110,
// with either kind of shortcut.
func TestInspectNetwork(t *testing.T) {
	chdirTemp(t)
	for _, c := range []struct {
		shortcut            string
		all, bn, bnShortcut int
	}{{"B", 1_730_714, 8_288, 8_288 + 2_560}, {"A", 1_727_962, 8_096, 8_096}} {
		var r networkSets
		decode(t, mustRun(t, "inspect", "--arch", "resnet-110", "--shortcut", c.shortcut, "--json"), &r)
		got := map[string]int{}
		for _, s := range r.Sets {
			got[s.Name] = s.Parameters
			if s.Trains == "" {
				t.Errorf("the set %s has no text on what it trains, want one", s.Name)
			}
		}
		want := map[string]int{"bn": c.bn, "all": c.all, "output": 650, "bn+output": c.bn + 650, "bn+shortcut": c.bnShortcut,
			"gamma": c.bn / 2, "beta": c.bn / 2, "none": 0, "random-2": c.bn, "bn+random-2": 2 * c.bn}
		if !maps.Equal(got, want) || r.Parameters != c.all || r.Shortcut != c.shortcut {
			t.Errorf("inspect --arch resnet-110 --shortcut %s prints %+v, want %d parameters and the sets %v", c.shortcut, r, c.all, want)
		}
	}
	var fixed networkSets
	decode(t, mustRun(t, "inspect", "--arch", "resnet-110", "--no-scale", "*", "--json"), &fixed)
	if fixed.NoScale != "*" || fixed.Sets[0].Name != "bn" || fixed.Sets[0].Parameters != 8_288/2 {
		t.Errorf("a network with γ fixed at 1: %+v, want %d parameters in the set bn", fixed, 8_288/2)
	}
	// Frankle et al. give these counts for WRN-14-4 and ResNet-14.
	var wide, plain networkSets
	decode(t, mustRun(t, "inspect", "--arch", "resnet-14", "--width", "4", "--json"), &wide)
	decode(t, mustRun(t, "inspect", "--arch", "resnet-14", "--width", "1", "--json"), &plain)
	if wide.Width != 4 || wide.Parameters != 2_777_674 || plain.Width != 0 || plain.Parameters != 175_258 {
		t.Errorf("got %+v with --width 4 and %+v with --width 1, want 2777674 parameters with the width 4, and 175258 without a width", wide, plain)
	}
	if out := mustRun(t, "inspect", "--arch", "resnet-110"); !strings.Contains(out, "1730714 parameters") || !strings.Contains(out, "  10848 ") {
		t.Errorf("inspect --arch resnet-110 prints the following, want 1730714 parameters, and 10848 in bn+shortcut:\n%s", out)
	}
}

// TestInterrupt checks that a run that is interrupted before its first step exits with 130,
// prints how to resume it, and can be resumed.
func TestInterrupt(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, err bytes.Buffer
	if code := run(ctx, append([]string{"train", "--data", data, "--out", "r"}, smallRun...), &out, &err); code != 130 {
		t.Errorf("exit code %d, want 130: %s", code, err.String())
	}
	if !strings.Contains(err.String(), "--resume --out r") {
		t.Errorf("the message is %q, want \"--resume --out r\" in it", err.String())
	}
	mustRun(t, "train", "--resume", "--out", "r", "--data", data)
}

// TestHelp checks that every command has a help text and an example.
func TestHelp(t *testing.T) {
	for _, c := range allCommands() {
		if c.Long == "" || !c.HasExample() {
			t.Errorf("%s has the help text %q and the example %q, want both", c.CommandPath(), c.Long, c.Example)
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if out := mustRun(t, args...); !strings.Contains(out, "Usage:") {
			t.Errorf("%s --help prints the following, want the usage:\n%s", c.CommandPath(), out)
		}
	}
}

// failingWriter accepts writes until they exceed room. Further writes fail, or panic if panics is set.
type failingWriter struct {
	room   int // remaining bytes
	panics bool
}

func (f *failingWriter) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room >= 0 {
		return len(b), nil
	}
	if f.panics {
		panic("the writer's mistake")
	}
	return 0, syscall.ENOSPC
}

// TestOutputCannotBeWritten checks that commands fail with a reason in one line if they cannot
// write all of their output.
func TestOutputCannotBeWritten(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	for _, args := range []string{
		"train --arch resnet-8 --epochs 1 --lr-drops 1 --batch 32 --quiet --data " + data, "analyze r/ckpt.bnz --batches 1 --thresholds 0.1 --data-dir " + data,
		"prune r/ckpt.bnz --dry-run --data-dir " + data, "eval r/ckpt.bnz --data-dir " + data, "inspect r/ckpt.bnz", "inspect --arch resnet-8",
		"plot r", "compare r", "export r/ckpt.bnz --force --out m.safetensors --data-dir " + data, "bench --arch resnet-8 --steps 1 --batch 2",
		"data list", "version", "train --preset list", "", "help prune", "prune --help", "completion bash",
	} {
		for _, form := range []string{"", " --json"} {
			line := args + form
			if form != "" && (args == "" || strings.Contains(args, "help") || strings.Contains(args, "completion")) {
				continue
			}
			for _, room := range []int{0, 3} {
				var err bytes.Buffer
				code := run(t.Context(), strings.Fields(line), &failingWriter{room: room}, &err)
				_, complaint, _ := strings.Cut(err.String(), "bnkit: ")
				if code != 1 || !strings.Contains(complaint, "no space left") || strings.Count(complaint, "\n") != 1 {
					t.Errorf("bnkit %s, room for %d bytes: exit code %d, %q; want 1 and one line with the reason", line, room, code, err.String())
				}
			}
		}
	}
}

// TestPanicExitCode checks that a panic is reported with its stack, and exits with 1.
func TestPanicExitCode(t *testing.T) {
	var err bytes.Buffer
	code := run(t.Context(), []string{"version"}, &failingWriter{panics: true}, &err)
	for _, want := range []string{"crashed: the writer's mistake", "report it", "failingWriter"} {
		if code != 1 || !strings.Contains(err.String(), want) {
			t.Errorf("exit code %d, want 1 and %q in:\n%s", code, want, err.String())
		}
	}
}
