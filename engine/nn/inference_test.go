package nn

import (
	"math"
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// referenceInference returns each unit's output and the logits in inference mode, computed by
// plain loops over N×C×H×W.
func referenceInference(e *example[float64], stats *Statistics, eps float64) (outputs [][]float64, logits []float64) {
	net, n := e.net, len(e.labels)
	for i := range net.Units {
		u := &net.Units[i]
		in, inShape := e.pictures, net.Input
		if u.In != arch.Picture {
			in, inShape = outputs[u.In], net.Units[u.In].OutShape
		}
		outShape := u.OutShape
		weight, bias := e.params.Of(i, arch.ConvWeight), e.params.Of(i, arch.ConvBias)
		gamma, beta := e.params.Of(i, arch.Gamma), e.params.Of(i, arch.Beta)
		out := make([]float64, n*outShape.C*outShape.H*outShape.W)
		for j := range out {
			w, h, c, image := j%outShape.W, j/outShape.W%outShape.H, j/outShape.W/outShape.H%outShape.C, j/outShape.W/outShape.H/outShape.C
			sum, greatest := 0.0, math.Inf(-1)
			for ci := range inShape.C {
				for r := range u.Kernel {
					for s := range u.Kernel {
						y, x := h*u.Stride+r-u.Pad, w*u.Stride+s-u.Pad
						if y < 0 || y >= inShape.H || x < 0 || x >= inShape.W {
							continue
						}
						v := in[((image*inShape.C+ci)*inShape.H+y)*inShape.W+x]
						switch {
						case u.Op == arch.Convolution:
							sum += v * weight[((c*inShape.C+ci)*u.Kernel+r)*u.Kernel+s]
						case ci == c:
							greatest = math.Max(greatest, v)
							sum += v / float64(u.Kernel*u.Kernel)
						}
					}
				}
			}
			z := sum
			if u.Op == arch.MaxPool {
				z = greatest
			}
			if bias != nil {
				z += bias[c]
			}
			if u.BN != "" {
				z = (z - stats.Mean[i][c]) / math.Sqrt(stats.Var[i][c]+eps)
			}
			if gamma != nil {
				z *= gamma[c]
			}
			if beta != nil {
				z += beta[c]
			}
			switch u.Add.Kind {
			case arch.Identity, arch.Projection:
				z += outputs[u.Add.From][j]
			case arch.Mapped:
				a := net.Units[u.Add.From].OutShape
				if source, stride := u.Add.Map.Source[c], u.Add.Map.Stride; source != arch.NoSource {
					z += outputs[u.Add.From][((image*a.C+source)*a.H+stride*h)*a.W+stride*w]
				}
			}
			if u.ReLU {
				z = math.Max(z, 0)
			}
			out[j] = z
		}
		outputs = append(outputs, out)
	}
	last := net.Units[len(net.Units)-1].OutShape
	weight, bias := e.params.Of(len(net.Units), arch.OutputWeight), e.params.Of(len(net.Units), arch.OutputBias)
	for image := range n {
		for k := range net.Classes {
			z := bias[k]
			for c := range last.C {
				mean := 0.0
				for _, v := range outputs[len(net.Units)-1][(image*last.C+c)*last.H*last.W:][:last.H*last.W] {
					mean += v / float64(last.H*last.W)
				}
				z += weight[k*last.C+c] * mean
			}
			logits = append(logits, z)
		}
	}
	return outputs, logits
}

// TestInference compares logits, feature maps and counts of zeros with plain loops.
func TestInference(t *testing.T) {
	for _, o := range []arch.Options{
		{Input: arch.Shape{C: 3, H: 12, W: 12}, Classes: 10, Shortcut: arch.OptionB},
		{Input: arch.Shape{C: 1, H: 9, W: 13}, Classes: 4, Shortcut: arch.OptionA},
	} {
		e := newExample[float64](t, "resnet-14", o, 7)
		train := e.training(t, kernel.Generic[float64](), TrainingOptions{Threads: 1})
		train.Forward(e.pictures, e.labels)
		stats := train.BatchStatistics()
		outputs, want := referenceInference(e, stats, DefaultEps)

		for _, count := range []bool{false, true} {
			f, err := NewInference(e.net, kernel.Generic[float64](), e.params, stats, InferenceOptions{Batch: 5, Threads: 2, CountZeros: count})
			if err != nil {
				t.Fatal(err)
			}
			size := o.Input.C * o.Input.H * o.Input.W
			logits := slices.Clone(f.Run(e.pictures, 5))
			logits = append(logits, f.Run(e.pictures[5*size:], 2)...)
			if d := normalisedError(logits, want); !(d < 1e-12) {
				t.Errorf("logits: normalised error %.2g, want less than 1e-12", d)
			}
			zeros := f.Zeros()
			for i := range e.net.Units {
				const picture = 3
				u := &e.net.Units[i]
				maps := f.FeatureMaps(e.pictures[picture*size:][:size], i)
				if !u.ReLU {
					if maps != nil {
						t.Errorf("%s has no ReLU: got feature maps %v, want nil", u.Name, maps)
					}
					continue
				}
				if d := normalisedError(maps, outputs[i][picture*len(maps):][:len(maps)]); !(d < 1e-12) {
					t.Errorf("%s: feature maps: normalised error %.2g, want less than 1e-12", u.Name, d)
				}
			}
			if !count {
				if zeros != nil {
					t.Errorf("Zeros without CountZeros: got %v, want nil", zeros)
				}
				f.Close()
				continue
			}
			relus := 0
			for i := range e.net.Units {
				u := &e.net.Units[i]
				if !u.ReLU {
					continue
				}
				z := zeros[relus]
				relus++
				area := u.OutShape.H * u.OutShape.W
				if z.Unit != i || z.Positions != int64(7*area) || len(z.PerChannel) != u.OutShape.C {
					t.Fatalf("%s: Zeros has a row for unit %d with %d positions in %d channels, want unit %d with %d in %d", u.Name, z.Unit, z.Positions, len(z.PerChannel), i, 7*area, u.OutShape.C)
				}
				counts := make([]int64, u.OutShape.C)
				for j, v := range outputs[i] {
					if v == 0 {
						counts[j/area%u.OutShape.C]++
					}
				}
				if !slices.Equal(counts, z.PerChannel) {
					t.Errorf("%s: %v zeros, want %v", u.Name, z.PerChannel, counts)
				}
			}
			if relus != len(zeros) {
				t.Errorf("%d rows of zeros, want %d, one for each ReLU", len(zeros), relus)
			}
			f.ResetZeros()
			if z := f.Zeros()[0]; z.Positions != 0 || slices.Max(z.PerChannel) != 0 {
				t.Errorf("after ResetZeros: got %+v, want zeros", z)
			}
			f.Close()
		}
	}
}

// TestInferenceMatchesTraining checks that Inference, with a batch's mean and biased
// variance as statistics, computes the same logits for that batch as Training, and that a
// picture's logits do not depend on the rest of the batch.
func TestInferenceMatchesTraining(t *testing.T) {
	e := newExample[float32](t, "resnet-20", arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10}, 10)
	train := e.training(t, kernel.Best(), TrainingOptions{Threads: 2})
	want := train.Forward(e.pictures, e.labels)
	stats := NewStatistics(e.net)
	for i := range e.net.Units {
		copy(stats.Mean[i], train.BatchStatistics().Mean[i])
		shape := e.net.Units[i].OutShape
		count := float64(10 * shape.H * shape.W)
		for c, v := range train.BatchStatistics().Var[i] {
			stats.Var[i][c] = v * (count - 1) / count
		}
	}
	for _, threads := range []int{1, 3} {
		f, err := NewInference(e.net, kernel.Best(), e.params, stats, InferenceOptions{Batch: 10, Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		logits := f.Run(e.pictures, 10)
		if d := normalisedError(logits, train.Logits()); !(d < 1e-4) {
			t.Errorf("%d threads: normalised error of the logits %.2g, want less than 1e-4", threads, d)
		}
		if got := CrossEntropy(logits, e.labels, 10); math.Abs(got.Sum-want.Sum) > 1e-3*want.Sum {
			t.Errorf("%d threads: loss %v, want %v", threads, got.Sum, want.Sum)
		}
		inBatch := slices.Clone(logits[:10])
		if alone := f.Run(e.pictures[:3*32*32], 1); !slices.Equal(alone, inBatch) {
			t.Errorf("%d threads: the logits of the first picture alone are %v, want %v, as in the batch", threads, alone, inBatch)
		}
		f.Close()
	}
}
