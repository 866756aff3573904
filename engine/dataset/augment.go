package dataset

import (
	"bnkit/engine/rng"
)

// maxShift is the largest vertical and horizontal shift by augmentation, in pixels.
const maxShift = 4

// transform describes the augmentation of one picture, in this order: add brightness to
// pixel/255 and clip to [0, 1]; normalise; mirror horizontally; move the content down
// by −dy and right by −dx pixels and fill the gap with zeros.
type transform struct {
	flip       bool
	dy, dx     int
	brightness float64
}

// drawTransform draws the augmentation of the picture with index sample in its split. stream
// is the epoch's stream "augment/epoch/E", of which the picture uses the block with number
// sample. The picture is mirrored if c.Flip and the top bit of word 0 are set. Words 1 and 2,
// bounded by 9, are dy+4 and dx+4. The brightness is (2u−1)·c.Brightness, where the top 24
// bits of word 3 give u in [0, 1).
//
// The shift equals padding the normalised picture by 4 zeros on each side and cropping at a
// uniformly random place. The brightness changes as in TensorFlow's tf.image.random_brightness
// with max_delta c.Brightness on pictures of bytes, but the result is not rounded to bytes.
func (c *LoaderConfig) drawTransform(stream rng.Stream, sample int) transform {
	words := stream.Block(uint64(sample))
	u := float64(words[3]>>8) * 0x1p-24
	return transform{
		flip:       c.Flip && words[0]>>31 == 1,
		dy:         int(rng.Bounded(words[1], 2*maxShift+1)) - maxShift,
		dx:         int(rng.Bounded(words[2], 2*maxShift+1)) - maxShift,
		brightness: float64((2*u - 1) * c.Brightness),
	}
}

// normaliser turns pixels into the input of a network.
type normaliser struct {
	channels, height, width int
	mean, std               []float32
	// table[c][v] is the normalised value of pixel v of channel c; nil if the mean is
	// per pixel.
	table [][256]float32
	// level[v] is v/255.
	level [256]float64
}

// newNormaliser returns a normaliser for the pictures of s.
func newNormaliser(s *Split, mean, std []float32) *normaliser {
	n := &normaliser{channels: s.Channels, height: s.Height, width: s.Width, mean: mean, std: std, level: levels(0)}
	if len(mean) == s.Channels {
		n.table = make([][256]float32, s.Channels)
		for c := range n.table {
			n.fill(&n.table[c], c, &n.level)
		}
	}
	return n
}

// levels returns the value, from 0 to 1, of each byte in a picture to which brightness has
// been added.
func levels(brightness float64) (level [256]float64) {
	for v := range level {
		level[v] = min(max(float64(v)/255+brightness, 0), 1)
	}
	return level
}

// fill sets table to the normalised values of the bytes of channel c.
func (n *normaliser) fill(table *[256]float32, c int, level *[256]float64) {
	for v := range table {
		table[v] = float32((level[v] - float64(n.mean[c])) / float64(n.std[c]))
	}
}

// apply writes the normalised and transformed picture src (C×H×W) to dst (C×H×W).
func (n *normaliser) apply(dst []float32, src []uint8, t transform) {
	plane := n.height * n.width
	level := &n.level
	var brighter [256]float64
	if t.brightness != 0 {
		brighter = levels(t.brightness)
		level = &brighter
	}
	var table [256]float32 // for a picture whose brightness changes
	for c := range n.channels {
		channel := pixels{bytes: src[c*plane : (c+1)*plane], level: level, std: float64(n.std[c])}
		switch {
		case n.table == nil:
			channel.mean = n.mean[c*plane : (c+1)*plane]
		case t.brightness == 0:
			channel.table = &n.table[c]
		default:
			n.fill(&table, c, level)
			channel.table = &table
		}
		out := dst[c*plane : (c+1)*plane]
		if !t.flip && t.dy == 0 && t.dx == 0 {
			channel.normalise(out, 0, false)
			continue
		}
		// Columns lo to hi of the output have a source column.
		lo, hi := max(0, -t.dx), min(n.width, n.width-t.dx)
		for y := range n.height {
			row := out[y*n.width : (y+1)*n.width]
			srcRow := y + t.dy
			if srcRow < 0 || srcRow >= n.height || lo >= hi {
				clear(row)
				continue
			}
			clear(row[:lo])
			clear(row[hi:])
			first := lo + t.dx
			if t.flip {
				first = n.width - t.dx - hi
			}
			channel.normalise(row[lo:hi], srcRow*n.width+first, t.flip)
		}
	}
}

// pixels is one channel of a picture with its normalisation: a table if the channel has one
// mean, otherwise level, mean and std.
type pixels struct {
	bytes []uint8
	table *[256]float32
	level *[256]float64
	mean  []float32
	std   float64
}

// normalise sets dst to the normalised pixels from position first on, in reverse order if
// mirrored.
func (p *pixels) normalise(dst []float32, first int, mirrored bool) {
	src := p.bytes[first : first+len(dst)]
	last := len(src) - 1
	switch {
	case p.table == nil:
		for i, v := range src {
			j := i
			if mirrored {
				j = last - i
			}
			dst[j] = float32((p.level[v] - float64(p.mean[first+i])) / p.std)
		}
	case mirrored:
		for i, v := range src {
			dst[last-i] = p.table[v]
		}
	default:
		for i, v := range src {
			dst[i] = p.table[v]
		}
	}
}
