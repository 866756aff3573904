package dataset

import (
	"embed"
	"fmt"
)

// sampleName is the name of the built-in data set: the first 600 training and 100 test
// pictures of each class of Fashion-MNIST.
const sampleName = "sample"

// sampleFS holds the files that sample/make.go writes.
//
//go:embed sample/*.gz
var sampleFS embed.FS

var sampleSource = &source{name: sampleName, classes: fashionClasses, flip: true}

// openSample loads the embedded sample.
func openSample() (*Data, error) {
	train, err := readSampleSplit("train")
	if err != nil {
		return nil, err
	}
	test, err := readSampleSplit("t10k")
	if err != nil {
		return nil, err
	}
	return newData(sampleSource, train, test), nil
}

// readSampleSplit reads one split of the embedded sample.
func readSampleSplit(prefix string) (*Split, error) {
	dims, images, err := readSampleFile("sample/"+prefix+"-images-idx3-ubyte.gz", 3)
	if err != nil {
		return nil, err
	}
	_, labels, err := readSampleFile("sample/"+prefix+"-labels-idx1-ubyte.gz", 1)
	if err != nil {
		return nil, err
	}
	return &Split{Images: images, Labels: labels, Channels: 1, Height: dims[1], Width: dims[2]}, nil
}

// readSampleFile reads an embedded IDX file of the given number of dimensions.
func readSampleFile(name string, rank int) ([]int, []uint8, error) {
	f, err := sampleFS.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open the embedded sample: %w", err)
	}
	defer f.Close()
	r, err := decompress(f, name)
	if err != nil {
		return nil, nil, err
	}
	return readIDX(r, name, rank)
}

// sampleLocation returns the location of the sample, with the size of the embedded files.
func sampleLocation() (Location, error) {
	entries, err := sampleFS.ReadDir("sample")
	if err != nil {
		return Location{}, fmt.Errorf("list the embedded sample: %w", err)
	}
	loc := Location{Name: sampleName}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return Location{}, fmt.Errorf("list the embedded sample: %w", err)
		}
		loc.Bytes += info.Size()
	}
	return loc, nil
}
