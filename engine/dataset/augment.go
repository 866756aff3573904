package dataset

import (
	"bnkit/engine/rng"
)

// maxShift is the largest shift by augmentation, in pixels and either direction.
const maxShift = 4

// transform is what augmentation does to one picture: mirror it horizontally, then
// move its content down by −dy and right by −dx pixels, zeros coming in.
type transform struct {
	flip   bool
	dy, dx int
}

// drawTransform draws the augmentation of a sample of a split. Block number sample of
// the epoch's stream "augment/epoch/E" decides: the top bit of word 0 mirrors, words 1
// and 2 bounded by 9 are dy+4 and dx+4. This equals padding the normalised picture by
// 4 zeros on each side and cropping at a uniformly random place.
func drawTransform(stream rng.Stream, sample int, flip bool) transform {
	words := stream.Block(uint64(sample))
	return transform{
		flip: flip && words[0]>>31 == 1,
		dy:   int(rng.Bounded(words[1], 2*maxShift+1)) - maxShift,
		dx:   int(rng.Bounded(words[2], 2*maxShift+1)) - maxShift,
	}
}

// normaliser turns pixels into a network's input.
type normaliser struct {
	channels, height, width int
	// table[c][v] is the normalised value of pixel v of channel c.
	table [][256]float32
}

func newNormaliser(s *Split, mean, std []float32) *normaliser {
	n := &normaliser{channels: s.Channels, height: s.Height, width: s.Width, table: make([][256]float32, s.Channels)}
	for c := range n.table {
		for v := range n.table[c] {
			n.table[c][v] = float32((float64(v)/255 - float64(mean[c])) / float64(std[c]))
		}
	}
	return n
}

// apply writes the normalised and transformed picture src (C×H×W) to dst (C×H×W).
func (n *normaliser) apply(dst []float32, src []uint8, t transform) {
	plane := n.height * n.width
	for c := range n.channels {
		table := &n.table[c]
		in, out := src[c*plane:(c+1)*plane], dst[c*plane:(c+1)*plane]
		if t == (transform{}) {
			lookUp(out, in, table)
			continue
		}
		// Columns lo to hi of the output have a source column.
		lo, hi := max(0, -t.dx), min(n.width, n.width-t.dx)
		for y := range n.height {
			row := out[y*n.width : (y+1)*n.width]
			from := y + t.dy
			if from < 0 || from >= n.height || lo >= hi {
				clear(row)
				continue
			}
			clear(row[:lo])
			clear(row[hi:])
			line := in[from*n.width : (from+1)*n.width]
			if t.flip {
				lookUpReversed(row[lo:hi], line[n.width-t.dx-hi:n.width-t.dx-lo], table)
			} else {
				lookUp(row[lo:hi], line[lo+t.dx:hi+t.dx], table)
			}
		}
	}
}

// lookUp sets dst[i] to the table's value for src[i]; both have the same length.
func lookUp(dst []float32, src []uint8, table *[256]float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = table[v]
	}
}

// lookUpReversed is lookUp with src read from its end.
func lookUpReversed(dst []float32, src []uint8, table *[256]float32) {
	dst = dst[:len(src)]
	last := len(src) - 1
	for i, v := range src {
		dst[last-i] = table[v]
	}
}
