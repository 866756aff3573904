package nn

import (
	"slices"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// Params holds values for the elements of a network's tensors: parameters, their gradients,
// or an optimizer's moments.
type Params[T kernel.Float] struct {
	Tensors []arch.Tensor // as arch.Network.Tensors lists them
	Values  [][]T         // in the same order, each row-major; nil for tensors without values
	byName  map[string]int
	byUnit  [][arch.ConvBias + 1]int // index into Tensors, -1 for none, by unit and kind
}

// NewParams returns zeros for every tensor of net for which keep returns true. Values of
// other tensors are nil. If keep is nil, all tensors have values.
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

// Share returns parameters that share p's values, except those of tensors for which
// own returns true, which it copies.
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

// Zeros returns zeros for every tensor for which p has values.
func (p *Params[T]) Zeros() *Params[T] {
	z := *p
	z.Values = make([][]T, len(p.Values))
	for i, values := range p.Values {
		if values != nil {
			z.Values[i] = make([]T, len(values))
		}
	}
	return &z
}

// Named returns the values of the tensor with the given canonical name, or nil if there
// is no such tensor or it has no values.
func (p *Params[T]) Named(name string) []T {
	i, ok := p.byName[name]
	if !ok {
		return nil
	}
	return p.Values[i]
}

// Of returns the values of a unit's tensor of the given kind, or nil if the unit has no
// such tensor or it has no values. The output layer counts as the unit after the last.
func (p *Params[T]) Of(unit int, kind arch.Kind) []T {
	i := p.byUnit[unit][kind]
	if i < 0 {
		return nil
	}
	return p.Values[i]
}

// Statistics holds a mean and a variance for every channel of every BatchNorm. They
// are those of BatchNorm's input, which includes a convolution's bias.
type Statistics struct {
	Mean, Var [][]float64 // by unit and channel; nil for units without BatchNorm; Var is unbiased
}

// NewStatistics returns mean 0 and variance 1 for every BatchNorm of net.
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
