package engine

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rng"
)

// synthetic returns a data set of 8×8 colour pictures whose classes a convolution can
// distinguish: noise with a bright row or column whose position depends on the class.
func synthetic(train, test int) *dataset.Data { return syntheticOf(8, train, test) }

// syntheticOf is like synthetic, but with pictures of the given size.
func syntheticOf(side, train, test int) *dataset.Data {
	d := &dataset.Data{
		Name: "sample", Classes: []string{"top", "bottom", "left", "right"}, Digest: "synthetic",
		Train: syntheticSplit("train", train, side), Test: syntheticSplit("test", test, side),
	}
	var sum, squares float64
	for _, v := range d.Train.Images {
		p := float64(v) / 255
		sum, squares = sum+p, squares+p*p
	}
	n := float64(len(d.Train.Images))
	mean := sum / n
	for range 3 {
		d.Mean = append(d.Mean, float32(mean))
		d.Std = append(d.Std, float32(math.Sqrt(squares/n-mean*mean)))
	}
	return d
}

func syntheticSplit(name string, n, side int) *dataset.Split {
	c, h, w := 3, side, side
	s := &dataset.Split{Channels: c, Height: h, Width: w, Labels: make([]uint8, n), Images: make([]uint8, n*c*h*w)}
	noise := make([]float32, len(s.Images))
	stream := rng.NewStream(7, name)
	stream.Uniforms(noise, 0)
	for i := range s.Images {
		image, y, x := i/(c*h*w), i/w%h, i%w
		label := image % 4
		s.Labels[image] = uint8(label)
		v := 120 * noise[i]
		if label == 0 && y == 1 || label == 1 && y == h-2 || label == 2 && x == 1 || label == 3 && x == w-2 {
			v += 120
		}
		s.Images[i] = uint8(v)
	}
	return s
}

// tinyConfig returns settings that train the smallest network for a few steps an epoch.
func tinyConfig() config.Config {
	c := config.Default()
	c.Arch, c.Epochs, c.Batch, c.LRDrops = "resnet-8", 4, 16, []int{2}
	return c
}

// mustTrain trains a run and fails the test if that is not possible.
func mustTrain(t *testing.T, cfg config.Config, data *dataset.Data, o TrainOptions) *TrainResult {
	t.Helper()
	r, err := Train(context.Background(), cfg, data, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func readFile(t *testing.T, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// networkFor returns the network of cfg for the pictures and classes of data.
func networkFor(cfg *config.Config, data *dataset.Data) (*arch.Network, error) {
	s := data.Train
	return cfg.Network(arch.Shape{C: s.Channels, H: s.Height, W: s.Width}, len(data.Classes))
}
