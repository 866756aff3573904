// Pictures makes an image folder for trying an ImageNet network. It has four classes
// of stripes, which differ in direction and colour. The pictures are noisy and have
// different sizes above 224×224. Every second one is a JPEG file, the others are PNG
// files.
//
//	go run ./engine/testdata/pictures.go FOLDER [TRAIN [TEST]]
//
// It writes TRAIN pictures of each class (default 16) to FOLDER/train, and TEST
// pictures of each class (default 4) to FOLDER/test. They are the same every time.
package main

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// classes lists the classes: the direction of the stripes in degrees, and the colour.
var classes = []struct {
	name      string
	direction float64
	colour    [3]float64
}{
	{"falling-green", 45, [3]float64{0.3, 0.9, 0.4}},
	{"level-red", 90, [3]float64{0.9, 0.3, 0.3}},
	{"rising-yellow", 135, [3]float64{0.9, 0.8, 0.2}},
	{"upright-blue", 0, [3]float64{0.2, 0.4, 0.9}},
}

func main() {
	counts := []int{16, 4}
	for i, arg := range os.Args[min(2, len(os.Args)):] {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || i >= len(counts) {
			usage()
		}
		counts[i] = n
	}
	if len(os.Args) < 2 {
		usage()
	}
	for i, split := range []string{"train", "test"} {
		if err := write(filepath.Join(os.Args[1], split), counts[i], uint64(i)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: go run ./engine/testdata/pictures.go FOLDER [TRAIN [TEST]]")
	os.Exit(2)
}

// write makes a split of n pictures of each class.
func write(folder string, n int, split uint64) error {
	for class, c := range classes {
		dir := filepath.Join(folder, c.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for i := range n {
			m := stripes(class, rand.New(rand.NewPCG(split, uint64(class*n+i))))
			name, encode := ".png", func(f *os.File) error { return png.Encode(f, m) }
			if i%2 == 1 {
				name, encode = ".jpg", func(f *os.File) error { return jpeg.Encode(f, m, &jpeg.Options{Quality: 90}) }
			}
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%04d%s", i, name)))
			if err != nil {
				return err
			}
			if err := errors.Join(encode(f), f.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

// stripes draws a picture of a class. Its size, the width, position and exact direction
// of the stripes, and the noise are random.
func stripes(class int, random *rand.Rand) image.Image {
	c := classes[class]
	m := image.NewRGBA(image.Rect(0, 0, 240+random.IntN(160), 240+random.IntN(160)))
	angle := (c.direction + 20*(random.Float64()-0.5)) * math.Pi / 180
	x, y, phase := math.Cos(angle), math.Sin(angle), 2*math.Pi*random.Float64()
	frequency := 2 * math.Pi / (15 + 50*random.Float64())
	for v := range m.Rect.Dy() {
		for u := range m.Rect.Dx() {
			light := 0.5 + 0.4*math.Sin(phase+frequency*(x*float64(u)+y*float64(v)))
			shade := func(i int) uint8 {
				return uint8(255 * min(light*c.colour[i]+0.2*random.Float64(), 1))
			}
			m.SetRGBA(u, v, color.RGBA{shade(0), shade(1), shade(2), 255})
		}
	}
	return m
}
