package analysis

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/convert"
	"bnkit/engine/nn"
)

// TestDescribeBatchNorms compares DescribeBatchNorms, which gets γ and β without a network, with
// describe, which gets the whole model. It also compares one share with a count.
func TestDescribeBatchNorms(t *testing.T) {
	net, err := arch.Build("resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 4})
	if err != nil {
		t.Fatal(err)
	}
	m := &engine.Model{Network: net, Params: nn.NewParams[float32](net, nil)}
	m.Params.Initialise(5)
	var norms []convert.BatchNorm
	var bothSmall, channels int
	const threshold = 0.25
	for i := range net.Units {
		gamma, beta := m.Params.Of(i, arch.Gamma), m.Params.Of(i, arch.Beta)
		for c := range gamma {
			beta[c] = float32(math.Sin(float64(7*i + 3*c)))
			if math.Abs(float64(gamma[c])) < threshold && math.Abs(float64(beta[c])) < threshold {
				bothSmall++
			}
			channels++
		}
		tensor := func(values []float32) convert.Tensor {
			return convert.Tensor{DType: "F32", Shape: []int{len(values)}, Values: func() ([]float32, error) { return values, nil }}
		}
		norms = append(norms, convert.BatchNorm{Name: net.Units[i].BN, Gamma: tensor(gamma), Beta: tensor(beta)})
	}
	got, err := DescribeBatchNorms(norms, []float64{threshold, 0.01}, "a reason")
	if err != nil {
		t.Fatal(err)
	}
	want := describe(m, []float64{0.01, threshold})
	if bothSmall == 0 || math.Abs(want.Total.BothNearZero[1]*float64(channels)-float64(bothSmall)) > 1e-9 {
		t.Errorf("the share of channels with γ and β near zero is %v, want %d of %d, and not 0", want.Total.BothNearZero[1], bothSmall, channels)
	}
	if got.Unmeasured != "a reason" || got.Arch != "" || !reflect.DeepEqual(got.Total, want.Total) || !reflect.DeepEqual(got.GammaEdges, want.GammaEdges) || !reflect.DeepEqual(got.BetaEdges, want.BetaEdges) {
		t.Errorf("DescribeBatchNorms returns %+v, want the values of %+v", got, want)
	}
	for i := range want.Layers {
		l := want.Layers[i]
		l.Convolution, l.ReLU, l.Height, l.Width, l.Shortcut = "", "", 0, 0, false
		if !reflect.DeepEqual(got.Layers[i], l) {
			t.Errorf("layer %d: %+v, want %+v", i, got.Layers[i], l)
		}
	}
	var option *OptionError
	if _, err := DescribeBatchNorms(norms, []float64{-1}, ""); !errors.As(err, &option) {
		t.Errorf("a negative threshold: got error %v, want an *OptionError", err)
	}
	var noBatchNorm *convert.Error
	if _, err := DescribeBatchNorms(nil, nil, ""); !errors.As(err, &noBatchNorm) {
		t.Errorf("no BatchNorm: got error %v, want a *convert.Error", err)
	}
}
