package nn

import (
	"fmt"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// ConstantChannel stands in Compacted.Origins for the channel that a unit has
// in place of removed ones.
const ConstantChannel = -1

// Compacted is a network without channels that were removed from another, the
// whole network. It computes the same and is an ordinary network: Training and
// Inference run it as any other.
//
// A BatchNorm channel whose γ is 0 puts out its β. Such a channel is a constant,
// which the convolution that reads it turns into another constant, except at
// borders: there part of the window lies on the padding, which is 0. One channel
// that is 1 on the picture and 0 on the padding carries all of a unit's removed
// constants exactly, by the filter Σ v[c]·W[:, c] over the removed channels c,
// v[c] being c's value where it is read, after the sum and the ReLU. It is channel
// 0 of its unit: a BatchNorm channel with γ = 0 and zero filters, with β = 1 where
// a residual stream begins and β = 0 in the branches that are added to it. A unit
// whose removed channels are all 0, or are read by the output layer alone, whose
// bias takes them up, has no such channel.
type Compacted[T kernel.Float] struct {
	Network *arch.Network // the units of the whole network, with fewer channels
	Params  *Params[T]    // of that network
	Origins [][]int       // by unit and channel: which of the unit's channels in the whole network it is, or ConstantChannel

	removal *removal[T]
}

// RemovalError says which channels cannot be removed.
type RemovalError struct {
	Unit   string // the BatchNorm, or the unit where it has none; "" where it is none in particular
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

// Compact returns net, which has the values of params, without the channels that
// kept leaves out. By unit, kept lists the output channels of BatchNorm that stay
// variable, in ascending order; nil stands for all of them. The γ of the others
// are 0.
//
// What is left out of kept is held constant, and is gone from the result wherever
// that changes no shape that others rely on. A channel of a residual stream goes
// if every branch that is added to it leaves it constant, from where the stream
// begins to where it ends; otherwise it stays, with γ = 0 in the branches that
// leave it constant. A pool has the channels of what it reads. A convolution that
// nothing depends on shrinks to a 1×1 convolution of zeros. No unit loses its last
// channel. Values that stay are copies; the error is a *RemovalError.
func Compact[T kernel.Float](net *arch.Network, params *Params[T], kept [][]int) (*Compacted[T], error) {
	held, err := heldChannels(net, params, kept)
	if err != nil {
		return nil, err
	}
	r := newRemoval(net, params, held)
	c := &Compacted[T]{Origins: r.origins(), removal: r}
	c.Network = r.network(c.Origins)
	if err := c.Network.Check(); err != nil {
		return nil, err
	}
	c.Params = NewParams[T](c.Network, nil)
	return c, r.copyValues(c)
}

// CheckKept returns Compact's *RemovalError for kept channels that are not
// possible.
func CheckKept[T kernel.Float](net *arch.Network, params *Params[T], kept [][]int) error {
	_, err := heldChannels(net, params, kept)
	return err
}

// heldChannels says by unit and channel what kept leaves out, having checked it.
func heldChannels[T kernel.Float](net *arch.Network, params *Params[T], kept [][]int) ([][]bool, error) {
	if len(kept) != len(net.Units) {
		return nil, &RemovalError{Reason: fmt.Sprintf("kept channels of %d units; %s has %d", len(kept), net.Name, len(net.Units))}
	}
	held := make([][]bool, len(net.Units))
	for i := range net.Units {
		u := &net.Units[i]
		held[i] = make([]bool, u.OutShape.C)
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
		for c := range held[i] {
			held[i][c] = true
		}
		previous := -1
		for _, c := range kept[i] {
			if c <= previous || c >= u.OutShape.C {
				return nil, fail("channel %d follows %d among those that are kept; they ascend, from 0 to %d", c, previous, u.OutShape.C-1)
			}
			held[i][c], previous = false, c
		}
		gamma := params.Of(i, arch.Gamma)
		for c, h := range held[i] {
			switch {
			case !h:
			case gamma == nil:
				return nil, fail("no channel can be removed, as it has no γ")
			case gamma[c] != 0:
				return nil, fail("channel %d cannot be removed: its γ is %v, not 0", c, gamma[c])
			}
		}
	}
	return held, nil
}

// Statistics returns the whole network's statistics as the compacted network's.
func (c *Compacted[T]) Statistics(whole *Statistics) *Statistics {
	s := NewStatistics(c.Network)
	for i := range c.Network.Units {
		u := &c.Network.Units[i]
		if u.BN == "" {
			continue
		}
		for n, origin := range c.Origins[i] {
			if origin != ConstantChannel {
				s.Mean[i][n], s.Var[i][n] = whole.Mean[i][origin], whole.Var[i][origin]
			} else if u.Op != arch.Convolution {
				s.Mean[i][n] = c.removal.level[u.In] // a convolution of zeros has mean 0
			}
		}
	}
	return s
}
