package nn

import (
	"fmt"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/rng"
)

// Chosen returns which weights of t a random-K set trains, k = min(K, fan-in)
// for each output channel: O×k indices into the row-major tensor. A channel's
// are the first k of a random permutation of its weights, drawn from a stream
// of the channel's own, so a larger K adds to the choice of a smaller.
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

// Trained is what a set trains of a network's parameters (or of their
// gradients): whole tensors, which share their memory, and copies of the
// chosen weights of others, to be taken by Gather and put back by Scatter.
type Trained[T kernel.Float] struct {
	*Params[T] // Tensors have the set's TrainedShape; Values of what is not trained are nil

	whole     *Params[T]
	positions [][]int32 // by tensor, as Chosen gives them; nil for whole tensors
}

// NewTrained returns what set trains of params, for the choice of that seed.
func NewTrained[T kernel.Float](net *arch.Network, params *Params[T], set arch.TrainableSet, seed uint64) *Trained[T] {
	t := &Trained[T]{Params: NewTrainedParams[T](net, set), whole: params, positions: make([][]int32, len(params.Tensors))}
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

// NewTrainedParams returns zeros in the shape of what set trains; the Values
// of other tensors are nil.
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

// Gather copies the chosen weights from the network's tensors.
func (t *Trained[T]) Gather() {
	for i, positions := range t.positions {
		for j, p := range positions {
			t.Values[i][j] = t.whole.Values[i][p]
		}
	}
}

// Scatter copies the chosen weights to the network's tensors.
func (t *Trained[T]) Scatter() {
	for i, positions := range t.positions {
		for j, p := range positions {
			t.whole.Values[i][p] = t.Values[i][j]
		}
	}
}
