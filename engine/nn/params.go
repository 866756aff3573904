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
	"fmt"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// Params holds a value for every element of every tensor of a network:
// parameters, their gradients, or an optimizer's velocities.
type Params[T kernel.Float] struct {
	Tensors []arch.Tensor // as arch.Network.Tensors lists them
	Values  [][]T         // the same order; each row-major
	byName  map[string]int
}

// NewParams returns zeros for every tensor of net that keep returns true for
// (nil keeps all); the others' Values are nil.
func NewParams[T kernel.Float](net *arch.Network, keep func(*arch.Tensor) bool) *Params[T] {
	p := &Params[T]{Tensors: net.Tensors(), byName: map[string]int{}}
	p.Values = make([][]T, len(p.Tensors))
	for i := range p.Tensors {
		t := &p.Tensors[i]
		p.byName[t.Name] = i
		if keep == nil || keep(t) {
			p.Values[i] = make([]T, t.Len())
		}
	}
	return p
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

// Of returns the values of the unit's tensor of that kind; for the output
// layer, unit is the number of units.
func (p *Params[T]) Of(unit int, kind arch.Kind) []T {
	// Three tensors a unit, then two of the output layer, in the order of Kind.
	i := 3*unit + int(kind)
	if kind >= arch.OutputWeight {
		i = 3*unit + int(kind-arch.OutputWeight)
	}
	if i >= len(p.Tensors) || p.Tensors[i].Unit != unit || p.Tensors[i].Kind != kind {
		panic(fmt.Sprintf("nn: unit %d has no tensor of kind %v", unit, kind))
	}
	return p.Values[i]
}

// Statistics holds a mean and a variance for every channel of every unit's
// BatchNorm.
type Statistics struct {
	Mean, Var [][]float64 // by unit, then channel; Var is unbiased
}

// NewStatistics returns mean 0 and variance 1 for net's BatchNorms.
func NewStatistics(net *arch.Network) *Statistics {
	s := &Statistics{Mean: make([][]float64, len(net.Units)), Var: make([][]float64, len(net.Units))}
	for i := range net.Units {
		c := net.Units[i].OutShape.C
		s.Mean[i], s.Var[i] = make([]float64, c), make([]float64, c)
		for j := range s.Var[i] {
			s.Var[i][j] = 1
		}
	}
	return s
}
