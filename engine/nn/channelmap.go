package nn

import (
	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// subsample writes every second row and column of src, an image of shape from, to dst,
// an image of shape to. Channels that src lacks become zero.
func subsample[T kernel.Float](dst, src []T, to, from arch.Shape, lanes int) {
	clear(dst)
	for block := range (from.C + lanes - 1) / lanes {
		for h := range to.H {
			for w := range to.W {
				copy(dst[((block*to.H+h)*to.W+w)*lanes:][:lanes],
					src[((block*from.H+2*h)*from.W+2*w)*lanes:][:lanes])
			}
		}
	}
}

// mapChannels applies a channel map to src, an image of shape from, and writes the
// result to dst, an image of shape to. A plain loop over channels is fast enough,
// because the only common map, that of option A, is left to subsample.
func mapChannels[T kernel.Float](dst, src []T, m *arch.ChannelMap, to, from arch.Shape, lanes int) {
	clear(dst)
	for c, source := range m.Source {
		if source == arch.NoSource {
			continue
		}
		for h := range to.H {
			dstRow, srcRow := element(to, c, h, lanes), element(from, source, h*m.Stride, lanes)
			for w := range to.W {
				dst[dstRow+w*lanes] = src[srcRow+w*m.Stride*lanes]
			}
		}
	}
}

// mapGradient adds g, the gradient of mapChannels' dst, to dx, the gradient of its
// src. Gradients of channels with the same source are added in channel order.
func mapGradient[T kernel.Float](dx, g []T, m *arch.ChannelMap, to, from arch.Shape, lanes int) {
	for c, source := range m.Source {
		if source == arch.NoSource {
			continue
		}
		for h := range to.H {
			dstRow, srcRow := element(to, c, h, lanes), element(from, source, h*m.Stride, lanes)
			for w := range to.W {
				dx[srcRow+w*m.Stride*lanes] += g[dstRow+w*lanes]
			}
		}
	}
}

// element returns the index of channel c's first element of row h in an image whose
// channels lie in blocks of lanes.
func element(s arch.Shape, c, h, lanes int) int {
	return (c/lanes*s.H+h)*s.W*lanes + c%lanes
}
