package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// writePictures makes an image folder of 3 classes of different colours, with pictures of
// different sizes.
func writePictures(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for split, n := range map[string]int{"train": 12, "val": 5} {
		for class := range 3 {
			dir := filepath.Join(root, split, fmt.Sprint("class", class))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				m := image.NewRGBA(image.Rect(0, 0, 10+i, 24-i))
				for p := range m.Bounds().Dx() * m.Bounds().Dy() {
					c := color.RGBA{uint8(p * 7 % 60), uint8(p * 11 % 60), uint8(p * 13 % 60), 255}
					switch class {
					case 0:
						c.R += 180
					case 1:
						c.G += 180
					}
					m.SetRGBA(p%m.Bounds().Dx(), p/m.Bounds().Dx(), c)
				}
				f, err := os.Create(filepath.Join(dir, fmt.Sprint(i, ".png")))
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(png.Encode(f, m), f.Close()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return root
}

// TestImageFolderCommands trains on an image folder, runs inspect, eval and plot on the checkpoint,
// and resumes the run.
func TestImageFolderCommands(t *testing.T) {
	chdirTemp(t)
	root := writePictures(t)
	train := []string{"train", "--data", root, "--arch", "resnet-8", "--batch", "8", "--epochs", "2", "--lr-drops", "1", "--json", "-q", "--out", "r"}
	if code, _, err := bnkit(t, train...); code != 2 || !strings.Contains(err, "--image-size") {
		t.Errorf("train without --image-size: exit code %d, %q; want 2 and --image-size", code, err)
	}
	out := mustRun(t, append(train, "--image-size", "16", "--validation", "6", "--random-labels", "--normalise", "pixel", "--brightness", "0.1")...)
	var row struct {
		Accuracy *float64 `json:"validation_accuracy"`
		Examples int      `json:"validation_examples"`
		Train    int      `json:"train_examples"`
		Test     int      `json:"test_examples"`
	}
	// 30 of the 36 pictures in train are not held out. They make 3 whole batches of 8.
	line, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(line), &row); err != nil || row.Accuracy == nil || row.Examples != 6 || row.Train != 24 || row.Test != 15 {
		t.Errorf("train prints %s (error %v), want a validation accuracy on 6 examples, 24 training and 15 test examples", line, err)
	}
	text := mustRun(t, "inspect", "r/ckpt.bnz")
	for _, want := range []string{"image-folder", "all training pictures, 6 held out, random labels, resized to 16×16 (random-resized)", "mean picture of 768 values"} {
		if !strings.Contains(text, want) {
			t.Errorf("inspect prints the following, want %q in it:\n%s", want, text)
		}
	}
	if text := mustRun(t, "eval", "r/ckpt.bnz", "--data-dir", root, "-q"); !strings.Contains(text, "15 pictures") {
		t.Errorf("eval prints %q, want 15 pictures", text)
	}
	picture := filepath.Join("layers", "feature_maps_conv_7.png") + "\n"
	if out := mustRun(t, "plot", "r/ckpt.bnz", "--feature-maps", "conv", "--image", "7", "--data-dir", root, "--out", "layers", "-q"); out != picture {
		t.Errorf("plot prints %q, want %q", out, picture)
	}
	if text := mustRun(t, "eval", "r/ckpt.bnz", "-q"); !strings.Contains(text, "15 pictures") {
		t.Errorf("eval without --data-dir prints %q, want 15 pictures", text)
	}
	// Without data.json, the run does not record where its pictures are.
	if err := os.Remove("r/data.json"); err != nil {
		t.Fatal(err)
	}
	if code, _, err := bnkit(t, "train", "--resume", "--out", "r", "--epochs", "3"); code != 2 || !strings.Contains(err, "--data") {
		t.Errorf("resume without the folder: exit code %d, %q; want 2 and --data", code, err)
	}
	mustRun(t, "train", "--resume", "--out", "r", "--epochs", "3", "--data-dir", root, "-q")
	mustRun(t, "train", "--resume", "--out", "r", "--epochs", "4", "-q") // finds the folder that the previous resume recorded
	broken := filepath.Join(root, "train", "class1", "3.png")
	if err := os.WriteFile(broken, []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, err := bnkit(t, append(train, "--image-size", "16", "--force")...); code != 3 || !strings.Contains(err, broken) {
		t.Errorf("train on a broken picture: exit code %d, %q; want 3 and %s", code, err, broken)
	}
}

// TestImageNetNetwork trains ResNet-50 on PNG and JPEG pictures larger than its input,
// and measures the checkpoint. The numbers of parameters come from torchvision's network
// with four classes.
func TestImageNetNetwork(t *testing.T) {
	root := t.TempDir()
	if out, err := exec.Command("go", "run", "../../engine/testdata/pictures.go", root, "2", "1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	chdirTemp(t)
	for set, parameters := range map[string]string{"bn": "53120", "all": "23516228"} {
		if set == "all" && testing.Short() {
			continue
		}
		text := mustRun(t, "train", "--arch", "resnet50", "--data", root, "--image-size", "64", "--batch", "4", "--epochs", "1", "--lr", "0.01", "--trainable", set, "--out", set, "-q")
		if !strings.Contains(text, "on 4 pictures") || !strings.Contains(text, parameters+" parameters trained") {
			t.Errorf("train --trainable %s prints the following, want 4 pictures and %s parameters trained:\n%s", set, parameters, text)
		}
		if text := mustRun(t, "eval", filepath.Join(set, "ckpt.bnz"), "--data-dir", root, "-q"); !strings.Contains(text, "4 pictures") {
			t.Errorf("eval of %s prints %q, want 4 pictures", set, text)
		}
	}
}
