package nn

import (
	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// mapChannels writes one image's src, shaped from, to dst, shaped to, as a
// channel map says. It is a plain loop over channels: only option A's map, which
// subsample does a block of channels at a time, is common.
func mapChannels[T kernel.Float](dst, src []T, m *arch.ChannelMap, to, from arch.Shape, lanes int) {
	clear(dst)
	for c, source := range m.Source {
		if source == arch.NoSource {
			continue
		}
		for h := range to.H {
			at, row := element(to, c, h, lanes), element(from, source, h*m.Stride, lanes)
			for w := range to.W {
				dst[at+w*lanes] = src[row+w*m.Stride*lanes]
			}
		}
	}
}

// mapGradient adds the gradient g of what mapChannels wrote to that of its
// source, dx. Where several channels come from one source, their gradients are
// added in the channels' order.
func mapGradient[T kernel.Float](dx, g []T, m *arch.ChannelMap, to, from arch.Shape, lanes int) {
	for c, source := range m.Source {
		if source == arch.NoSource {
			continue
		}
		for h := range to.H {
			at, row := element(to, c, h, lanes), element(from, source, h*m.Stride, lanes)
			for w := range to.W {
				dx[row+w*m.Stride*lanes] += g[at+w*lanes]
			}
		}
	}
}

// element is where a channel's row h begins in an image whose channels are in
// blocks of lanes.
func element(s arch.Shape, c, h, lanes int) int {
	return (c/lanes*s.H+h)*s.W*lanes + c%lanes
}
