package plots

import (
	"image/color"
	"math"
)

// colors is the palette of Okabe and Ito, which people with any colour vision can distinguish.
// Yellow is left out because it is faint on white.
var colors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermillion
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, // green
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // purple
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
	color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky blue
	color.RGBA{0x00, 0x00, 0x00, 0xff},
}

const (
	vermillion = 1 // indices of colors
	green      = 2
	orange     = 4
)

var (
	darkGrey  = color.Gray{0x50}
	grey      = color.Gray{0x90}
	lightGrey = color.Gray{0xdd}
)

// shade returns the colour of a level from 0 to 1: white to light blue to blue to nearly black.
// Its lightness falls steadily.
func shade(level float64) color.Color {
	stops := []color.RGBA{{0xff, 0xff, 0xff, 0xff}, {0x9e, 0xca, 0xe9, 0xff}, {0x00, 0x72, 0xb2, 0xff}, {0x00, 0x1f, 0x3f, 0xff}}
	position := max(0, min(level, 1)) * float64(len(stops)-1)
	k := min(int(position), len(stops)-2)
	return mix(stops[k], stops[k+1], position-float64(k))
}

// diverging returns the colour of a level from -1 to 1: blue to white to vermillion.
func diverging(level float64) color.Color {
	end := colors[vermillion]
	if level < 0 {
		end = colors[0]
	}
	return mix(color.RGBA{0xff, 0xff, 0xff, 0xff}, end.(color.RGBA), math.Abs(level))
}

// mix returns the mean of a and b, in which b has the weight share.
func mix(a, b color.RGBA, share float64) color.Color {
	channel := func(a, b uint8) uint8 { return uint8(float64(a)*(1-share) + float64(b)*share + 0.5) }
	return color.RGBA{channel(a.R, b.R), channel(a.G, b.G), channel(a.B, b.B), 0xff}
}
