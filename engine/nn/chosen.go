package nn

import (
	"fmt"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/rng"
)

// Chosen returns the weights of t that a random-K set trains, as O×k indices into the
// row-major tensor, where k = min(K, fan-in). Each output channel has its own random
// stream, from which a permutation of its weights is drawn; the first k are chosen.
// The weights chosen for a larger K therefore include those for a smaller K.
func Chosen(t *arch.Tensor, set arch.TrainableSet, seed uint64) []int32 {
	channels, k := t.Shape[0], set.TrainedShape(t)[1]
	positions := make([]int32, 0, channels*k)
	order := make([]int32, t.FanIn)
	for channel := range channels {
		rng.NewStream(seed, fmt.Sprintf("chosen/%s/%d", t.Name, channel)).Permutation(order)
		for _, p := range order[:k] {
			positions = append(positions, int32(channel*t.FanIn)+p)
		}
	}
	return positions
}

// Trained holds the part of a network's parameters, or of their gradients, that a set
// trains. In NewTrained's result, tensors that are trained completely share memory with the
// network's tensors. All other values, and all values in the results of Compacted's methods,
// are copies, which Gather reads and Scatter writes back.
type Trained[T kernel.Float] struct {
	*Params[T] // Tensors have the shape of the trained part; Values of tensors that are not trained are nil

	network   *Params[T] // the network's parameters or gradients
	positions [][]int32  // by tensor, the indices in network of the values that are copies; nil for none

	// shifts holds the numbers that Scatter adds to the values that it copies, by tensor
	// and value. It is nil for tensors without such numbers. See Compacted.Trained.
	shifts [][]float64
}

// NewTrained returns the part of params that set trains. Weights are chosen by seed.
func NewTrained[T kernel.Float](net *arch.Network, params *Params[T], set arch.TrainableSet, seed uint64) *Trained[T] {
	t := &Trained[T]{Params: NewTrainedParams[T](net, set), network: params, positions: make([][]int32, len(params.Tensors))}
	for i := range t.Tensors {
		x := &params.Tensors[i]
		switch {
		case !set.Trains(x):
		case set.Chooses(x):
			t.positions[i] = Chosen(x, set, seed)
		default:
			t.Values[i] = params.Values[i]
		}
	}
	t.Gather()
	return t
}

// NewTrainedParams returns zeros in the shape of the parameters that set trains.
// Values of other tensors are nil.
func NewTrainedParams[T kernel.Float](net *arch.Network, set arch.TrainableSet) *Params[T] {
	p := NewParams[T](net, func(*arch.Tensor) bool { return false })
	for i := range p.Tensors {
		if x := &p.Tensors[i]; set.Trains(x) {
			x.Shape = set.TrainedShape(x)
			p.Values[i] = make([]T, x.Len())
		}
	}
	return p
}

// Gather copies the values that do not share memory from the network's tensors.
func (t *Trained[T]) Gather() {
	for i, positions := range t.positions {
		for j, p := range positions {
			t.Values[i][j] = t.network.Values[i][p]
		}
	}
}

// Scatter copies the values that do not share memory to the network's tensors.
func (t *Trained[T]) Scatter() {
	for i, positions := range t.positions {
		for j, p := range positions {
			t.network.Values[i][p] = t.Values[i][j]
		}
	}
	for i, shifts := range t.shifts {
		for j, shift := range shifts {
			t.network.Values[i][t.positions[i][j]] = T(float64(t.Values[i][j]) + shift)
		}
	}
}
