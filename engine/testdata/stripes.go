// Stripes makes a small data set in MNIST's IDX format, for trying a network on a slow
// computer. It has four classes of grey stripes with noise, which differ in direction.
//
//	go run ./engine/testdata/stripes.go FOLDER TRAIN TEST SIDE
//
// It writes TRAIN training pictures and TEST test pictures of SIDE×SIDE pixels to
// FOLDER. They are the same every time.
package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// Magic numbers of IDX files: unsigned bytes in three dimensions and in one.
const (
	imagesMagic = 0x0803
	labelsMagic = 0x0801
)

func main() {
	if len(os.Args) != 5 {
		usage()
	}
	var numbers [3]int
	for i := range numbers {
		n, err := strconv.Atoi(os.Args[2+i])
		if err != nil || n < 1 || n > 1<<16 {
			usage()
		}
		numbers[i] = n
	}
	side := numbers[2]
	err := os.MkdirAll(os.Args[1], 0o777)
	for i, split := range []string{"train", "t10k"} {
		if err == nil {
			err = write(os.Args[1], split, numbers[i], side)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: go run ./engine/testdata/stripes.go FOLDER TRAIN TEST SIDE")
	os.Exit(2)
}

// write makes the two files of a split of n pictures.
func write(folder, split string, n, side int) error {
	r := rand.New(rand.NewPCG(uint64(n), uint64(len(split))))
	images := binary.BigEndian.AppendUint32(nil, imagesMagic)
	for _, size := range []int{n, side, side} {
		images = binary.BigEndian.AppendUint32(images, uint32(size))
	}
	labels := binary.BigEndian.AppendUint32(nil, labelsMagic)
	labels = binary.BigEndian.AppendUint32(labels, uint32(n))
	for i := range n {
		label := i % 4
		labels = append(labels, byte(label))
		shift := r.IntN(4)
		for y := range side {
			for x := range side {
				position := []int{x, y, x + y, x - y + side}[label]
				pixel := 40 + r.IntN(80)
				if (position+shift)%4 < 2 {
					pixel += 100
				}
				images = append(images, byte(pixel))
			}
		}
	}
	if err := os.WriteFile(filepath.Join(folder, split+"-images-idx3-ubyte"), images, 0o666); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, split+"-labels-idx1-ubyte"), labels, 0o666)
}
