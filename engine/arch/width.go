package arch

import (
	"fmt"
	"math"
)

// maxChannels is the most that a unit can have: what the widest network that
// has a name ends in.
const maxChannels = 4 * maxWidth

// widen multiplies the channels of every convolution, rounded, by a width
// (MobileNets' multiplier: Howard et al. 2017, section 3.3). All that read a
// unit see what comes of it; which units there are stays the same.
func (n *Network) widen(width float64) error {
	widest := 0
	for i := range n.Units {
		widest = max(widest, n.Units[i].OutShape.C)
	}
	if !(width > 0) || math.Round(width*float64(widest)) > maxChannels {
		return &Error{Name: n.Name, Option: "width", Reason: fmt.Sprintf("width %v; numbers above 0 and up to %.4g are possible", width, maxChannels/float64(widest))}
	}
	for i := range n.Units {
		u := &n.Units[i]
		if u.In != Picture {
			u.InShape.C = n.Units[u.In].OutShape.C
		}
		if u.Op == Convolution {
			u.OutShape.C = max(int(math.Round(width*float64(u.OutShape.C))), 1)
		} else {
			u.OutShape.C = u.InShape.C
		}
		if u.Add.Kind == Mapped {
			u.Add.Map = n.Options.Shortcut.optionA(n.Units[u.Add.From].OutShape.C, u.OutShape.C)
		}
	}
	return nil
}
