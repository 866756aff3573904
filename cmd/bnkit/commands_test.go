package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeIDX makes a data set of 8×8 pictures in which bright rows tell the
// class, so that a few steps learn something.
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

// bnkit runs a command line in the current directory.
func bnkit(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

// ok runs a command line that must succeed, and returns what it prints.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	code, out, err := bnkit(t, args...)
	if code != 0 {
		t.Fatalf("bnkit %s: exit code %d: %s", strings.Join(args, " "), code, err)
	}
	return out
}

// inDirectory makes an empty directory current, so that runs/ is the test's
// own.
func inDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	return dir
}

var small = []string{"--arch", "resnet-8", "--epochs", "2", "--lr-drops", "1", "--batch", "32"}

// TestTrainAnalyzePrune types the commands one after the other, without
// naming a file.
func TestTrainAnalyzePrune(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
	out := ok(t, "train", "--data", data, "--arch", "resnet-8", "--epochs", "12", "--lr-drops", "10", "--batch", "16")
	if !strings.Contains(out, "test accuracy") || !strings.Contains(out, "epoch 12/12") {
		t.Errorf("train prints:\n%s", out)
	}
	runs, err := filepath.Glob("runs/*/ckpt.bnz")
	if err != nil || len(runs) != 1 {
		t.Fatalf("checkpoints: %v, %v", runs, err)
	}
	ckpt := runs[0]

	for _, args := range [][]string{
		{"analyze", "--data-dir", data, "--batches", "2"},
		{"prune", "--data-dir", data, "--threshold", "0.2", "--out", "pruned.bnz"},
		{"eval", "--data-dir", data},
		{"inspect"},
	} {
		out := ok(t, args...)
		if first, _, _ := strings.Cut(out, "\n"); first != "checkpoint: "+ckpt {
			t.Errorf("%s begins with %q", args[0], first)
		}
	}
	var before, after struct {
		Accuracy   float64 `json:"test_accuracy"`
		Loss       float64 `json:"test_loss"`
		Examples   int     `json:"examples"`
		Statistics string  `json:"statistics"`
	}
	decode(t, ok(t, "eval", ckpt, "--data-dir", data, "--json"), &before)
	decode(t, ok(t, "eval", "pruned.bnz", "--data-dir", data, "--json"), &after)
	if before.Examples != 40 || before.Statistics != "re-estimated" || before.Accuracy < 0.5 {
		t.Errorf("eval: %+v", before)
	}
	if after.Loss == before.Loss {
		t.Error("pruning at 0.2 changed nothing")
	}
	pictures, err := filepath.Glob(filepath.Join(filepath.Dir(ckpt), "plots", "*.png"))
	if err != nil || len(pictures) < 5 {
		t.Errorf("pictures: %v, %v", pictures, err)
	}
	ok(t, "plot", filepath.Dir(ckpt), "--out", "overlay")
	ok(t, "export", ckpt, "--data-dir", data, "--out", "m.safetensors")
	if code, _, err := bnkit(t, "export", ckpt, "--data-dir", data, "--out", "m.safetensors"); code != 2 || !strings.Contains(err, "--force") {
		t.Errorf("export over a file: %d %s", code, err)
	}
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
}

// TestTrainJSON checks that every line is an object, the last one the run's.
func TestTrainJSON(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
	lines := strings.Split(strings.TrimSpace(ok(t, append([]string{"train", "--json", "--data", data, "--out", "r"}, small...)...)), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 2 epochs and the run:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	var epoch struct {
		Epoch int     `json:"epoch"`
		Loss  float64 `json:"train_loss"`
	}
	decode(t, lines[1], &epoch)
	var last trainResult
	decode(t, lines[2], &last)
	if epoch.Epoch != 2 || epoch.Loss <= 0 || last.Checkpoint != filepath.Join("r", "ckpt.bnz") || last.Config.Arch != "resnet-8" {
		t.Errorf("%+v, %+v", epoch, last)
	}
}

// TestResume trains one run at once and another in two parts: the files agree
// byte for byte.
func TestResume(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
	ok(t, "train", "--data", data, "--arch", "resnet-8", "--batch", "32", "--lr-drops", "3", "--epochs", "4", "--out", "once")
	ok(t, "train", "--data", data, "--arch", "resnet-8", "--batch", "32", "--lr-drops", "3", "--epochs", "2", "--out", "twice", "--threads", "1")
	ok(t, "train", "--data", data, "--resume", "--out", "twice", "--epochs", "4")
	once, err := os.ReadFile("once/ckpt.bnz")
	if err != nil {
		t.Fatal(err)
	}
	twice, err := os.ReadFile("twice/ckpt.bnz")
	if err != nil || !bytes.Equal(once, twice) {
		t.Errorf("another checkpoint after a resume: %v", err)
	}
	if code, _, err := bnkit(t, "train", "--data", data, "--resume", "--out", "twice", "--lr", "0.2"); code != 2 || !strings.Contains(err, "lr") {
		t.Errorf("resume with another rate: %d %s", code, err)
	}
}

// TestExitCodes checks each way to fail: its code, and one line that says
// what to do.
func TestExitCodes(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
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
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"trian", 2, "Did you mean this? train"},
		{"train --epoch 3", 2, "unknown flag"},
		{"train extra", 2, "--help"},
		{"train --arch resnet-21", 2, "20 and 26"},
		{"train --trainable gama", 2, "bn, all"},
		{"train --bn none --data missing", 2, "trains nothing"},
		{"train --arch resnet-18 --data missing", 2, "resnet18, without a hyphen"},
		{"train --no-scale x --data missing", 2, "no BatchNorm is named"},
		{"train --arch vgg-16 --batch 32 --data " + data, 2, "too small"},
		{"train --lr -1", 2, "lr"},
		{"train --data imagenot", 2, "imagenot"},
		{"train --data " + data + " --out taken", 2, "--force"},
		{"train --resume --out nowhere", 2, "nowhere"},
		{"train --resume --force", 2, "one of them"},
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
		{"plot", 2, "--help"},
	} {
		code, _, err := bnkit(t, strings.Fields(c.args)...)
		// What train is about to do may stand before the complaint.
		_, complaint, _ := strings.Cut(err, "bnkit: ")
		if code != c.code || !strings.Contains(complaint, c.says) || strings.Count(complaint, "\n") != 1 {
			t.Errorf("bnkit %s: exit code %d, %q; want %d and one line with %q", c.args, code, err, c.code, c.says)
		}
	}
}

// TestInterrupt stops training before its first step.
func TestInterrupt(t *testing.T) {
	data := writeIDX(t)
	inDirectory(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, err bytes.Buffer
	if code := run(ctx, append([]string{"train", "--data", data, "--out", "r"}, small...), &out, &err); code != 130 {
		t.Errorf("exit code %d: %s", code, err.String())
	}
	if !strings.Contains(err.String(), "--resume --out r") {
		t.Errorf("no word on how to go on: %s", err.String())
	}
	ok(t, "train", "--resume", "--out", "r", "--data", data)
}

// TestHelp checks that every command has a text, an example and its exit.
func TestHelp(t *testing.T) {
	for _, c := range newRootCommand(&globalOptions{}).Commands() {
		if c.Long == "" || !(c.HasExample() || c.HasSubCommands()) {
			t.Errorf("%s has no text or no example", c.Name())
		}
		if out := ok(t, c.Name(), "--help"); !strings.Contains(out, "Usage:") {
			t.Errorf("%s --help prints:\n%s", c.Name(), out)
		}
	}
}
