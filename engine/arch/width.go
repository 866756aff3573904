package arch

import (
	"fmt"
	"math"
)

// maxChannels is the largest number of channels of a unit. The last stage of the widest
// named network has this number.
const maxChannels = 4 * maxWidth

// applyWidth multiplies the numbers of output channels of all convolutions by a width and
// rounds them (the multiplier of MobileNets: Howard et al. 2017, section 3.3). It adapts the
// shapes of all units that read them. It neither adds nor removes units.
func (n *Network) applyWidth(width float64) error {
	widest := 0
	for i := range n.Units {
		widest = max(widest, n.Units[i].OutShape.C)
	}
	if !(width > 0) || math.Round(width*float64(widest)) > maxChannels {
		return &Error{Name: n.Name, Option: "width", Reason: fmt.Sprintf("width %v is out of range; use a number above 0 and up to %.4g", width, maxChannels/float64(widest))}
	}
	n.SetChannels(func(i int) int { return max(int(math.Round(width*float64(n.Units[i].OutShape.C))), 1) })
	return nil
}

// SetChannels gives each convolution the number of output channels that channels returns for
// the index of its unit, and adapts the shapes of all readers. Mapped residuals get the map of
// n.Options.Shortcut. SetChannels goes through the units in order, so channels may read the
// shapes of earlier units. Check may refuse the result.
func (n *Network) SetChannels(channels func(i int) int) {
	for i := range n.Units {
		u := &n.Units[i]
		if u.In != Picture {
			u.InShape.C = n.Units[u.In].OutShape.C
		}
		if u.Op == Convolution {
			u.OutShape.C = channels(i)
		} else {
			u.OutShape.C = u.InShape.C
		}
		if u.Add.Kind == Mapped {
			u.Add.Map = n.Options.Shortcut.optionA(n.Units[u.Add.From].OutShape.C, u.OutShape.C)
		}
	}
}
