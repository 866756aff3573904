package nn

import (
	"math"
	"reflect"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// TestObserve compares the moments of every ReLU with sums over its feature maps, and the
// moments of every max pool with sums over the maxima of its input. They must not depend on
// the number of threads.
func TestObserve(t *testing.T) {
	for _, name := range []string{"resnet-8", "convnet"} {
		net, err := arch.Build(name, arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 10})
		if err != nil {
			t.Fatal(err)
		}
		params := NewParams[float64](net, nil)
		params.InitialiseBy(DefaultInitialisers, 7)
		const n = 11
		size := net.Input.C * net.Input.H * net.Input.W
		x := make([]float64, 2*n*size)
		for i := range x {
			x[i] = math.Sin(float64(i * i % 1009))
		}
		observe := func(threads int) (*Inference[float64], []Moments) {
			f, err := NewInference(net, kernel.Generic[float64](), params, NewStatistics(net), InferenceOptions{Batch: n, Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(f.Close)
			return f, f.Observe(f.Observe(nil, x, n), x[n*size:], n)
		}
		f, all := observe(3)
		if _, oneThread := observe(1); !reflect.DeepEqual(all, oneThread) {
			t.Errorf("%s: with 1 thread the moments are\n%+v, want\n%+v, as with 3 threads", name, oneThread, all)
		}
		byUnit := map[int]*Moments{}
		for k := range all {
			byUnit[all[k].Unit] = &all[k]
		}
		for i := range net.Units {
			u := &net.Units[i]
			m, area := byUnit[i], u.OutShape.H*u.OutShape.W
			if m == nil {
				if u.ReLU || u.Op != arch.Convolution {
					t.Errorf("%s: %s has no moments, want some", name, u.Name)
				}
				continue
			}
			if m.Pictures != 2*n || m.Positions != int64(2*n*area) {
				t.Errorf("%s: %s counts %d pictures and %d positions, want %d and %d", name, u.Name, m.Pictures, m.Positions, 2*n, 2*n*area)
			}
			for c := range u.OutShape.C {
				var values []float64
				averageSquare := 0.0 // mean of the squared averages of pictures
				zeros := int64(0)
				for p := range 2 * n {
					sum := 0.0
					for _, v := range unitOutput(f, net, x[p*size:][:size], i)[c*area:][:area] {
						values, sum = append(values, v), sum+v
						if v == 0 {
							zeros++
						}
					}
					averageSquare += sum / float64(area) * sum / float64(area) / (2 * n)
				}
				mean, variance := 0.0, 0.0
				for _, v := range values {
					mean += v / float64(len(values))
				}
				for _, v := range values {
					variance += (v - mean) * (v - mean) / float64(len(values))
				}
				for what, pair := range map[string][2]float64{
					"mean": {m.Mean(c), mean}, "variance": {m.Variance(c), variance},
					"variance of averages": {m.AverageVariance(c), averageSquare - mean*mean}, "zeros": {float64(m.Zeros[c]), float64(zeros)},
				} {
					if math.Abs(pair[0]-pair[1]) > 1e-9*max(1, math.Abs(pair[1])) {
						t.Errorf("%s: %s, channel %d: %s %v, want %v", name, u.Name, c, what, pair[0], pair[1])
					}
				}
			}
		}
	}
}

// unitOutput returns a unit's output for a picture: the feature maps of a ReLU, or the maxima
// over 2×2 windows of the feature maps that a max pool reads.
func unitOutput(f *Inference[float64], net *arch.Network, x []float64, i int) []float64 {
	u := &net.Units[i]
	if u.ReLU {
		return f.FeatureMaps(x, i)
	}
	in := f.FeatureMaps(x, u.In)
	var out []float64
	for c := range u.OutShape.C {
		for h := range u.OutShape.H {
			for w := range u.OutShape.W {
				j := (c*u.InShape.H+2*h)*u.InShape.W + 2*w
				out = append(out, max(in[j], in[j+1], in[j+u.InShape.W], in[j+u.InShape.W+1]))
			}
		}
	}
	return out
}
