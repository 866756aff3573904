// Package dataset reads image classification data sets and turns them into
// normalised, augmented batches.
//
// [Open] loads a data set by its name (the embedded sample, CIFAR-10, CIFAR-100,
// MNIST, Fashion-MNIST) or from a folder or archive recognised by its content;
// Package dataset/fetch downloads one from its publisher. A [Loader] yields an epoch's batches in
// an order and with augmentation that are functions of (seed, epoch, sample) alone.
package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Split is one split of a data set: its pictures in memory, or in files that are read
// when a batch needs them.
type Split struct {
	// Images holds N×C×H×W pixels as published, 0 to 255.
	Images []uint8
	// Labels holds N class indices.
	Labels []uint8
	// Channels, Height and Width are the shape of one picture. Files have none until
	// [Data.Select] chooses it.
	Channels, Height, Width int

	// Files names the pictures of an image folder; Images and Labels are nil then.
	Files []File
	dir   string // that the files' names are below
	crop  Crop
}

// Len returns the number of pictures.
func (s *Split) Len() int { return len(s.Labels) + len(s.Files) }

// Label returns the class index of picture i.
func (s *Split) Label(i int) int {
	if s.Files != nil {
		return int(s.Files[i].Label)
	}
	return int(s.Labels[i])
}

// Image returns the C×H×W pixels of picture i of a split in memory, which it shares.
func (s *Split) Image(i int) []uint8 {
	size := s.imageSize()
	return s.Images[i*size : (i+1)*size : (i+1)*size]
}

// imageSize returns C·H·W.
func (s *Split) imageSize() int { return s.Channels * s.Height * s.Width }

// Data is a data set ready to train on.
type Data struct {
	// Name is the canonical name: one of [Names], "idx" for a folder of IDX files
	// that is none of the known data sets, or "image-folder".
	Name string
	// Classes holds the classes' names; the index is the label.
	Classes []string
	// Train and Test are the published splits, or what [Data.Select] left of them.
	Train, Test *Split
	// Validation is what Select held out of the training split; nil if nothing.
	Validation *Split
	// Mean and Std normalise pixel/255: the mean and the (population) standard
	// deviation, per channel, over the training split, Std being 1 for a constant
	// channel; or what [Data.Normalise] makes of them, before which an image folder
	// has none.
	Mean, Std []float32
	// Flip says that mirroring a picture horizontally keeps its meaning; it does
	// not for digits.
	Flip bool
	// Digest is the hex SHA-256 of all splits' shapes, labels and pixels (of files,
	// their names and sizes), by which
	// a checkpoint can verify that it meets the data it was trained on.
	Digest string
}

// Names returns the names [Open] knows, the embedded sample first.
func Names() []string {
	names := []string{sampleName}
	for _, src := range sources {
		names = append(names, src.name)
	}
	return names
}

// IsName reports whether [Open] takes name for one of [Names], and not for a path.
func IsName(name string) bool {
	return canonicalName(name) == sampleName || sourceByName(name) != nil
}

// Open loads a data set.
//
// name is one of [Names], with separators and case ignored ("CIFAR-10" is
// "cifar10"), or a path: a folder holding CIFAR binary files, a CIFAR .tar.gz or the
// four IDX files, such an archive itself, or a folder of pictures (train/CLASS/*.png
// or .jpg, and test or val), recognised by content. A known name
// wins over a path; write ./cifar10 for a folder called so.
//
// dir is the folder in which a named data set is looked for, as itself, in its
// subfolder of that name, and in the subfolder its publisher's archive unpacks to,
// or that archive itself; "" means [CacheDir]. It is not used for the sample, which is built in, nor for a path.
//
// Errors: [*UnknownError], [*MissingError], [*FormatError], [*PictureError],
// [*AmbiguousError], or one of the file system.
func Open(name, dir string) (*Data, error) {
	if canonicalName(name) == sampleName {
		return openSample()
	}
	if src := sourceByName(name); src != nil {
		if dir == "" {
			var err error
			if dir, err = CacheDir(); err != nil {
				return nil, err
			}
		}
		if info, err := os.Stat(dir); err == nil && info.Mode().IsRegular() && src.cifar != nil {
			return openArchive(dir, []*source{src})
		}
		found, err := src.locate(dir)
		if err != nil {
			return nil, err
		}
		if found == nil {
			return nil, &MissingError{Name: src.name, Dir: dir}
		}
		return found.open()
	}
	return openPath(name)
}

// openPath loads a data set from a folder or an archive.
func openPath(path string) (*Data, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &UnknownError{Name: path}
	}
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	if !info.IsDir() {
		return openArchive(path, archiveSources())
	}
	var found []*location
	for _, src := range append(slices.Clone(sources), idxSource) {
		loc, err := src.locate(path)
		if err != nil {
			return nil, err
		}
		// The MNIST family shares its file names: one folder is one find, and
		// reading it tells which it is.
		if loc != nil && !slices.ContainsFunc(found, loc.sameFiles) {
			found = append(found, loc)
		}
	}
	switch len(found) {
	case 0:
		if isImageFolder(path) {
			return openImageFolder(path)
		}
		return nil, &MissingError{Dir: path}
	case 1:
		loc := *found[0]
		if loc.src.cifar == nil {
			loc.src = idxSource
		}
		return loc.open()
	}
	return nil, &AmbiguousError{path}
}

// newData completes a data set with what follows from its pictures.
func newData(src *source, train, test *Split) *Data {
	d := &Data{Name: src.name, Classes: src.classes, Train: train, Test: test, Flip: src.flip}
	d.complete()
	return d
}

// complete sets Mean, Std and Digest to those of the splits. It reads no files.
func (d *Data) complete() {
	if d.Train.Files == nil {
		d.Mean, d.Std = channelStats(d.Train)
	}
	splits := []*Split{d.Train, d.Test}
	if d.Validation != nil {
		splits = append(splits, d.Validation)
	}
	d.Digest = digest(splits...)
}
