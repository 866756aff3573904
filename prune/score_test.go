package prune

import (
	"context"
	"math"
	"slices"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// randomModel returns a model of the network with random weights, with γ between 0.5 and 1.5
// and β between -0.5 and 0.5.
func randomModel(net *arch.Network, seed uint64) *engine.Model {
	m := &engine.Model{Network: net, Params: nn.NewParams[float32](net, nil)}
	m.Params.InitialiseBy(nn.Initialisers{Weights: "he-normal", Gamma: "uniform", Beta: "zero"}, seed)
	for i := range net.Units {
		for c := range m.Params.Of(i, arch.Gamma) {
			m.Params.Of(i, arch.Gamma)[c] += 0.5
		}
		for c := range m.Params.Of(i, arch.Beta) {
			m.Params.Of(i, arch.Beta)[c] = float32((c*7+i*3)%11)/10 - 0.5
		}
	}
	return m
}

// pictures returns random pictures of the network's input shape, labelled with its classes in
// turn.
func pictures(net *arch.Network, train, test int) *dataset.Data {
	state := uint32(1)
	split := func(n int) *dataset.Split {
		s := &dataset.Split{Channels: net.Input.C, Height: net.Input.H, Width: net.Input.W}
		for i := range n {
			s.Labels = append(s.Labels, uint8(i%net.Classes))
			for range net.Input.C * net.Input.H * net.Input.W {
				state = state*1664525 + 1013904223
				s.Images = append(s.Images, uint8(state>>24))
			}
		}
		return s
	}
	d := &dataset.Data{Name: "sample", Digest: "random", Train: split(train), Test: split(test)}
	for range net.Classes {
		d.Classes = append(d.Classes, "class")
	}
	for range net.Input.C {
		d.Mean, d.Std = append(d.Mean, 0.5), append(d.Std, 0.29)
	}
	return d
}

// measuredScorer returns a scorer of a small trained model with the measurements for Taylor,
// Change and Active, over one batch.
func measuredScorer(t *testing.T) (*scorer, *dataset.Data, *engine.Evaluator) {
	t.Helper()
	data := tinyData()
	m := trainedModel(t, data, false)
	e, err := m.Evaluator(data, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	s := &scorer{m: m}
	for _, p := range []Policy{{Importance: Taylor, Batches: 1}, {Importance: Change, Batches: 1}} {
		if err := s.measure(context.Background(), e, data, p, true, 2); err != nil {
			t.Fatal(err)
		}
	}
	return s, data, e
}

// near reports whether a and b agree to within a relative tolerance plus 1e-9.
func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(math.Abs(a), math.Abs(b))+1e-9
}

// float64Training returns the parameters of the scorer's model in float64, a Training of its
// network with them, and the pictures and labels of the first batch that importance is measured
// on.
func float64Training(t *testing.T, s *scorer, data *dataset.Data, seed uint64) (params *nn.Params[float64], training *nn.Training[float64], images []float64, labels []int32) {
	t.Helper()
	params = nn.NewParams[float64](s.m.Network, nil)
	for i, values := range s.m.Params.Values {
		for j, v := range values {
			params.Values[i][j] = float64(v)
		}
	}
	training, err := nn.NewTraining(s.m.Network, kernel.Generic[float64](), params, nn.TrainingOptions{Batch: 64, Threads: 1, Gradients: nn.NoGradients})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(training.Close)
	err = eachBatch(context.Background(), data, 1, seed, func(b *dataset.Batch) {
		labels = slices.Clone(b.Labels)
		for _, v := range b.Images {
			images = append(images, float64(v))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return params, training, images, labels
}

// TestTaylor compares the importance by Taylor, for γ alone and for γ and β, with differences
// of the batch's loss in float64.
func TestTaylor(t *testing.T) {
	s, data, e := measuredScorer(t)
	net := s.m.Network
	params, training, images, labels := float64Training(t, s, data, e.Estimation().Seed)
	for i := range net.Units {
		gamma, beta := params.Of(i, arch.Gamma), params.Of(i, arch.Beta)
		for c := i; c < len(gamma); c += 13 {
			g, b := gamma[c], beta[c]
			for k := range s.taylor {
				// taylor[0] is the effect of changing γ alone, and taylor[1] that of changing γ
				// and β by the same factor.
				loss := func(h float64) float64 {
					gamma[c], beta[c] = g*(1+h), b*(1+float64(k)*h)
					defer func() { gamma[c], beta[c] = g, b }()
					return training.Forward(images, labels).Mean()
				}
				const h = 1e-4
				want := math.Abs(loss(h)-loss(-h)) / (2 * h)
				if got := s.taylor[k][i][c]; math.Abs(got-want) > 5e-2*want+1e-5 {
					t.Errorf("unit %d, channel %d, β changes too: %v: the importance is %v, want %v, the change of the loss", i, c, k == 1, got, want)
				}
			}
		}
	}
}

// TestReadSquares compares the sums of the squared weights that read three channels of units of
// resnet-8 with sums over the weights of each reader.
func TestReadSquares(t *testing.T) {
	s, _, _ := measuredScorer(t)
	net, params := s.m.Network, s.m.Params
	index := map[string]int{}
	for i := range net.Units {
		index[net.Units[i].Name] = i
	}
	column := func(reader string, c int) (sum float64) {
		u := &net.Units[index[reader]]
		w := params.Of(index[reader], arch.ConvWeight)
		area := u.Kernel * u.Kernel
		for out := range u.OutShape.C {
			for _, v := range w[(out*u.InShape.C+c)*area:][:area] {
				sum += float64(v) * float64(v)
			}
		}
		return sum
	}
	output := func(c int) (sum float64) {
		for k := range net.Classes {
			v := float64(params.Of(len(net.Units), arch.OutputWeight)[k*net.Features()+c])
			sum += v * v
		}
		return sum
	}
	sums := readSquares(net, params)
	for c := range 3 {
		for unit, want := range map[string]float64{
			"conv":                column("blocks.0.conv1", c) + column("blocks.1.conv1", c) + column("blocks.1.shortcut.0", c),
			"blocks.0.conv2":      column("blocks.1.conv1", c) + column("blocks.1.shortcut.0", c),
			"blocks.0.conv1":      column("blocks.0.conv2", c),
			"blocks.1.shortcut.0": column("blocks.2.conv1", c) + column("blocks.2.shortcut.0", c),
			"blocks.2.conv2":      output(c),
			"blocks.2.shortcut.0": output(c),
		} {
			if got := sums[index[unit]][c]; !near(got, want, 1e-9) {
				t.Errorf("%s, channel %d: the sum of squares is %v, want %v", unit, c, got, want)
			}
		}
	}
}

// TestChange compares the importance by change with sums over feature maps: a channel's
// variance, times the sum of the squared weights that read it, each multiplied by γ²/σ² of the
// reading BatchNorm. For a channel that the output layer reads, the variance, over the
// pictures, of its average over a picture, times the squared weights of the output layer, is added. It also compares the
// importance by activity with the share of positive values in the feature maps.
func TestChange(t *testing.T) {
	s, data, e := measuredScorer(t)
	net := s.m.Network
	inference, err := nn.NewInference(net, kernel.Generic[float32](), s.m.Params, s.stats, nn.InferenceOptions{Batch: 1, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	all, active := s.changes(), s.importances(Policy{Importance: Active}, BetaKept)
	last := len(net.Units) - 1
	for i := range net.Units {
		u := &net.Units[i]
		if !u.ReLU {
			continue
		}
		area := u.OutShape.H * u.OutShape.W
		values, averages := make([][]float64, u.OutShape.C), make([][]float64, u.OutShape.C)
		if err := eachBatch(context.Background(), data, 1, e.Estimation().Seed, func(b *dataset.Batch) {
			size := len(b.Images) / b.N
			for n := range b.N {
				maps := inference.FeatureMaps(b.Images[n*size:][:size], i)
				for c := range values {
					sum := 0.0
					for _, v := range maps[c*area:][:area] {
						values[c] = append(values[c], float64(v))
						sum += float64(v)
					}
					averages[c] = append(averages[c], sum/float64(area))
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		for c := range values {
			want := 0.0
			for j := range net.Units {
				r := &net.Units[j]
				if r.In != i {
					continue
				}
				k := r.Kernel * r.Kernel
				for out, g := range s.m.Params.Of(j, arch.Gamma) {
					for _, w := range s.m.Params.Of(j, arch.ConvWeight)[(out*r.InShape.C+c)*k:][:k] {
						want += math.Pow(float64(w)*float64(g), 2) / (s.stats.Var[j][out] + nn.DefaultEps)
					}
				}
			}
			want *= variance(values[c])
			for k := 0; i == last && k < net.Classes; k++ {
				want += variance(averages[c]) * math.Pow(float64(s.m.Params.Of(last+1, arch.OutputWeight)[k*net.Features()+c]), 2)
			}
			if got := all[i][c]; !near(got, want, 1e-3) {
				t.Errorf("%s, channel %d: the importance by change is %v, want %v", u.Name, c, got, want)
			}
			positive := 0
			for _, v := range values[c] {
				if v > 0 {
					positive++
				}
			}
			if got, want := active[i][c], float64(positive)/float64(len(values[c])); !near(got, want, 2e-3) {
				t.Errorf("%s, channel %d: the share of outputs above 0 is %v, want %v", u.Name, c, got, want)
			}
		}
	}
}

// variance returns the (population) variance of values.
func variance(values []float64) float64 {
	mean := 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	sum := 0.0
	for _, v := range values {
		sum += (v - mean) * (v - mean) / float64(len(values))
	}
	return sum
}
