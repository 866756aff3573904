package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bnkit/checkpoint/alloctest"
	"bnkit/engine/rng"
)

func encodePNG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fileSplit returns a split of files with the given content.
func fileSplit(t testing.TB, side int, crop Crop, files ...[]byte) *Split {
	t.Helper()
	s := &Split{Channels: 3, Height: side, Width: side, dir: t.TempDir(), crop: crop}
	for i, content := range files {
		name := string(rune('a'+i)) + ".png"
		writeFile(t, content, s.dir, name)
		s.Files = append(s.Files, File{Name: name, Size: int64(len(content))})
	}
	return s
}

// ramp returns a picture in which red grows by 2 from column to column and green by 3 from
// row to row, so that the colours of a resized part show its position. A symmetric filter that
// sums to 1 does not change a ramp, except near the edges.
func ramp(w, h int) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(2 * x), uint8(3 * y), 77, 255})
		}
	}
	return m
}

// checkRamp compares a picture with the part of a ramp that it should show: output
// column j shows position x0 + (j+½)·dx of the source, in pixels, whose centres are at ½. It
// skips pixels near the edges of the part or of the ramp.
func checkRamp(t *testing.T, picture []uint8, side int, x0, y0, dx, dy float64, w, h int) {
	t.Helper()
	margin := 2 + math.Max(dx, dy)
	compared := 0
	for i := range side {
		for j := range side {
			x, y := x0+(float64(j)+0.5)*dx, y0+(float64(i)+0.5)*dy
			if x < x0+margin || x > x0+float64(side)*dx-margin || y < y0+margin || y > y0+float64(side)*dy-margin ||
				x < margin || x > float64(w)-margin || y < margin || y > float64(h)-margin {
				continue
			}
			compared++
			for c, want := range []float64{2 * (x - 0.5), 3 * (y - 0.5), 77} {
				if got := picture[(c*side+i)*side+j]; math.Abs(float64(got)-want) > 1.01 {
					t.Fatalf("channel %d, row %d, column %d: %d, want %.2f", c, i, j, got, want)
				}
			}
		}
	}
	if compared < side*side/4 {
		t.Errorf("%d of %d pixels were compared, want at least a quarter", compared, side*side)
	}
}

func TestCentreCrops(t *testing.T) {
	for _, size := range [][2]int{{100, 60}, {60, 80}, {48, 48}, {120, 40}} {
		w, h := size[0], size[1]
		for _, crop := range []Crop{RandomResized, CentreCrop} {
			const side = 28
			shorter := side
			if crop == RandomResized {
				shorter = 32 // 8/7 of 28
			}
			s := fileSplit(t, side, crop, encodePNG(t, ramp(w, h)))
			picture, err := newDecoder(s).picture(0, nil)
			if err != nil {
				t.Fatal(err)
			}
			scale := float64(min(w, h)) / float64(shorter)
			// The longer side and the origin of the centre are rounded to pixels.
			dw, dh := math.Round(float64(w)/scale), math.Round(float64(h)/scale)
			dx, dy := float64(w)/dw, float64(h)/dh
			checkRamp(t, picture, side, math.Floor((dw-side)/2)*dx, math.Floor((dh-side)/2)*dy, dx, dy, w, h)
		}
	}
}

