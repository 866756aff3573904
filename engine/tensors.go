package engine

import (
	"fmt"
	"math"
	"slices"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/nn"
	"bnkit/engine/optim"
)

// section returns the section of a checkpoint for trained tensors of a kind.
func section(k arch.Kind) string {
	switch k {
	case arch.ConvWeight, arch.ConvBias:
		return checkpoint.SectionWeights
	case arch.OutputWeight, arch.OutputBias:
		return checkpoint.SectionOutput
	}
	return checkpoint.SectionBN
}

// trainedTensors returns copies of the trained tensors, as nn.Trained holds them.
func trainedTensors(trained *nn.Params[float32]) []checkpoint.Tensor {
	var ts []checkpoint.Tensor
	for i, v := range trained.Values {
		if v != nil {
			x := &trained.Tensors[i]
			ts = append(ts, checkpoint.Tensor{Section: section(x.Kind), Name: x.Name, Shape: x.Shape, Float32: slices.Clone(v)})
		}
	}
	return ts
}

// momentTensors returns copies of an optimizer's moments. The name of a moment is the name
// of the tensor that it belongs to, followed by the moment's suffix.
func momentTensors(moments []optim.Moment) []checkpoint.Tensor {
	var ts []checkpoint.Tensor
	for _, m := range moments {
		for i, v := range m.Values {
			if len(v) > 0 {
				x := &m.Tensors[i]
				ts = append(ts, checkpoint.Tensor{Section: checkpoint.SectionOptimizer, Name: x.Name + m.Suffix, Shape: x.Shape, Float32: slices.Clone(v)})
			}
		}
	}
	return ts
}

// Suffixes of the names of a BatchNorm's statistics, as in PyTorch.
const (
	meanSuffix     = ".running_mean"
	varianceSuffix = ".running_var"
)

// statisticsTensors returns copies of statistics, in float64 so that no bits are lost.
func statisticsTensors(net *arch.Network, stats *nn.Statistics) []checkpoint.Tensor {
	var ts []checkpoint.Tensor
	for i := range net.Units {
		u := &net.Units[i]
		if u.BN == "" {
			continue
		}
		shape := []int{u.OutShape.C}
		ts = append(ts,
			checkpoint.Tensor{Section: checkpoint.SectionStats, Name: u.BN + meanSuffix, Shape: shape, Float64: slices.Clone(stats.Mean[i])},
			checkpoint.Tensor{Section: checkpoint.SectionStats, Name: u.BN + varianceSuffix, Shape: shape, Float64: slices.Clone(stats.Var[i])})
	}
	return ts
}

// tensorKey identifies a tensor in a file.
type tensorKey struct{ section, name string }

// storedTensors holds the tensors of a file that have not been read yet. Its methods remove
// the tensors that they return, so that checkEmpty finds unexpected ones.
type storedTensors map[tensorKey]*checkpoint.Tensor

func newStoredTensors(f *checkpoint.File) storedTensors {
	s := storedTensors{}
	for i := range f.Tensors {
		t := &f.Tensors[i]
		s[tensorKey{t.Section, t.Name}] = t
	}
	return s
}

// hasSection reports whether any tensor of the section is left.
func (s storedTensors) hasSection(section string) bool {
	for key := range s {
		if key.section == section {
			return true
		}
	}
	return false
}

// take removes and returns a tensor. It returns an error if the tensor is missing or has a
// different shape.
func (s storedTensors) take(section, name string, shape []int) (*checkpoint.Tensor, error) {
	key := tensorKey{section, name}
	t := s[key]
	if t == nil {
		return nil, fmt.Errorf("tensor %s of section %s is missing", name, section)
	}
	if !slices.Equal(t.Shape, shape) {
		return nil, fmt.Errorf("tensor %s of section %s has shape %v, but in the network it has shape %v", name, section, t.Shape, shape)
	}
	delete(s, key)
	return t, nil
}

// takeFloat32 removes a tensor and returns its values, which must be finite float32 values.
func (s storedTensors) takeFloat32(section, name string, shape []int) ([]float32, error) {
	t, err := s.take(section, name, shape)
	if err != nil {
		return nil, err
	}
	if t.Float32 == nil {
		return nil, fmt.Errorf("tensor %s of section %s does not hold float32 values", name, section)
	}
	for i, v := range t.Float32 {
		if !isFinite(float64(v)) {
			return nil, fmt.Errorf("tensor %s of section %s holds %v at index %d; want a finite number", name, section, v, i)
		}
	}
	return t.Float32, nil
}

// takeStatistics removes and returns the statistics of every BatchNorm of net.
func (s storedTensors) takeStatistics(net *arch.Network) (*nn.Statistics, error) {
	stats := &nn.Statistics{Mean: make([][]float64, len(net.Units)), Var: make([][]float64, len(net.Units))}
	for i := range net.Units {
		u := &net.Units[i]
		if u.BN == "" {
			continue
		}
		for _, part := range []struct {
			suffix string
			values *[]float64
			lowest float64 // bounds of the values
			limit  float64
		}{{meanSuffix, &stats.Mean[i], -maxStatistic, maxStatistic}, {varianceSuffix, &stats.Var[i], 0, maxStatistic * maxStatistic}} {
			name := u.BN + part.suffix
			t, err := s.take(checkpoint.SectionStats, name, []int{u.OutShape.C})
			if err != nil {
				return nil, err
			}
			if t.Float64 == nil {
				return nil, fmt.Errorf("tensor %s of section %s does not hold float64 values", name, t.Section)
			}
			for c, v := range t.Float64 {
				if !(v >= part.lowest && v <= part.limit) {
					return nil, fmt.Errorf("tensor %s of section %s holds %v at index %d; want %g to %g", name, t.Section, v, c, part.lowest, part.limit)
				}
			}
			*part.values = t.Float64
		}
	}
	return stats, nil
}

// takeTrained removes and returns the trained part of every tensor that set trains. The keys
// of the result are indices into net.Tensors().
func (s storedTensors) takeTrained(net *arch.Network, set arch.TrainableSet) (map[int][]float32, error) {
	values := map[int][]float32{}
	tensors := net.Tensors()
	for i := range tensors {
		x := &tensors[i]
		if !set.Trains(x) {
			continue
		}
		v, err := s.takeFloat32(section(x.Kind), x.Name, set.TrainedShape(x))
		if err != nil {
			return nil, err
		}
		for j, x := range v {
			if math.Abs(float64(x)) > maxTrained {
				return nil, fmt.Errorf("tensor %s holds %g at index %d; want at most %g in magnitude", tensors[i].Name, x, j, maxTrained)
			}
		}
		values[i] = v
	}
	return values, nil
}

// checkEmpty returns an error if any tensor is left.
func (s storedTensors) checkEmpty() error {
	var unread []string
	for key := range s {
		unread = append(unread, key.section+"/"+key.name)
	}
	if len(unread) == 0 {
		return nil
	}
	slices.Sort(unread)
	return fmt.Errorf("it holds a tensor that the network does not train: %s", unread[0])
}
