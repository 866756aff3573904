package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/arch/archtest"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
)

// exportClamps are ways to choose the channels that are held constant. Each function
// reports whether channel c of unit i is held, given draw, a random number from 0 to 1.
var exportClamps = []struct {
	name string
	hold func(net *arch.Network, i, c int, draw float64) bool
}{
	{"a third", func(_ *arch.Network, _, _ int, draw float64) bool { return draw < 1.0/3 }},
	{"most", func(_ *arch.Network, _, _ int, draw float64) bool { return draw < 0.9 }},
	{"the same channels everywhere", func(_ *arch.Network, _, c int, _ float64) bool { return c%3 == 1 }},
	{"whole layers", func(_ *arch.Network, i, _ int, draw float64) bool { return i%2 == 1 || draw < 0.2 }},
	{"whole branches", func(net *arch.Network, i, c int, draw float64) bool {
		return net.Units[i].Add.Kind != arch.NoResidual && i%4 != 0 || c%3 == 1 || draw < 0.2
	}},
	{"shortcuts", func(net *arch.Network, i, _ int, draw float64) bool { return net.Units[i].Shortcut || draw < 0.2 }},
	{"last unit", func(net *arch.Network, i, _ int, draw float64) bool { return i == len(net.Units)-1 || draw < 0.2 }},
	{"all", func(*arch.Network, int, int, float64) bool { return true }},
}

// exportExample is a network with random channels held constant, pictures, and the network's
// logits for them.
type exportExample struct {
	model    *Model // not compacted
	stats    *nn.Statistics
	pictures []float32
	logits   []float32
}

const examplePictures = 3

// newExportExample returns an example of net with random parameters. The channels for which
// hold returns true are held constant; a nil hold leaves all channels free.
func newExportExample(t *testing.T, net *arch.Network, hold func(net *arch.Network, i, c int, draw float64) bool) *exportExample {
	t.Helper()
	stream, index := rng.NewStream(11, "clamp"), uint64(0)
	draw := func() float64 {
		index++
		return float64(stream.Uint32(index)) / (1 << 32)
	}
	m := &Model{Network: net, Params: nn.NewParams[float32](net, nil), Preprocessing: Preprocessing{Eps: 1e-3}}
	m.Params.Initialise(7)
	for n := range m.Params.Tensors {
		if kind := m.Params.Tensors[n].Kind; kind == arch.Beta || kind == arch.ConvBias || kind == arch.OutputBias {
			for c := range m.Params.Values[n] {
				m.Params.Values[n][c] = float32(draw() - 0.4)
			}
		}
	}
	for i := range net.Units {
		var kept []int
		for c, gamma := 0, m.Params.Of(i, arch.Gamma); c < len(gamma) && hold != nil; c++ {
			if hold(net, i, c, draw()) {
				gamma[c] = 0
				kept = append([]int{}, kept...)
			} else {
				kept = append(kept, c)
			}
		}
		m.Kept = append(m.Kept, kept)
	}
	e := &exportExample{model: m, pictures: make([]float32, examplePictures*net.Input.C*net.Input.H*net.Input.W)}
	rng.NewStream(7, "pictures").Normals(e.pictures, 0)
	e.stats = batchStatistics(t, m, e.pictures)
	e.logits = logitsOf(t, m, e.stats, e.pictures)
	return e
}