func TestRandomCrops(t *testing.T) {
	const w, h, side = 120, 80, 32
	stream := rng.NewStream(5, "crop/epoch/0")
	s := fileSplit(t, side, RandomResized, encodePNG(t, ramp(w, h)))
	picture, err := newDecoder(s).picture(0, &stream)
	if err != nil {
		t.Fatal(err)
	}
	r := randomCrop(stream, 0, w, h)
	checkRamp(t, picture, side, float64(r.Min.X), float64(r.Min.Y), float64(r.Dx())/side, float64(r.Dy())/side, w, h)

	// The share of the area is uniform from 0.08 to 1, except that parts must fit. The
	// mean logarithm of the ratio is 0. Some parts come within 4 pixels of each edge.
	const n = 4000
	var area, logs float64
	smallest, edges := 1.0, [4]bool{}
	for i := range n {
		r := randomCrop(stream, i, 512, 512)
		if !r.In(image.Rect(0, 0, 512, 512)) {
			t.Fatalf("part %v lies outside the picture of 512×512", r)
		}
		share := float64(r.Dx()*r.Dy()) / (512 * 512)
		ratio := float64(r.Dx()) / float64(r.Dy())
		if share < 0.078 || ratio < 0.74 || ratio > 1.35 {
			t.Fatalf("part %v has %.3f of the area and ratio %.3f, want at least 0.08, and 3/4 to 4/3", r, share, ratio)
		}
		area, logs, smallest = area+share/n, logs+math.Log(ratio)/n, min(smallest, share)
		edges[0], edges[1] = edges[0] || r.Min.X < 4, edges[1] || r.Max.X > 508
		edges[2], edges[3] = edges[2] || r.Min.Y < 4, edges[3] || r.Max.Y > 508
	}
	if area < 0.45 || area > 0.55 || math.Abs(logs) > 0.015 || smallest > 0.09 || edges != [4]bool{true, true, true, true} {
		t.Errorf("got mean area %.3f, mean logarithm of the ratio %.4f, smallest area %.3f and edges %v; want about 0.5, 0, 0.08 and all true", area, logs, smallest, edges)
	}
	for _, c := range []struct{ w, h, maxWidth, maxHeight int }{{1, 1, 1, 1}, {1000, 1, 1, 1}, {1, 1000, 1, 1}, {300, 30, 40, 30}} {
		r := randomCrop(stream, 1, c.w, c.h)
		if !r.In(image.Rect(0, 0, c.w, c.h)) || r.Empty() || r.Dx() > c.maxWidth || r.Dy() > c.maxHeight {
			t.Errorf("the part of %d×%d is %v, want one inside it of at most %d×%d", c.w, c.h, r, c.maxWidth, c.maxHeight)
		}
	}
}

func TestCropRatio(t *testing.T) {
	for _, word := range []uint32{0, 1 << 31, 0xffffffff, 0x12345678, 0xdeadbeef} {
		u := float64(word>>8) / (1 << 24)
		if got, want := cropRatio(word), math.Exp(math.Log(3./4)+u*math.Log(16./9)); math.Abs(got-want) > 1e-14 {
			t.Errorf("%08x: %v, want %v", word, got, want)
		}
	}
}

// cmykJPEG returns a baseline JPEG of 16×16 pixels of one colour, inverted and marked as
// Adobe's programs do (ITU-T T.81; Adobe Technical Note 5116). Package image/jpeg cannot
// write such files.
func cmykJPEG(cmyk ...int) []byte {
	b := []byte{0xff, 0xd8, 0xff, 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0}
	b = append(b, 0xff, 0xdb, 0, 67, 0) // every quantiser is 8, so that DC is value − 128
	b = append(b, bytes.Repeat([]byte{8}, 64)...)
	b = append(b, 0xff, 0xc0, 0, 20, 8, 0, 16, 0, 16, 4)
	for id := range 4 {
		b = append(b, byte(id+1), 0x11, 0)
	}
	// DC: categories 0 to 7 in 4 bits each. AC: the end of the block in 1 bit.
	b = append(b, 0xff, 0xc4, 0, 27, 0x00, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7)
	b = append(b, 0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, 0xff, 0xda, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0)
	code := ""
	for mcu := range 4 {
		for _, v := range cmyk {
			diff := 255 - v - 128
			if mcu > 0 {
				diff = 0 // the block has the colour of the one before
			}
			category := bits.Len(uint(max(diff, -diff)))
			if diff < 0 {
				diff += 1<<category - 1
			}
			code += fmt.Sprintf("%04b", category)
			if category > 0 {
				code += fmt.Sprintf("%0*b", category, diff)
			}
			code += "0"
		}
	}
	for code += "1111111"; len(code) >= 8; code = code[8:] {
		v, _ := strconv.ParseUint(code[:8], 2, 8)
		if b = append(b, byte(v)); v == 0xff {
			b = append(b, 0)
		}
	}
	return append(b, 0xff, 0xd9)
}

