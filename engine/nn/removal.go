package nn

import (
	"fmt"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// ConstantChannel is the entry in Compacted.Origins of the channel that replaces the
// removed channels of a unit.
const ConstantChannel = -1

// Compacted is a network from which channels have been removed. The network before the
// removal is called the whole network. The compacted network is an ordinary network, which
// Training and Inference run like any other. Apart from rounding, it has the same outputs as
// the whole network.
//
// A BatchNorm channel whose γ is 0 outputs the constant β. A convolution that reads
// a constant outputs another constant, except at the borders, where part of its
// window lies on the padding, which is 0. So a constant cannot simply be added to the
// output of the convolution. Instead, one channel that is 1 on the picture and 0
// on the padding carries all removed constants of a unit. The convolution
// reads it with the filter Σ v[c]·W[:, c] over the removed channels c, where v[c] is
// the value of channel c after the residual sum and the ReLU.
//
// That channel is channel 0 of its unit. It is a BatchNorm channel with γ = 0 and
// zero filters. Its β is 1 where a residual stream begins, and 0 in the branches
// that are added to the stream. A unit does not need the channel if its removed
// channels are all 0, or if only the output layer reads them: the constants are then
// added to the output layer's bias.
type Compacted[T kernel.Float] struct {
	Network *arch.Network // the units of the whole network, with fewer channels
	Params  *Params[T]    // the parameters of Network
	Origins [][]int       // by unit and channel: the same channel's index in the whole network, or ConstantChannel

	removal *removal[T]
}

// RemovalError reports channels that cannot be removed.
type RemovalError struct {
	Unit   string // name of the BatchNorm, or of the unit if it has none; "" if no single unit is at fault
	Reason string
}

func (e *RemovalError) Error() string {
	if e.Unit == "" {
		return e.Reason
	}
	return e.Unit + ": " + e.Reason
}

// WrongUsage reports that the choice of channels is at fault.
func (e *RemovalError) WrongUsage() bool { return true }

// Compact removes channels from net, whose parameters are params. For each unit, kept
// lists, in ascending order, the output channels of its BatchNorm that are not pruned; nil
// stands for all of them. The γ of all other channels must be 0.
//
// The channels that kept leaves out are constant. Compact removes them unless the shape
// of another unit requires them. It removes a channel of a residual stream if the
// channel is constant from the beginning of the stream to its end, in every branch that is
// added to it. Otherwise the channel stays, with γ = 0 in the branches in which it is
// constant. A pool keeps the same channels as the unit that it reads. A convolution whose
// output does not affect the logits gets filters of zeros, of size 1×1 if its padding allows
// that. Every unit keeps at least one channel. The result holds copies of the values. If kept
// is invalid, the error is a *RemovalError.
func Compact[T kernel.Float](net *arch.Network, params *Params[T], kept [][]int) (*Compacted[T], error) {
	pruned, err := prunedChannels(net, params, kept)
	if err != nil {
		return nil, err
	}
	r := newRemoval(net, params, pruned)
	c := &Compacted[T]{Origins: r.origins(), removal: r}
	c.Network = r.network(c.Origins)
	if err := c.Network.Check(); err != nil {
		return nil, err
	}
	c.Params = NewParams[T](c.Network, nil)
	return c, r.copyValues(c)
}

// CheckKept checks kept as Compact does, and returns the same *RemovalError.
func CheckKept[T kernel.Float](net *arch.Network, params *Params[T], kept [][]int) error {
	_, err := prunedChannels(net, params, kept)
	return err
}

// prunedChannels checks kept and returns, by unit and channel, whether the channel is missing
// in kept.
func prunedChannels[T kernel.Float](net *arch.Network, params *Params[T], kept [][]int) ([][]bool, error) {
	if len(kept) != len(net.Units) {
		return nil, &RemovalError{Reason: fmt.Sprintf("kept lists channels of %d units, but %s has %d units", len(kept), net.Name, len(net.Units))}
	}
	pruned := make([][]bool, len(net.Units))
	for i := range net.Units {
		u := &net.Units[i]
		pruned[i] = make([]bool, u.OutShape.C)
		if kept[i] == nil {
			continue
		}
		fail := func(format string, args ...any) error {
			name := u.BN
			if name == "" {
				name = u.Name
			}
			return &RemovalError{Unit: name, Reason: fmt.Sprintf(format, args...)}
		}
		for c := range pruned[i] {
			pruned[i][c] = true
		}
		previous := -1
		for _, c := range kept[i] {
			if c <= previous || c >= u.OutShape.C {
				return nil, fail("kept channel %d is out of order or out of range; list channels in ascending order, from 0 to %d", c, u.OutShape.C-1)
			}
			pruned[i][c], previous = false, c
		}
		gamma := params.Of(i, arch.Gamma)
		for c, isPruned := range pruned[i] {
			switch {
			case !isPruned:
			case gamma == nil:
				return nil, fail("the unit has no γ, so none of its channels can be removed")
			case gamma[c] != 0:
				return nil, fail("channel %d cannot be removed: its γ is %v, not 0", c, gamma[c])
			}
		}
	}
	return pruned, nil
}

// ExpandStatistics copies statistics of the compacted network to whole, the statistics of
// the whole network. It does not change the statistics of removed channels.
func (c *Compacted[T]) ExpandStatistics(whole, small *Statistics) {
	for i := range small.Mean {
		for channel := range small.Mean[i] {
			if origin := c.Origins[i][channel]; origin != ConstantChannel {
				whole.Mean[i][origin], whole.Var[i][origin] = small.Mean[i][channel], small.Var[i][channel]
			}
		}
	}
}

// Statistics returns the statistics of the compacted network, given those of the
// whole network.
func (c *Compacted[T]) Statistics(whole *Statistics) *Statistics {
	s := NewStatistics(c.Network)
	for i := range c.Network.Units {
		u := &c.Network.Units[i]
		if u.BN == "" {
			continue
		}
		for channel, origin := range c.Origins[i] {
			if origin != ConstantChannel {
				s.Mean[i][channel], s.Var[i][channel] = whole.Mean[i][origin], whole.Var[i][origin]
			} else if u.Op != arch.Convolution {
				s.Mean[i][channel] = c.removal.level[u.In] // a convolution of zeros has mean 0
			}
		}
	}
	return s
}