// batchStatistics returns the batch statistics of the pictures. It raises variances below 0.5
// to 0.5, because small ones would amplify rounding errors in deep networks.
func batchStatistics(t *testing.T, m *Model, pictures []float32) *nn.Statistics {
	t.Helper()
	training, err := nn.NewTraining(m.Network, kernel.Best(), m.Params, nn.TrainingOptions{Batch: examplePictures, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer training.Close()
	training.Forward(pictures, make([]int32, examplePictures))
	stats := training.BatchStatistics()
	for i := range stats.Var {
		for c := range stats.Var[i] {
			stats.Var[i][c] = max(stats.Var[i][c], 0.5)
		}
	}
	return stats
}

// logitsOf returns the logits that inference computes.
func logitsOf(t *testing.T, m *Model, stats *nn.Statistics, pictures []float32) []float32 {
	t.Helper()
	inference, err := newInference(m.Network, m.Params, stats, 1, m.Preprocessing.Eps)
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	return slices.Clone(inference.Run(pictures, examplePictures))
}

// export compacts the example's model and exports the result.
func (e *exportExample) export(t *testing.T) *Exported {
	t.Helper()
	small, compacted, err := e.model.Compact()
	if err != nil {
		t.Fatal(err)
	}
	exported, err := small.Export(compacted.Statistics(e.stats))
	if err != nil {
		t.Fatal(err)
	}
	return exported
}

// exportExamples calls do for networks of every architecture with each kind of shortcut: with all
// BatchNorms, scales and shifts, without BatchNorms, and without some of them or of their scales
// and shifts. It calls do for the whole network and, if that has a γ, with channels held constant.
func exportExamples(t *testing.T, do func(name string, e *exportExample)) {
	turn := 0
	for _, n := range archtest.Networks(t, 1.0/16) {
		variants := []arch.Variants{{}, {BN: arch.NoBN}, {BNEvery: 2}, {NoScale: "*1", NoShift: "*0.*,*bn*"}}
		for v, variant := range variants {
			o := n.Options
			variant.Width, variant.Stem = o.Width, o.Stem
			o.Variants, o.Classes = variant, 5
			if o.Shortcut == arch.OptionA && v%2 == 1 {
				o.Shortcut = arch.OptionACentred
			}
			net, err := arch.Build(n.Name, o)
			if err != nil {
				continue // it cannot have this variant
			}
			name := fmt.Sprintf("%s, variant %d", n.String(), v)
			do(name, newExportExample(t, net, nil))
			clamps := 3
			if v > 0 {
				clamps = 1
			}
			if arch.GammaOnly.Parameters(net) == 0 {
				clamps = 0
			}
			for range clamps {
				clamp := exportClamps[turn%len(exportClamps)]
				turn++
				do(name+", "+clamp.name, newExportExample(t, net, clamp.hold))
			}
		}
	}
}

// difference returns the largest difference between two lists of logits, relative to the
// largest logit if that is above 1.
func difference(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	largest, scale := 0.0, 1.0
	for i, v := range want {
		scale = max(scale, math.Abs(float64(v)))
		if d := math.Abs(float64(got[i]) - float64(v)); !(d <= largest) {
			largest = d
		}
	}
	return largest / scale
}

// TestStandardForm checks that an exported network computes the same logits as the network
// with channels held constant, that all its channel maps are option-A shortcuts, and that its
// variances are positive.
func TestStandardForm(t *testing.T) {
	if testing.Short() {
		t.Skip("goes through all networks")
	}
	convolutions, optionA := 0, 0
	exportExamples(t, func(name string, e *exportExample) {
		exported := e.export(t)
		m, stats := exported.model, &nn.Statistics{}
		tensors := map[string][]float32{}
		for _, x := range exported.Tensors {
			if _, exists := tensors[x.Name]; exists {
				t.Fatalf("%s: two tensors are named %s, want one", name, x.Name)
			}
			tensors[x.Name] = x.Float32
		}
		for i := range m.Network.Units {
			u := &m.Network.Units[i]
			var mean, variance []float64
			for c, v := range tensors[u.BN+varianceSuffix] {
				mean, variance = append(mean, float64(tensors[u.BN+meanSuffix][c])), append(variance, float64(v))
				if !(v > 0) {
					t.Errorf("%s: %s has the variance %v, want a positive number", name, u.BN, v)
				}
			}
			stats.Mean, stats.Var = append(stats.Mean, mean), append(stats.Var, variance)
			switch {
			case u.Add.Kind == arch.Mapped && !isOptionA(u.Add.Map, m.Network.Units[u.Add.From].OutShape.C):
				t.Errorf("%s: %s adds the map %+v, want an option-A shortcut", name, u.Name, u.Add.Map)
			case u.Add.Kind == arch.Mapped:
				optionA++
			case e.model.Network.Options.Shortcut != arch.OptionB && strings.HasSuffix(u.Name, ".shortcut.0"):
				convolutions++
				if w := tensors[u.Name+".weight"]; len(w) != u.InShape.C*u.OutShape.C || slices.Min(w) < 0 || slices.Max(w) > 1 {
					t.Errorf("%s: %s is %v, want %d numbers from 0 to 1", name, u.Name, w, u.InShape.C*u.OutShape.C)
				}
			}
		}
		if d := difference(logitsOf(t, m, stats, e.pictures), e.logits); !(d < 1e-4) {
			t.Errorf("%s: the logits differ by %.2g, want less than 1e-4", name, d)
		}
	})
	if convolutions == 0 || optionA == 0 {
		t.Errorf("%d channel maps became convolutions and %d are option A; want some of both", convolutions, optionA)
	}
}

// isOptionA reports whether m has stride 2 and copies the given number of channels in order, with
// nothing but zeros before and after them.
func isOptionA(m *arch.ChannelMap, channels int) bool {
	first := slices.Index(m.Source, 0)
	if m.Stride != 2 || first < 0 || first+channels > len(m.Source) {
		return false
	}
	for out, source := range m.Source {
		want := arch.NoSource
		if out >= first && out < first+channels {
			want = out - first
		}
		if source != want {
			return false
		}
	}
	return true
}

// TestExportFillsStatistics checks that unusable statistics of channels with γ = 0 are
// replaced, and that all others are unchanged.
func TestExportFillsStatistics(t *testing.T) {
	m := bareModel(t, "resnet-8", arch.OptionB)
	gamma := m.Params.Of(0, arch.Gamma)
	gamma[1], gamma[2], gamma[3] = 0, 0, 0
	stats := nn.NewStatistics(m.Network)
	copy(stats.Mean[0], []float64{3, 3, math.NaN(), 3})
	copy(stats.Var[0], []float64{0, 0, 2, 2})
	exported, err := m.Export(stats)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]float32{"bn.running_mean": {3, 0, 0, 3}, "bn.running_var": {0, 1, 1, 2}}
	compared := 0
	for _, x := range exported.Tensors {
		if w, ok := want[x.Name]; ok {
			compared++
			if got := x.Float32[:4]; !slices.Equal(got, w) {
				t.Errorf("%s begins with %v, want %v", x.Name, got, w)
			}
		}
	}
	if compared != len(want) {
		t.Errorf("the export has %d of the %d tensors to compare, want all", compared, len(want))
	}
	if exported.Parameters != arch.All.Parameters(m.Network) {
		t.Errorf("%d parameters, want %d", exported.Parameters, arch.All.Parameters(m.Network))
	}
}
