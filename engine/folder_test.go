package engine

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// writeFolder writes the pictures of a data set as PNG files. It returns the data set with
// the pictures in the order in which dataset.Open reads the folder.
func writeFolder(t *testing.T, root string, d *dataset.Data) *dataset.Data {
	t.Helper()
	write := func(name string, s *dataset.Split) *dataset.Split {
		sorted := &dataset.Split{Channels: s.Channels, Height: s.Height, Width: s.Width}
		for c := range d.Classes {
			dir := filepath.Join(root, name, fmt.Sprint(c))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for i := range s.Len() {
				if s.Label(i) != c {
					continue
				}
				p, plane := s.Image(i), s.Height*s.Width
				m := image.NewNRGBA(image.Rect(0, 0, s.Width, s.Height))
				for j := range plane {
					m.SetNRGBA(j%s.Width, j/s.Width, color.NRGBA{p[j], p[plane+j], p[2*plane+j], 255})
				}
				f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%04d.png", i)))
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(png.Encode(f, m), f.Close()); err != nil {
					t.Fatal(err)
				}
				sorted.Images, sorted.Labels = append(sorted.Images, p...), append(sorted.Labels, uint8(c))
			}
		}
		return sorted
	}
	sorted := *d
	sorted.Train, sorted.Test, sorted.Flip = write("train", d.Train), write("test", d.Test), true
	return &sorted
}

// TestImageFolder checks that training, measuring and resuming on a folder of pictures give the
// same results as on the same pictures in memory.
func TestImageFolder(t *testing.T) {
	root := t.TempDir()
	memory := writeFolder(t, root, synthetic(64, 20))
	folder, err := dataset.Open(root, "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.Validation, cfg.Brightness = 2, nil, 8, 0.1
	cfg.ImageSize, cfg.Crop = 8, string(dataset.CentreCrop)
	dir := t.TempDir()
	r := mustTrain(t, cfg, folder, TrainOptions{Dir: dir, Threads: 2})
	m, err := LoadModel(filepath.Join(dir, rundir.ResumeFile)) // it stores running statistics
	if err != nil {
		t.Fatal(err)
	}

	plain := cfg
	plain.ImageSize, plain.Crop = 0, string(dataset.RandomResized)
	inMemory := mustTrain(t, plain, memory, TrainOptions{Dir: t.TempDir(), Threads: 1})
	for i, a := range r.Epochs {
		b := inMemory.Epochs[i]
		a.Seconds, a.ImagesPerSecond, b.Seconds, b.ImagesPerSecond = 0, 0, 0, 0
		if a != b {
			t.Errorf("epoch %d: %+v with the folder, want %+v, as with the pictures in memory", i+1, a, b)
		}
	}

	found, err := m.OpenData(root)
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Evaluator(found, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if got, err := e.Evaluate(t.Context(), m.Stored); err != nil || got.TestLoss != r.Epochs[1].TestLoss {
		t.Errorf("evaluation %+v, %v; want loss %v, as the run measured", got, err, r.Epochs[1].TestLoss)
	}
	if _, err := e.Reestimate(t.Context()); err != nil {
		t.Errorf("Reestimate returns error %v, want none", err)
	}

	interrupted := t.TempDir()
	interruptAfter(t, cfg, folder, TrainOptions{Dir: interrupted, Threads: 3}, 4)
	mustTrain(t, cfg, folder, TrainOptions{Dir: interrupted, Threads: 1, Resume: true})
	if !slices.Equal(readFile(t, interrupted, rundir.CheckpointFile), readFile(t, dir, rundir.CheckpointFile)) {
		t.Error("the checkpoint of the resumed run differs from that of the uninterrupted one, want the same bytes")
	}

	var bad *config.Error
	cfg.ImageSize, cfg.Crop = 0, string(dataset.RandomResized)
	if _, err := Train(t.Context(), cfg, folder, TrainOptions{Dir: t.TempDir()}); !errors.As(err, &bad) || bad.Key != "image_size" {
		t.Errorf("no image size: got error %v, want a *config.Error that names image_size", err)
	}
	cfg.ImageSize = 8
	broken := filepath.Join(root, "train", "1", "0001.png")
	if err := os.WriteFile(broken, []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	var picture *dataset.PictureError
	if _, err := Train(t.Context(), cfg, folder, TrainOptions{Dir: t.TempDir()}); !errors.As(err, &picture) || picture.Path != broken {
		t.Errorf("a broken picture: got error %v, want a *dataset.PictureError that names the file", err)
	}
	var other *DataError
	if _, err := m.OpenData(root); !errors.As(err, &other) {
		t.Errorf("a folder that has changed: got error %v, want a *DataError", err)
	}
}
