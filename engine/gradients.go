package engine

import (
	"fmt"
	"math"
	"strings"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/nn"
	"bnkit/engine/rundir"
)

// gradientKinds holds the name of each arch.Kind in reports.
var gradientKinds = []rundir.GradientKind{"convolution", "gamma", "beta", "output_weight", "output_bias", "convolution_bias"}

// gradientSums sums the absolute gradients of an epoch's batches, in float64 and in the
// order of batches, tensors and elements, so that the sums have the same bits for any
// number of threads.
type gradientSums struct {
	tensors []arch.Tensor
	trained []int     // number of trained elements of each tensor
	sums    []float64 // of each tensor
}

// newGradientSums returns sums of 0 for the tensors of net. trained holds the trained
// parameters.
func newGradientSums(net *arch.Network, trained *nn.Params[float32]) *gradientSums {
	g := &gradientSums{tensors: net.Tensors()}
	g.trained, g.sums = make([]int, len(g.tensors)), make([]float64, len(g.tensors))
	for i, values := range trained.Values {
		g.trained[i] = len(values)
	}
	return g
}

// add adds the gradients of a batch.
func (g *gradientSums) add(gradients *nn.Params[float32]) {
	for i, values := range gradients.Values {
		sum := 0.0
		for _, v := range values {
			sum += math.Abs(float64(v))
		}
		g.sums[i] += sum
	}
}

// clear resets the sums for a new epoch.
func (g *gradientSums) clear() { clear(g.sums) }

// means returns the mean absolute gradients over the given number of batches, without the means
// that are not finite.
func (g *gradientSums) means(batches int) map[rundir.GradientKind]rundir.KindGradient {
	kinds, totals := map[rundir.GradientKind]rundir.KindGradient{}, map[rundir.GradientKind]float64{}
	for i := range g.tensors {
		x := &g.tensors[i]
		name := gradientKinds[x.Kind]
		kind, known := kinds[name]
		if !known {
			kind.Layers = map[string]float32{}
		}
		kind.Parameters += x.Len()
		kind.Trained += g.trained[i]
		totals[name] += g.sums[i]
		if mean := float32(g.sums[i] / (float64(batches) * float64(x.Len()))); isFinite(float64(mean)) {
			kind.Layers[x.Name[:strings.LastIndexByte(x.Name, '.')]] = mean
		}
		kinds[name] = kind
	}
	for name, kind := range kinds {
		kind.Mean = float32(totals[name] / (float64(batches) * float64(kind.Parameters)))
		if kinds[name] = kind; !isFinite(float64(kind.Mean)) {
			delete(kinds, name)
		}
	}
	return kinds
}

// stateTensors returns the sums as tensors for a resume state: one number for each tensor of
// the network, under its name.
func (g *gradientSums) stateTensors() []checkpoint.Tensor {
	var ts []checkpoint.Tensor
	for i, sum := range g.sums {
		ts = append(ts, checkpoint.Tensor{Section: checkpoint.SectionGradients, Name: g.tensors[i].Name, Float64: []float64{sum}})
	}
	return ts
}

// restore reads the sums from a state. They may be infinite or NaN, because such a
// gradient of a frozen tensor does not stop a run.
func (g *gradientSums) restore(s storedTensors) error {
	for i := range g.sums {
		t, err := s.take(checkpoint.SectionGradients, g.tensors[i].Name, nil)
		if err != nil {
			return err
		}
		if t.Float64 == nil || t.Float64[0] < 0 {
			return fmt.Errorf("tensor %s of section %s is not a sum of absolute values in float64", t.Name, t.Section)
		}
		g.sums[i] = t.Float64[0]
	}
	return nil
}