// TestColourTypes checks that every colour type becomes RGB of 8 bits.
func TestColourTypes(t *testing.T) {
	fill := func(m interface {
		image.Image
		Set(x, y int, c color.Color)
	}, c color.Color) image.Image {
		for i := range 16 * 16 {
			m.Set(i%16, i/16, c)
		}
		return m
	}
	r := image.Rect(0, 0, 16, 16)
	jpegOf := func(m image.Image) []byte {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 100}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, c := range map[string]struct {
		content   []byte
		want      [3]int
		tolerance int
	}{
		"RGB PNG":         {encodePNG(t, fill(image.NewNRGBA(r), color.NRGBA{10, 20, 30, 255})), [3]int{10, 20, 30}, 0},
		"grey PNG":        {encodePNG(t, fill(image.NewGray(r), color.Gray{99})), [3]int{99, 99, 99}, 0},
		"16-bit grey PNG": {encodePNG(t, fill(image.NewGray16(r), color.Gray16{0x6380})), [3]int{0x63, 0x63, 0x63}, 0},
		"16-bit PNG":      {encodePNG(t, fill(image.NewNRGBA64(r), color.NRGBA64{0x0a12, 0x14ff, 0x1e00, 0xffff})), [3]int{0x0a, 0x14, 0x1e}, 0},
		"paletted PNG":    {encodePNG(t, fill(image.NewPaletted(r, color.Palette{color.Black, color.NRGBA{1, 2, 3, 255}}), color.NRGBA{1, 2, 3, 255})), [3]int{1, 2, 3}, 0},
		"translucent PNG": {encodePNG(t, fill(image.NewNRGBA(r), color.NRGBA{200, 100, 50, 51})), [3]int{40, 20, 10}, 0},
		"JPEG":            {jpegOf(fill(image.NewNRGBA(r), color.NRGBA{200, 100, 50, 255})), [3]int{200, 100, 50}, 2},
		"grey JPEG":       {jpegOf(fill(image.NewGray(r), color.Gray{99})), [3]int{99, 99, 99}, 1},
		"CMYK JPEG":       {cmykJPEG(51, 102, 153, 25), [3]int{184, 138, 92}, 2}, // (255−C)(255−K)/255 of 51, 102, 153, 25
	} {
		for _, side := range []int{16, 8} { // copied and resized
			picture, err := newDecoder(fileSplit(t, side, CentreCrop, c.content)).picture(0, nil)
			if err != nil {
				t.Errorf("%s: got error %v, want none", name, err)
				continue
			}
			for i, v := range picture {
				if d := int(v) - c.want[i/(side*side)]; d > c.tolerance+16/side-1 || -d > c.tolerance+16/side-1 {
					t.Errorf("%s, side %d, channel %d: %d, want %d±%d", name, side, i/(side*side), v, c.want[i/(side*side)], c.tolerance+16/side-1)
					break
				}
			}
		}
	}
}

// pngHeader returns the 33-byte header of a PNG that claims the given size.
func pngHeader(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
	b = binary.BigEndian.AppendUint32(b, w)
	b = binary.BigEndian.AppendUint32(b, h)
	b = append(b, 8, 2, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
}

func TestDecodeRefuses(t *testing.T) {
	good := encodePNG(t, ramp(30, 20))
	var photo, animation bytes.Buffer
	if err := errors.Join(jpeg.Encode(&photo, ramp(30, 20), nil), gif.Encode(&animation, ramp(30, 20), nil)); err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)/2] ^= 0x55
	for name, content := range map[string][]byte{
		"nothing":         {},
		"text":            []byte("a picture"),
		"a GIF":           animation.Bytes(),
		"half a PNG":      good[:len(good)/2],
		"a damaged PNG":   damaged,
		"half a JPEG":     photo.Bytes()[:photo.Len()/2],
		"a JPEG's header": photo.Bytes()[:10],
		"zero rows":       pngHeader(5, 0),
		"a huge size":     pngHeader(1<<31-1, 1<<31-1),
		"too many pixels": pngHeader(8000, 8000),
		"only a header":   pngHeader(8, 8),
	} {
		var e *PictureError
		if _, err := decodePicture(bytes.NewReader(content), "x.png", int64(len(content))); !errors.As(err, &e) || e.Path != "x.png" {
			t.Errorf("%s: got error %v, want a *PictureError of x.png", name, err)
		}
	}
}

