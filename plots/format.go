package plots

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Format is the format of pictures. It is also the extension of their files.
type Format string

// The formats of pictures.
const (
	PNG Format = "png"
	SVG Format = "svg"
)

// FormatError reports the name of a format that does not exist.
type FormatError struct{ Name string }

func (e *FormatError) Error() string {
	return fmt.Sprintf("pictures have no format %q; use png or svg", e.Name)
}

// WrongUsage reports that the choice of the format is at fault.
func (e *FormatError) WrongUsage() bool { return true }

// ParseFormat returns the format of a name. The error is a *FormatError.
func ParseFormat(name string) (Format, error) {
	for _, f := range []Format{PNG, SVG} {
		if name == string(f) {
			return f, nil
		}
	}
	return "", &FormatError{name}
}

// render returns the bytes of a picture of the given size on a white background. paint draws it.
func (f Format) render(width, height vg.Length, paint func(vg.CanvasSizer)) ([]byte, error) {
	var b bytes.Buffer
	if f == SVG {
		c := vgsvg.NewWith(vgsvg.UseWH(width, height))
		whole := draw.New(c)
		fill(&whole, color.White, 0, 0, width, height)
		paint(c)
		if _, err := c.WriteTo(&b); err != nil {
			return nil, err
		}
		// Viewers without the font need another one with the same widths.
		return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
	}
	c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
	paint(c)
	_, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(&b)
	return b.Bytes(), err
}
