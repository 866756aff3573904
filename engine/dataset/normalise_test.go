package dataset

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"bnkit/engine/rng"
)

func normalise(t *testing.T, d *Data, method Normalisation) *Data {
	t.Helper()
	n, err := d.Normalise(t.Context(), method)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNormalisedBatches compares augmented batches of every normalisation, with and without
// brightness, with a simple implementation: brighten, normalise, mirror, pad by 4, crop.
func TestNormalisedBatches(t *testing.T) {
	const c, h, w = 3, 9, 7
	s := syntheticSplit(60, c, h, w, 10)
	for i := range s.Images {
		s.Images[i] = uint8(min(255, int(s.Images[i])/2+10*(i%(c*h*w))/(c*h))) // gives the mean picture a pattern
	}
	d := newData(&source{name: "x", classes: make([]string, 10)}, s, s)
	for _, method := range []Normalisation{PerChannel, PerPixel, Unnormalised} {
		for _, brightness := range []float64{0, 0.4} {
			t.Run(fmt.Sprintf("%s, brightness %v", method, brightness), func(t *testing.T) {
				n := normalise(t, d, method)
				l, err := NewLoader(n.Train, LoaderConfig{Batch: 60, Seed: 2, Augment: true, Flip: true, Mean: n.Mean, Std: n.Std, Brightness: brightness})
				if err != nil {
					t.Fatal(err)
				}
				got := collect(t, l, 1, 0, func() {})[0].Images
				draws := rng.NewStream(2, "augment/epoch/1")
				next, clipped := 0, 0
				var smallest, largest float64
				for i := range s.Len() {
					word := draws.Block(uint64(i))
					delta := brightness * (2*float64(word[3]>>8)/(1<<24) - 1)
					smallest, largest = min(smallest, delta), max(largest, delta)
					top, left := int(rng.Bounded(word[1], 9))-4, int(rng.Bounded(word[2], 9))-4
					for ch := range c {
						for y := range h {
							for x := range w {
								sy, sx := y+top, x+left
								want := 0.0
								if sy >= 0 && sy < h && sx >= 0 && sx < w {
									if word[0] >= 1<<31 {
										sx = w - 1 - sx
									}
									value := func(j int) float64 { return float64(s.Images[((j*c+ch)*h+sy)*w+sx]) / 255 }
									v := value(i) + delta
									if v < 0 || v > 1 {
										clipped++
									}
									v = math.Max(0, math.Min(1, v))
									switch method {
									case PerChannel:
										want = (v - float64(d.Mean[ch])) / float64(d.Std[ch])
									case PerPixel:
										mean := 0.0
										for j := range s.Len() {
											mean += value(j) / float64(s.Len())
										}
										want = v - mean
									default:
										want = v
									}
								}
								if math.Abs(float64(got[next])-want) > 1e-6 {
									t.Fatalf("picture %d, channel %d, row %d, column %d: %v, want %v", i, ch, y, x, got[next], want)
								}
								next++
							}
						}
					}
				}
				if brightness > 0 && (clipped == 0 || smallest > -0.3 || largest < 0.3 || smallest < -0.4 || largest >= 0.4) {
					t.Errorf("the brightness changes by %v to %v and %d values are clipped, want about -0.4 to 0.4 and at least one value", smallest, largest, clipped)
				}
			})
		}
	}
}

func TestNormalise(t *testing.T) {
	d, err := Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	if normalise(t, d, PerChannel) != d {
		t.Error("Normalise by PerChannel returns a copy of a data set in memory, want the data set itself")
	}
	n := normalise(t, d, PerPixel)
	mean := 0.0
	for _, v := range n.Mean {
		mean += float64(v) / float64(len(n.Mean))
	}
	if len(n.Mean) != 28*28 || math.Abs(mean-float64(d.Mean[0])) > 1e-6 || !slices.Equal(n.Std, []float32{1}) {
		t.Errorf("PerPixel gives %d means with the mean %v, and std %v; want %d with the mean %v, and [1]", len(n.Mean), mean, n.Std, 28*28, d.Mean[0])
	}
	if n.Digest != d.Digest {
		t.Errorf("PerPixel changes the digest to %s, want %s", n.Digest, d.Digest)
	}
	for _, name := range []string{"channel", "pixel", "none"} {
		if method, err := ParseNormalisation(name); err != nil || string(method) != name {
			t.Errorf("ParseNormalisation(%q) returns %q and error %v, want the normalisation and no error", name, method, err)
		}
	}
	for _, name := range []string{"", "batch"} {
		if _, err := ParseNormalisation(name); err == nil {
			t.Errorf("ParseNormalisation(%q) returned no error, want one", name)
		}
	}
}

// TestAugmentationAllocatesNothing checks augmentation with brightness and mean pictures.
func TestAugmentationAllocatesNothing(t *testing.T) {
	s := syntheticSplit(8, 3, 16, 16, 4)
	d := newData(&source{name: "x", classes: make([]string, 4)}, s, s)
	dst := make([]float32, s.imageSize())
	for _, method := range []Normalisation{PerChannel, PerPixel} {
		n := normalise(t, d, method)
		norm := newNormaliser(s, n.Mean, n.Std)
		if a := testing.AllocsPerRun(20, func() { norm.apply(dst, s.Image(3), transform{true, 1, -2, 0.25}) }); a != 0 {
			t.Errorf("%s: %v allocations for each picture, want 0", method, a)
		}
	}
}