// TestPictureLimits checks that a picture is refused by its header alone if decoding it would
// take too much memory.
func TestPictureLimits(t *testing.T) {
	png := func(w, h uint32, depth, colourType byte) []byte {
		b := pngHeader(w, h)
		b[24], b[25] = depth, colourType
		return binary.BigEndian.AppendUint32(b[:29], crc32.ChecksumIEEE(b[12:29]))
	}
	// The comment before the frame holds the marker of a progressive frame, which must be skipped.
	jpeg := func(w, h int, marker byte, components int) []byte {
		b := []byte{0xff, 0xd8, 0xff, 0xfe, 0, 4, 0xff, 0xc2, 0xff, marker, 0, byte(8 + 3*components), 8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), byte(components)}
		for id := range components {
			b = append(b, byte(id+1), 0x11, 0)
		}
		return append(b, 0xff, 0xda, 0, 12) // the scan, whose content is missing
	}
	for _, c := range []struct {
		name    string
		content []byte
		refused bool
	}{
		{"16-bit PNG of 67 megapixels", png(8192, 8192, 16, 2), true},
		{"16-bit PNG of 25 megapixels", png(5000, 5000, 16, 2), false},
		{"8-bit PNG of 48 megapixels", png(8000, 6000, 8, 2), false},
		{"8-bit PNG of 67 megapixels", png(8192, 8192, 8, 2), true},
		{"16-bit grey PNG of 67 megapixels", png(8192, 8192, 16, 0), false},
		{"JPEG of 64 megapixels", jpeg(8000, 8000, 0xc0, 3), false},
		{"JPEG of 81 megapixels", jpeg(9000, 9000, 0xc0, 3), true},
		{"progressive JPEG of 12 megapixels", jpeg(4000, 3000, 0xc2, 3), false},
		{"progressive JPEG of 24 megapixels", jpeg(6000, 4000, 0xc2, 3), true},
		{"progressive grey JPEG of 36 megapixels", jpeg(6000, 6000, 0xc2, 1), false},
	} {
		_, err := decodePicture(bytes.NewReader(c.content), "x", 1<<20)
		var e *PictureError
		if !errors.As(err, &e) || strings.Contains(e.Reason, "make the picture smaller") != c.refused {
			t.Errorf("%s: got error %v; whether it asks for a smaller picture must be %v", c.name, err, c.refused)
		}
	}
}

// TestLongPictures decodes pictures of extreme aspect ratios, of which only the middle is
// resized.
func TestLongPictures(t *testing.T) {
	for _, size := range [][2]int{{4000, 1}, {1, 4000}, {3000, 20}} {
		m := image.NewGray(image.Rect(0, 0, size[0], size[1]))
		for i := range m.Pix {
			m.Pix[i] = 50
		}
		for _, crop := range []Crop{RandomResized, CentreCrop} {
			picture, err := newDecoder(fileSplit(t, 16, crop, encodePNG(t, m))).picture(0, nil)
			if err != nil || slices.Min(picture) < 49 || slices.Max(picture) > 50 {
				t.Errorf("size %v, %s: got pixels %v, %v; want 49 or 50", size, crop, picture, err)
			}
		}
	}
}

// FuzzDecodePicture checks that decodePicture allocates at most 4 MiB plus twice what its limits
// allow, that a picture has the size in its header, and that every error is a PictureError.
func FuzzDecodePicture(f *testing.F) {
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, ramp(9, 7), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(encodePNG(f, ramp(9, 7)))
	f.Add(photo.Bytes())
	f.Add(pngHeader(100, 100))
	f.Fuzz(func(t *testing.T, content []byte) {
		var m image.Image
		var err error
		most := 2 * min(maxPictureBytes, 8*maxPixelsPerByte*len(content)) // some JPEGs are converted to another colour model
		alloctest.AtMost(t, 4<<20+most, func() { m, err = decodePicture(bytes.NewReader(content), "x", int64(len(content))) })
		var e *PictureError
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatalf("got error %v, want a *PictureError", err)
			}
			return
		}
		head, _, err := image.DecodeConfig(bytes.NewReader(content))
		if err != nil || m.Bounds().Dx() != head.Width || m.Bounds().Dy() != head.Height {
			t.Errorf("the picture has %d×%d pixels, want %d×%d as in its header (error %v)", m.Bounds().Dx(), m.Bounds().Dy(), head.Width, head.Height, err)
		}
	})
}

// BenchmarkPicture reads a JPEG of 500×375 pixels, a size that is common in ImageNet.
func BenchmarkPicture(b *testing.B) {
	var photo bytes.Buffer
	m := image.NewRGBA(image.Rect(0, 0, 500, 375))
	noise := rng.NewStream(1, "photo")
	for i := range m.Pix {
		m.Pix[i] = uint8(i/16%128) + uint8(noise.Uint32(uint64(i))>>26)
	}
	if err := jpeg.Encode(&photo, m, nil); err != nil {
		b.Fatal(err)
	}
	d := newDecoder(fileSplit(b, 224, RandomResized, photo.Bytes()))
	stream := rng.NewStream(1, "crop/epoch/0")
	for _, random := range []*rng.Stream{nil, &stream} {
		b.Run(fmt.Sprintf("random=%v", random != nil), func(b *testing.B) {
			for b.Loop() {
				if _, err := d.picture(0, random); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
