package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // image.Decode reads JPEG
	_ "image/png"  // and PNG
	"io"
	"io/fs"
)

// Limits of a picture in a file, so that a damaged file cannot demand an arbitrary amount of
// memory. Each thread decodes one picture at a time. The limits admit a PNG of 48 megapixels
// with 8 bits for each colour (24 if it is interlaced), a JPEG of 64, and a progressive JPEG of
// 13, and are well above ImageNet's pictures. They also admit the 8,256 pixels for each byte
// of a PNG of one colour with 1 bit for each pixel, the most compressible picture.
const (
	maxPictureBytes  = 192 << 20 // of the decoded picture and the decoder
	maxPixelsPerByte = 1 << 14
)

// decodePicture reads a PNG or JPEG of the given number of bytes. It refuses a header that
// claims more pixels than the limits allow, before memory for them is allocated. file names
// the input in errors.
func decodePicture(r io.ReadSeeker, file string, bytes int64) (image.Image, error) {
	head, format, err := image.DecodeConfig(r)
	if err == nil && format != "png" && format != "jpeg" {
		err = image.ErrFormat // another package registered the format
	}
	if err != nil {
		return nil, pictureError(file, err)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	pixel := pixelBytes(head.ColorModel)
	switch {
	case format == "jpeg" && isProgressive(r):
		// The decoder keeps a 32-bit coefficient for each byte.
		pixel *= 5
	case format == "png" && isInterlaced(r):
		// The decoder makes a picture of each pass. Together they have every pixel once more.
		pixel *= 2
	}
	w, h := int64(head.Width), int64(head.Height)
	if limit := min(maxPictureBytes/pixel, maxPixelsPerByte*min(bytes, maxPictureBytes)); w < 1 || h < 1 || w > limit/h {
		return nil, &PictureError{file, fmt.Sprintf("want 1 to %d pixels, got a header for %d×%d in a file of %d bytes; make the picture smaller", limit, w, h, bytes)}
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	src, _, err := image.Decode(r)
	if err != nil {
		return nil, pictureError(file, err)
	}
	return src, nil
}

// pixelBytes returns the number of bytes for each pixel after decoding by packages image/png
// and image/jpeg.
func pixelBytes(m color.Model) int64 {
	switch m {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.YCbCrModel:
		return 3
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	}
	if _, paletted := m.(color.Palette); paletted {
		return 1
	}
	return 4
}

// isInterlaced reports whether a PNG is interlaced. It reads the last data byte of the chunk
// IHDR, which comes first (ISO/IEC 15948, section 11.2.2).
func isInterlaced(r io.Reader) bool {
	var head [29]byte
	_, err := io.ReadFull(r, head[:])
	return err == nil && head[28] != 0
}

// isProgressive reports whether a JPEG is progressive. It looks for the marker of the frame,
// which follows other segments (ITU-T T.81, table B.1).
func isProgressive(r io.Reader) bool {
	br := bufio.NewReader(r)
	if _, err := br.Discard(2); err != nil { // the marker of the start of the image
		return false
	}
	for {
		b, err := br.ReadByte()
		if err != nil {
			return false
		}
		if b != 0xff {
			continue // image/jpeg skips such bytes too
		}
		marker := b
		for marker == 0xff {
			if marker, err = br.ReadByte(); err != nil {
				return false
			}
		}
		switch {
		case marker == 0xc2:
			return true
		case marker == 0xc0 || marker == 0xc1 || marker == 0xda:
			return false
		case marker == 0 || marker >= 0xd0 && marker <= 0xd8: // without a length
			continue
		}
		var size [2]byte
		if _, err := io.ReadFull(br, size[:]); err != nil {
			return false
		}
		if _, err := br.Discard(max(int(size[0])<<8|int(size[1]), 2) - 2); err != nil {
			return false
		}
	}
}

// pictureError turns a decoder's error into a PictureError, and wraps an error of the file
// system.
func pictureError(file string, err error) error {
	var system *fs.PathError
	switch {
	case errors.As(err, &system):
		return fmt.Errorf("read picture: %w", err)
	case errors.Is(err, image.ErrFormat):
		return &PictureError{file, "want a PNG or JPEG picture, got something else"}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &PictureError{file, "the picture ends too early"}
	}
	return &PictureError{file, err.Error()}
}
