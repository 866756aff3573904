package dataset

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// The IDX format, as the MNIST page describes it: a magic number of two zero bytes,
// the element type (8 is unsigned byte) and the number of dimensions; each dimension
// as a big-endian uint32; then the elements, the last dimension fastest.

const (
	idxTypeUint8 = 8
	// maxSide bounds the height and width of a picture, maxElements the content of a
	// file. Both are far above any data set of this kind, and small enough to
	// multiply without overflow.
	maxSide     = 1024
	maxElements = 1 << 30
)

// idxNames are the names, without .gz, of the four files of an IDX data set (training
// images and labels, test images and labels): as published, and as in some copies of
// MNIST.
var idxNames = [][4]string{
	{"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
	{"train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"},
}

// openIDX loads the four files and recognises their data set by its first labels. src is
// the data set that the caller asked for, or idxSource for any.
func openIDX(src *source, files []string) (*Data, error) {
	train, err := readIDXSplit(files[0], files[1])
	if err != nil {
		return nil, err
	}
	test, err := readIDXSplit(files[2], files[3])
	if err != nil {
		return nil, err
	}
	if train.Height != test.Height || train.Width != test.Width {
		return nil, &FormatError{
			File: files[2], Offset: 8,
			Want: fmt.Sprintf("pictures of %d×%d as in %s", train.Height, train.Width, filepath.Base(files[0])),
			Got:  fmt.Sprintf("%d×%d", test.Height, test.Width),
		}
	}
	actual := idxSource
	for _, s := range sources {
		if n := len(s.firstLabels); n > 0 && n <= train.Len() && slices.Equal(train.Labels[:n], s.firstLabels) {
			actual = s
		}
	}
	switch {
	case src == idxSource && actual == idxSource:
		named := *idxSource
		for c := range int(slices.Max(train.Labels)) + 1 {
			named.classes = append(named.classes, strconv.Itoa(c))
		}
		src = &named
		// As in an image folder, the training split determines the classes.
		var trained [256]bool
		for _, label := range train.Labels {
			trained[label] = true
		}
		for i, label := range test.Labels {
			if !trained[label] {
				return nil, &FormatError{File: files[3], Offset: int64(8 + i), Want: "a label that a training picture has", Got: strconv.Itoa(int(label))}
			}
		}
	case src == idxSource:
		src = actual
	case actual != idxSource && actual != src:
		return nil, &FormatError{File: files[1], Offset: 8, Want: "the labels of " + src.name, Got: "the labels of " + actual.name}
	}
	for i, s := range []*Split{train, test} {
		for j, label := range s.Labels {
			if int(label) >= len(src.classes) {
				return nil, labelError(files[2*i+1], int64(8+j), int(label), len(src.classes))
			}
		}
	}
	return newData(src, train, test), nil
}

// readIDXSplit reads a file of images and its file of labels.
func readIDXSplit(imagesFile, labelsFile string) (*Split, error) {
	dims, images, err := readIDXFile(imagesFile, 3)
	if err != nil {
		return nil, err
	}
	count, labels, err := readIDXFile(labelsFile, 1)
	if err != nil {
		return nil, err
	}
	if count[0] != dims[0] {
		return nil, &FormatError{
			File: labelsFile, Offset: 4,
			Want: fmt.Sprintf("%d labels, one for each picture of %s", dims[0], filepath.Base(imagesFile)),
			Got:  strconv.Itoa(count[0]),
		}
	}
	return &Split{Images: images, Labels: labels, Channels: 1, Height: dims[1], Width: dims[2]}, nil
}

// readIDXFile reads a file of unsigned bytes in IDX format, gzipped or not.
func readIDXFile(path string, rank int) (dims []int, data []uint8, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open data set: %w", err)
	}
	defer f.Close()
	r, err := decompress(f, path)
	if err != nil {
		return nil, nil, err
	}
	return readIDX(r, path, rank)
}

// readIDX reads unsigned bytes in IDX format with the given number of dimensions. It
// returns an error if more data follows. file names the input in errors.
func readIDX(r io.Reader, file string, rank int) (dims []int, data []uint8, err error) {
	head := make([]byte, 4+4*rank)
	if n, err := io.ReadFull(r, head); err != nil {
		return nil, nil, readError(err, file, int64(n), fmt.Sprintf("an IDX header of %d bytes", len(head)))
	}
	magic := binary.BigEndian.Uint32(head)
	if want := uint32(idxTypeUint8<<8 | rank); magic != want {
		return nil, nil, &FormatError{File: file, Offset: 0,
			Want: fmt.Sprintf("IDX magic number 0x%08x (unsigned bytes, %d dimensions)", want, rank),
			Got:  fmt.Sprintf("0x%08x", magic)}
	}
	total := int64(1)
	for i := range rank {
		offset := 4 + 4*i
		n := int64(binary.BigEndian.Uint32(head[offset:]))
		limit := int64(maxSide)
		if i == 0 {
			limit = maxElements
		}
		if n < 1 || n > limit {
			return nil, nil, &FormatError{File: file, Offset: int64(offset),
				Want: fmt.Sprintf("a dimension of 1 to %d", limit), Got: strconv.FormatInt(n, 10)}
		}
		dims = append(dims, int(n))
		if total *= n; total > maxElements {
			return nil, nil, &FormatError{File: file, Offset: int64(offset),
				Want: fmt.Sprintf("at most %d bytes of content", maxElements), Got: fmt.Sprintf("dimensions %v", dims)}
		}
	}
	data, err = readExactly(r, file, int64(len(head)), int(total))
	return dims, data, err
}

// labelError returns a *FormatError for a label that is not below the number of classes.
func labelError(file string, offset int64, label, classes int) error {
	return &FormatError{File: file, Offset: offset,
		Want: fmt.Sprintf("a label below %d", classes), Got: strconv.Itoa(label)}
}
