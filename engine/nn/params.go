// Package nn compiles a network description into an execution plan and runs
// it: forward and backward with batch statistics (Training), forward with
// given statistics (Inference).
//
// A plan's buffers, workers and packed filters are made once; a step
// allocates nothing. Work is split by image into chunks whose size depends on
// the network alone, and sums over images are taken in image order, so
// results are the same bits for any number of threads.
package nn

import (
	"slices"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// Params holds a value for every element of every tensor of a network:
// parameters, their gradients, or an optimizer's velocities.
type Params[T kernel.Float] struct {
	Tensors []arch.Tensor // as arch.Network.Tensors lists them
	Values  [][]T         // the same order; each row-major
	byName  map[string]int
	byUnit  [][arch.ConvBias + 1]int // index into Tensors, -1 for none, by unit and kind
}

// NewParams returns zeros for every tensor of net that keep returns true for
// (nil keeps all); the others' Values are nil.
func NewParams[T kernel.Float](net *arch.Network, keep func(*arch.Tensor) bool) *Params[T] {
	p := &Params[T]{Tensors: net.Tensors(), byName: map[string]int{}}
	p.Values = make([][]T, len(p.Tensors))
	p.byUnit = make([][arch.ConvBias + 1]int, len(net.Units)+1)
	for u := range p.byUnit {
		for kind := range p.byUnit[u] {
			p.byUnit[u][kind] = -1
		}
	}
	for i := range p.Tensors {
		t := &p.Tensors[i]
		p.byName[t.Name] = i
		p.byUnit[t.Unit][t.Kind] = i
		if keep == nil || keep(t) {
			p.Values[i] = make([]T, t.Len())
		}
	}
	return p
}

// Share returns parameters that share p's values, but for the tensors for which
// own returns true: of these they have copies.
func (p *Params[T]) Share(own func(*arch.Tensor) bool) *Params[T] {
	s := *p
	s.Values = slices.Clone(p.Values)
	for i := range s.Values {
		if own(&s.Tensors[i]) {
			s.Values[i] = slices.Clone(s.Values[i])
		}
	}
	return &s
}

// Named returns the values of the tensor of that canonical name, nil where
// there is none.
func (p *Params[T]) Named(name string) []T {
	i, ok := p.byName[name]
	if !ok {
		return nil
	}
	return p.Values[i]
}

// Of returns the values of the unit's tensor of that kind, nil where it has
// none; for the output layer, unit is the number of units.
func (p *Params[T]) Of(unit int, kind arch.Kind) []T {
	i := p.byUnit[unit][kind]
	if i < 0 {
		return nil
	}
	return p.Values[i]
}

// Statistics holds a mean and a variance for every channel of every unit's
// BatchNorm. The mean is of what it normalises, a convolution's bias included.
type Statistics struct {
	Mean, Var [][]float64 // by unit, then channel, nil where there is no BatchNorm; Var is unbiased
}

// NewStatistics returns mean 0 and variance 1 for net's BatchNorms.
func NewStatistics(net *arch.Network) *Statistics {
	s := &Statistics{Mean: make([][]float64, len(net.Units)), Var: make([][]float64, len(net.Units))}
	for i := range net.Units {
		if net.Units[i].BN == "" {
			continue
		}
		c := net.Units[i].OutShape.C
		s.Mean[i], s.Var[i] = make([]float64, c), make([]float64, c)
		for j := range s.Var[i] {
			s.Var[i][j] = 1
		}
	}
	return s
}
