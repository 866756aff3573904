package nn

import (
	"fmt"
	"slices"

	"bnkit/engine/arch"
)

// origins returns Compacted.Origins: by unit and new channel, the old channel or
// ConstantChannel.
func (r *removal[T]) origins() [][]int {
	origins := make([][]int, len(r.net.Units))
	for i, kept := range r.kept {
		if r.carries[i] {
			origins[i] = append(origins[i], ConstantChannel)
		}
		for c, k := range kept {
			if k {
				origins[i] = append(origins[i], c)
			}
		}
	}
	return origins
}

// network returns the network of the channels that stay.
func (r *removal[T]) network(origins [][]int) *arch.Network {
	net := *r.net
	net.Units = slices.Clone(net.Units)
	for i := range net.Units {
		u := &net.Units[i]
		u.OutShape.C = len(origins[i])
		if u.In != arch.Picture {
			u.InShape.C = len(origins[u.In])
		}
		if u.Op == arch.Convolution && u.Kernel == 2*u.Pad+1 && !r.active(i) {
			u.Kernel, u.Pad = 1, 0 // its filters are zeros; the output's size is the same
		}
		if u.Add.Kind == arch.Mapped {
			u.Add.Map = r.channelMap(i, origins)
		}
	}
	return &net
}

// channelMap returns unit i's channel map for the channels that stay. A source that was
// removed becomes arch.NoSource: it is 0, or the logits do not depend on it.
func (r *removal[T]) channelMap(i int, origins [][]int) *arch.ChannelMap {
	add := &r.net.Units[i].Add
	m := &arch.ChannelMap{Stride: add.Map.Stride}
	for _, c := range origins[i] {
		source := ConstantChannel
		if c != ConstantChannel {
			source = add.Map.Source[c]
			if source == arch.NoSource {
				m.Source = append(m.Source, arch.NoSource)
				continue
			}
		}
		m.Source = append(m.Source, slices.Index(origins[add.From], source))
	}
	return m
}

// copyValues sets the values of c's parameters.
func (r *removal[T]) copyValues(c *Compacted[T]) error {
	for i := range c.Params.Tensors {
		x := &c.Params.Tensors[i]
		old, values := r.params.Of(x.Unit, x.Kind), c.Params.Values[i]
		if old == nil {
			return fmt.Errorf("the parameters have no values for %s", x.Name)
		}
		switch x.Kind {
		case arch.ConvWeight:
			r.copyFilters(values, old, x.Unit, c)
		case arch.OutputWeight:
			r.copyOutputWeight(values, old, c.Origins[x.Unit-1])
		case arch.OutputBias:
			r.copyOutputBias(values, old)
		default:
			for j, channel := range c.Origins[x.Unit] {
				if channel != ConstantChannel {
					values[j] = old[channel]
				} else if x.Kind == arch.Beta || x.Kind == arch.ConvBias && r.net.Units[x.Unit].BN == "" {
					values[j] = T(r.shift(x.Unit))
				}
			}
		}
	}
	return nil
}

// copyFilters copies unit i's filters from the whole network. Filters of channels that do not
// have to be computed stay 0.
func (r *removal[T]) copyFilters(filters, old []T, i int, c *Compacted[T]) {
	u := &r.net.Units[i]
	area, channels := u.Kernel*u.Kernel, u.InShape.C
	inputs := c.Network.Units[i].InShape.C
	for newOut, out := range c.Origins[i] {
		if out == ConstantChannel || !r.computed(i, out) {
			continue
		}
		for newIn := range inputs {
			in := newIn
			if u.In != arch.Picture {
				in = c.Origins[u.In][newIn]
			}
			filter := filters[(newOut*inputs+newIn)*area:][:area]
			if in == ConstantChannel {
				r.carriedFilter(filter, old[out*channels*area:][:channels*area], u.In)
			} else {
				copy(filter, old[(out*channels+in)*area:][:area])
			}
		}
	}
}

// carriedFilter sets filter to the filter that reads the channel in which unit in
// carries constants. old holds the same output channel's filters for all channels of
// unit in.
func (r *removal[T]) carriedFilter(filter, old []T, in int) {
	for position := range filter {
		sum := 0.0
		for c, kept := range r.kept[in] {
			if !kept && r.value[in][c] != 0 {
				sum += r.value[in][c] / r.level[in] * float64(old[c*len(filter)+position])
			}
		}
		// A sum may round to -0, which removing the channels of the result again would turn
		// into 0; adding 0 does so now.
		filter[position] = T(sum) + 0
	}
}

// copyOutputWeight copies the output layer's weights for the channels that stay. The
// weights for a channel that carries constants stay 0.
func (r *removal[T]) copyOutputWeight(weight, old []T, origins []int) {
	features := r.net.Features()
	for k := range r.net.Classes {
		for j, channel := range origins {
			if channel != ConstantChannel {
				weight[k*len(origins)+j] = old[k*features+channel]
			}
		}
	}
}

// copyOutputBias sets the output layer's bias to the old one plus the contributions of
// the removed channels.
func (r *removal[T]) copyOutputBias(bias, old []T) {
	for k, shift := range r.outputShifts() {
		bias[k] = T(float64(old[k]) + shift)
	}
}

// outputShifts returns the contribution of the removed channels to each class's logit.
func (r *removal[T]) outputShifts() []float64 {
	last, features := len(r.net.Units)-1, r.net.Features()
	weight := r.params.Of(last+1, arch.OutputWeight)
	shifts := make([]float64, r.net.Classes)
	for k := range shifts {
		for c, kept := range r.kept[last] {
			if !kept {
				shifts[k] += r.value[last][c] * float64(weight[k*features+c])
			}
		}
	}
	return shifts
}
