package nn

import (
	"bnkit/engine/arch"
)

// Training what is left moves the compacted network's parameters and leaves alone
// what belongs to removed channels: γ and β of all that is held constant, the weights
// that compute it, and those that read a channel that is gone. They get no gradient,
// no weight decay and no share of a gradient's norm, since the optimizer does not see
// them. So the constants stay what they are, and with them the filters that carry
// them.

// Trained returns the part of the compacted network's parameters that set trains.
// Its values are the whole network's, from whole, so that saving and continuing
// loses nothing: Scatter copies them to c.Params, the output layer's bias with what
// the removed channels contribute to it. Of convolutions of which the set chooses
// weights, it has those that it would choose in the whole network, by seed, if they
// are left.
func (c *Compacted[T]) Trained(whole *Params[T], set arch.TrainableSet, seed uint64) *Trained[T] {
	t, places := c.trained(c.Params, set, seed)
	t.shifts = make([][]float64, len(t.Tensors))
	for i, positions := range places {
		for j, p := range positions {
			t.Values[i][j] = whole.Values[i][p]
		}
		if t.Tensors[i].Kind == arch.OutputBias && positions != nil {
			t.shifts[i] = c.removal.outputShifts()
		}
	}
	return t
}

// TrainedGradients returns the gradients of what Trained returns, of the compacted
// network's gradients. Its Values are those after Gather.
func (c *Compacted[T]) TrainedGradients(gradients *Params[T], set arch.TrainableSet, seed uint64) *Trained[T] {
	t, _ := c.trained(gradients, set, seed)
	return t
}

// Expand copies what Trained returned, and training has moved, to the whole
// network's parameters. It leaves all else as it is.
func (c *Compacted[T]) Expand(whole *Params[T], t *Trained[T], set arch.TrainableSet, seed uint64) {
	for i := range t.Tensors {
		_, places := c.elements(i, set, seed)
		for j, p := range places {
			whole.Values[i][p] = t.Values[i][j]
		}
	}
}

// trained returns a Trained of params, without values, and by tensor where its
// elements are in the whole network's.
func (c *Compacted[T]) trained(params *Params[T], set arch.TrainableSet, seed uint64) (t *Trained[T], places [][]int32) {
	none := func(*arch.Tensor) bool { return false }
	t = &Trained[T]{Params: NewParams[T](c.Network, none), whole: params, positions: make([][]int32, len(params.Tensors))}
	places = make([][]int32, len(params.Tensors))
	for i := range t.Tensors {
		if x := &t.Tensors[i]; set.Trains(x) {
			t.positions[i], places[i] = c.elements(i, set, seed)
			x.Shape = []int{len(places[i])}
			t.Values[i] = make([]T, len(places[i]))
		}
	}
	return t, places
}

// elements lists what set trains of tensor i: where each element is in the
// compacted network's tensor, and where in the whole network's.
func (c *Compacted[T]) elements(i int, set arch.TrainableSet, seed uint64) (positions, places []int32) {
	x, whole := &c.Params.Tensors[i], &c.removal.params.Tensors[i]
	positions, places = []int32{}, []int32{}
	add := func(position, place int) {
		positions, places = append(positions, int32(position)), append(places, int32(place))
	}
	switch {
	case !set.Trains(x):
		return nil, nil
	case x.Kind == arch.OutputBias:
		for k := range x.Len() {
			add(k, k)
		}
	case x.Kind != arch.ConvWeight && x.Kind != arch.OutputWeight:
		for at, channel := range c.Origins[x.Unit] {
			if c.varies(x.Unit, channel) {
				add(at, channel)
			}
		}
	case set.Chooses(whole):
		outputs, inputs := inverse(c.Origins[x.Unit], whole.Shape[0]), c.inputPlaces(x.Unit, whole.Shape[1])
		area := whole.Shape[2] * whole.Shape[3]
		for _, place := range Chosen(whole, set, seed) {
			out, in, position := int(place)/whole.FanIn, int(place)%whole.FanIn/area, int(place)%area
			if c.varies(x.Unit, out) && inputs[in] >= 0 {
				add((outputs[out]*x.Shape[1]+inputs[in])*area+position, int(place))
			}
		}
	default:
		area := x.Len() / (x.Shape[0] * x.Shape[1])
		inputs := c.inputPlaces(x.Unit, whole.Shape[1])
		for to := range x.Shape[0] {
			out := to
			if x.Kind == arch.ConvWeight {
				if out = c.Origins[x.Unit][to]; !c.varies(x.Unit, out) {
					continue
				}
			}
			for in, at := range inputs {
				for position := range area {
					if at >= 0 {
						add((to*x.Shape[1]+at)*area+position, (out*whole.Shape[1]+in)*area+position)
					}
				}
			}
		}
	}
	return positions, places
}

// varies reports whether unit i computes channel c of the whole network.
func (c *Compacted[T]) varies(i, channel int) bool {
	return channel != ConstantChannel && c.removal.computed(i, channel)
}

// inputPlaces lists, by channel of what unit i of the whole network reads, where it
// is among those left, -1 if it is gone. The output layer counts as a unit after the
// last.
func (c *Compacted[T]) inputPlaces(i, channels int) []int {
	in := i - 1
	if i < len(c.Network.Units) {
		in = c.Network.Units[i].In
	}
	if in == arch.Picture {
		all := make([]int, channels)
		for c := range all {
			all[c] = c
		}
		return all
	}
	return inverse(c.Origins[in], channels)
}

// inverse lists, by channel of the whole network, where it is in origins, -1 if it
// is not.
func inverse(origins []int, channels int) []int {
	places := make([]int, channels)
	for c := range places {
		places[c] = -1
	}
	for at, c := range origins {
		if c != ConstantChannel {
			places[c] = at
		}
	}
	return places
}
