package nn

import (
	"bnkit/engine/arch"
)

// Training a compacted network changes only parameters of channels that are computed, and
// the output layer. γ and β of channels that are held constant, the weights that compute such
// channels, and the weights that read a removed channel are hidden from the optimizer: they
// are not updated and have no part in the gradient's norm. So neither the constants nor the
// filters that carry them change.

// Trained returns the part of the compacted network's parameters that set trains. Its values
// are copied from whole, the parameters of the whole network, and not from c.Params, whose
// output bias includes the rounded contributions of the removed channels. So saving and
// resuming loses no bits. Scatter copies the values to c.Params, and adds those contributions
// to the output bias. If set chooses weights of convolutions, they are chosen by seed as for
// the whole network; chosen weights that are hidden are left out.
func (c *Compacted[T]) Trained(whole *Params[T], set arch.TrainableSet, seed uint64) *Trained[T] {
	t, wholePositions := c.newTrained(c.Params, set, seed)
	t.shifts = make([][]float64, len(t.Tensors))
	for i, positions := range wholePositions {
		for j, p := range positions {
			t.Values[i][j] = whole.Values[i][p]
		}
		if t.Tensors[i].Kind == arch.OutputBias && positions != nil {
			t.shifts[i] = c.removal.outputShifts()
		}
	}
	return t
}

// TrainedGradients returns the part of the compacted network's gradients that belongs
// to the parameters that Trained returns. Gather sets its Values.
func (c *Compacted[T]) TrainedGradients(gradients *Params[T], set arch.TrainableSet, seed uint64) *Trained[T] {
	t, _ := c.newTrained(gradients, set, seed)
	return t
}

// Expand copies t, which Trained returned, to whole, the parameters of the whole network. It
// does not change other elements of whole.
func (c *Compacted[T]) Expand(whole *Params[T], t *Trained[T], set arch.TrainableSet, seed uint64) {
	for i := range t.Tensors {
		_, wholePositions := c.trainedElements(i, set, seed)
		for j, p := range wholePositions {
			whole.Values[i][p] = t.Values[i][j]
		}
	}
}

// newTrained returns the part of params, which are parameters or gradients of the compacted
// network, that set trains. Its values are zeros, and wholePositions are the positions of
// these values in the whole network's tensors.
func (c *Compacted[T]) newTrained(params *Params[T], set arch.TrainableSet, seed uint64) (t *Trained[T], wholePositions [][]int32) {
	none := func(*arch.Tensor) bool { return false }
	t = &Trained[T]{Params: NewParams[T](c.Network, none), network: params, positions: make([][]int32, len(params.Tensors))}
	wholePositions = make([][]int32, len(params.Tensors))
	for i := range t.Tensors {
		if x := &t.Tensors[i]; set.Trains(x) {
			t.positions[i], wholePositions[i] = c.trainedElements(i, set, seed)
			x.Shape = []int{len(wholePositions[i])}
			t.Values[i] = make([]T, len(wholePositions[i]))
		}
	}
	return t, wholePositions
}

// trainedElements lists the elements of tensor i that set trains, except hidden ones, by their
// indices in the tensors of the compacted network (positions) and of the whole network
// (wholePositions). Both are nil if set does not train the tensor, and empty if all of its
// elements are hidden.
func (c *Compacted[T]) trainedElements(i int, set arch.TrainableSet, seed uint64) (positions, wholePositions []int32) {
	x, whole := &c.Params.Tensors[i], &c.removal.params.Tensors[i]
	positions, wholePositions = []int32{}, []int32{}
	add := func(position, wholePosition int) {
		positions, wholePositions = append(positions, int32(position)), append(wholePositions, int32(wholePosition))
	}
	switch {
	case !set.Trains(x):
		return nil, nil
	case x.Kind == arch.OutputBias:
		for k := range x.Len() {
			add(k, k)
		}
	case x.Kind != arch.ConvWeight && x.Kind != arch.OutputWeight:
		for j, channel := range c.Origins[x.Unit] {
			if c.computed(x.Unit, channel) {
				add(j, channel)
			}
		}
	case set.Chooses(whole):
		outputs, inputs := inverse(c.Origins[x.Unit], whole.Shape[0]), c.inputIndices(x.Unit, whole.Shape[1])
		area := whole.Shape[2] * whole.Shape[3]
		for _, p := range Chosen(whole, set, seed) {
			out, in, element := int(p)/whole.FanIn, int(p)%whole.FanIn/area, int(p)%area
			if c.computed(x.Unit, out) && inputs[in] >= 0 {
				add((outputs[out]*x.Shape[1]+inputs[in])*area+element, int(p))
			}
		}
	default:
		area := x.Len() / (x.Shape[0] * x.Shape[1])
		inputs := c.inputIndices(x.Unit, whole.Shape[1])
		for newOut := range x.Shape[0] {
			out := newOut
			if x.Kind == arch.ConvWeight {
				if out = c.Origins[x.Unit][newOut]; !c.computed(x.Unit, out) {
					continue
				}
			}
			for in, newIn := range inputs {
				for element := range area {
					if newIn >= 0 {
						add((newOut*x.Shape[1]+newIn)*area+element, (out*whole.Shape[1]+in)*area+element)
					}
				}
			}
		}
	}
	return positions, wholePositions
}

// computed reports whether unit i of the compacted network computes a channel, which is an
// index in the whole network or ConstantChannel.
func (c *Compacted[T]) computed(i, channel int) bool {
	return channel != ConstantChannel && c.removal.computed(i, channel)
}

// inputIndices returns, for each input channel of unit i of the whole network, its
// index in the compacted network, or -1 if it was removed. The output layer counts as
// the unit after the last.
func (c *Compacted[T]) inputIndices(i, channels int) []int {
	in := i - 1
	if i < len(c.Network.Units) {
		in = c.Network.Units[i].In
	}
	if in == arch.Picture {
		indices := make([]int, channels)
		for channel := range indices {
			indices[channel] = channel
		}
		return indices
	}
	return inverse(c.Origins[in], channels)
}

// inverse returns, for each channel of the whole network, its index in origins, or -1
// if it is not there.
func inverse(origins []int, channels int) []int {
	indices := make([]int, channels)
	for c := range indices {
		indices[c] = -1
	}
	for j, c := range origins {
		if c != ConstantChannel {
			indices[c] = j
		}
	}
	return indices
}
