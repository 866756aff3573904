package dataset

import (
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/image/draw"

	"bnkit/engine/rng"
)

// Crop is a method of turning the pictures of an image folder, which can have any size, into
// squares.
type Crop string

// The crops. Pictures are resized with an antialiased triangle filter.
const (
	// RandomResized cuts out, with augmentation, a random part of 8 to 100% of the
	// picture's area and an aspect ratio of 3:4 to 4:3, and resizes it to the square
	// (Szegedy et al. 2015, section 6). Without augmentation, it resizes the shorter
	// side to 8/7 of the square's side, and cuts out the centre: 256 and 224 pixels for
	// ImageNet.
	RandomResized Crop = "random-resized"
	// CentreCrop resizes the shorter side to the square's side and cuts out the centre,
	// in training too. It is meant for small pictures, which augmentation then shifts
	// as in other data sets.
	CentreCrop Crop = "centre"
)

// ParseCrop returns the crop with the given name.
func ParseCrop(name string) (Crop, error) {
	switch c := Crop(name); c {
	case RandomResized, CentreCrop:
		return c, nil
	}
	return "", fmt.Errorf("%q is neither %s nor %s", name, RandomResized, CentreCrop)
}

// decoder reads pictures of a split into memory that it reuses.
type decoder struct {
	split *Split
	out   *image.RGBA
	bytes []uint8
}

func newDecoder(s *Split) *decoder {
	return &decoder{split: s, out: image.NewRGBA(image.Rect(0, 0, s.Width, s.Height)), bytes: make([]uint8, s.imageSize())}
}

// Picture returns the C×H×W pixels of picture i without augmentation. They alias the split's
// memory, or are read from the file. The error is a [*PictureError], or an error of the file
// system.
func (s *Split) Picture(i int) ([]uint8, error) {
	if s.Files == nil {
		return s.Image(i), nil
	}
	return newDecoder(s).picture(i, nil)
}

// picture returns the C×H×W pixels of picture i, valid until the next call. If random is not
// nil and the split's crop is RandomResized, they show a random part of the picture, chosen by
// the blocks of the stream from 16·i on; otherwise they show its centre. Grey becomes three
// equal channels, 16 bits are reduced to the upper 8, CMYK is converted to RGB, and transparent
// pixels are blended with black. Orientation tags of cameras are ignored.
func (d *decoder) picture(i int, random *rng.Stream) ([]uint8, error) {
	s := d.split
	file := filepath.Join(s.dir, filepath.FromSlash(s.Files[i].Name))
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	src, err := decodePicture(f, file, s.Files[i].Size)
	f.Close()
	if err != nil {
		return nil, err
	}
	srcRect := src.Bounds()
	outRect := d.out.Bounds()
	switch {
	case random != nil && s.crop == RandomResized:
		srcRect = randomCrop(*random, i, srcRect.Dx(), srcRect.Dy()).Add(srcRect.Min)
	case s.crop == RandomResized:
		srcRect = limitAspect(srcRect)
		outRect = centred(srcRect.Dx(), srcRect.Dy(), s.Width, (8*s.Width+3)/7)
	default:
		srcRect = limitAspect(srcRect)
		outRect = centred(srcRect.Dx(), srcRect.Dy(), s.Width, s.Width)
	}
	if srcRect.Size() == outRect.Size() {
		draw.Draw(d.out, outRect, src, srcRect.Min, draw.Src) // an exact copy
	} else {
		draw.BiLinear.Scale(d.out, outRect, src, srcRect, draw.Src, nil)
	}
	plane := s.Height * s.Width
	for p := range plane {
		rgba := d.out.Pix[4*p : 4*p+4]
		d.bytes[p], d.bytes[plane+p], d.bytes[2*plane+p] = rgba[0], rgba[1], rgba[2]
	}
	return d.bytes, nil
}

// limitAspect returns the central part of r whose longer side is at most four times the
// shorter one. A centre crop shows only the square in its middle, and four times is more than
// the resizing filter reaches from there. Resizing the rest would only take memory.
func limitAspect(r image.Rectangle) image.Rectangle {
	w, h := r.Dx(), r.Dy()
	if w > 4*h {
		r.Min.X += (w - 4*h) / 2
		r.Max.X = r.Min.X + 4*h
	}
	if h > 4*w {
		r.Min.Y += (h - 4*w) / 2
		r.Max.Y = r.Min.Y + 4*w
	}
	return r
}

// centred returns the rectangle that a picture of w×h covers when its shorter side is resized
// to shortSide and it is centred on a square of the given size. The origin is the top left
// corner of the square.
func centred(w, h, size, shortSide int) image.Rectangle {
	dw, dh := shortSide, shortSide
	if w > h {
		dw = (shortSide*w + h/2) / h
	} else {
		dh = (shortSide*h + w/2) / w
	}
	left, top := (dw-size)/2, (dh-size)/2
	return image.Rect(-left, -top, dw-left, dh-top)
}

// randomCrop returns a random part of a picture of w×h. It chooses an area and an aspect ratio
// (uniform in its logarithm) up to ten times, until a part of this size fits, and then its
// position. If none fits, it returns the largest centred part with a permitted ratio.
func randomCrop(stream rng.Stream, sample, w, h int) image.Rectangle {
	for try := range 10 {
		word := stream.Block(16*uint64(sample) + uint64(try))
		area := float64(w*h) * (0.08 + float64(0.92*(float64(word[0]>>8)*0x1p-24)))
		ratio := cropRatio(word[1])
		cw, ch := int(math.Round(math.Sqrt(area*ratio))), int(math.Round(math.Sqrt(area/ratio)))
		if cw < 1 || ch < 1 || cw > w || ch > h {
			continue
		}
		left, top := int(rng.Bounded(word[2], uint32(w-cw+1))), int(rng.Bounded(word[3], uint32(h-ch+1)))
		return image.Rect(left, top, left+cw, top+ch)
	}
	cw, ch := w, h
	switch {
	case 4*w < 3*h:
		ch = (4*w + 1) / 3
	case 3*w > 4*h:
		cw = (4*h + 1) / 3
	}
	left, top := (w-cw)/2, (h-ch)/2
	return image.Rect(left, top, left+cw, top+ch)
}

// cropRatio returns ¾·(16/9)^u, where the top 24 bits of a word give u in [0, 1):
// a ratio from 3:4 to 4:3, uniform in its logarithm. It uses square roots because, unlike
// exponentials, they have the same bits on every platform.
func cropRatio(word uint32) float64 {
	ratio, factor := 0.75, 16.0/9
	for bit := uint32(1 << 31); bit >= 1<<8; bit >>= 1 {
		factor = math.Sqrt(factor)
		if word&bit != 0 {
			ratio *= factor
		}
	}
	return ratio
}
