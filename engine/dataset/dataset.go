// Package dataset reads image classification data sets and turns them into
// normalised, augmented batches.
//
// [Open] loads a data set by its name (the embedded sample, CIFAR-10, CIFAR-100,
// MNIST, Fashion-MNIST) or from a folder or archive recognised by its content.
// Package dataset/fetch downloads data sets from their publishers. A [Loader] yields the
// batches of an epoch. For given settings, their order and augmentation depend only on the
// seed, the epoch and the index of each picture.
package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"bnkit/checkpoint/durable"
)

// Split is one split of a data set. Its pictures are in memory, or in files that are read
// when a batch needs them.
type Split struct {
	// Images holds N×C×H×W pixels as published, 0 to 255.
	Images []uint8
	// Labels holds N class indices.
	Labels []uint8
	// Channels, Height and Width are the shape of one picture. Height and Width are 0
	// for files until [Data.Select] sets them.
	Channels, Height, Width int

	// Files lists the pictures of an image folder, whose Images and Labels are nil.
	Files []File
	dir   string // the folder to which the names of Files are relative
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

// Image returns the C×H×W pixels of picture i of a split in memory. They alias the split's
// memory.
func (s *Split) Image(i int) []uint8 {
	size := s.imageSize()
	return s.Images[i*size : (i+1)*size : (i+1)*size]
}

// First returns a split of the first n pictures, which it shares with s. If s has at most n
// pictures, First returns s itself.
func (s *Split) First(n int) *Split {
	if n >= s.Len() {
		return s
	}
	first := *s
	if s.Files != nil {
		first.Files = s.Files[:n]
		return &first
	}
	first.Labels, first.Images = s.Labels[:n], s.Images[:n*s.imageSize()]
	return &first
}

// imageSize returns C·H·W.
func (s *Split) imageSize() int { return s.Channels * s.Height * s.Width }

// Data is a data set ready to train on.
type Data struct {
	// Name is the canonical name: one of [Names], "idx" for IDX files of an unknown
	// data set, or "image-folder".
	Name string
	// Classes holds the classes' names; the index is the label.
	Classes []string
	// Train and Test are the published splits, or the pictures that [Data.Select] kept.
	Train, Test *Split
	// Validation is held out of the training split by Select, or is the folder val of
	// an image folder; nil if there is none.
	Validation *Split
	// Mean and Std normalise pixel/255. They are the mean and the (population)
	// standard deviation of each channel over the training split, unless
	// [Data.Normalise] sets others. Std is 1 for a constant channel. For an image
	// folder both are nil before Normalise.
	Mean, Std []float32
	// Flip reports whether augmentation may mirror the pictures horizontally. It is
	// false for digits, whose meaning would change, and for an unknown data set in IDX
	// files, which may hold digits.
	Flip bool
	// Digest is the hex SHA-256 of all splits' shapes, labels and pixels or, for files,
	// of their labels, names and sizes. Checkpoints record it to identify the data
	// that they were trained on.
	Digest string
}

// Names returns the names that [Open] knows, the embedded sample first.
func Names() []string {
	names := []string{sampleName}
	for _, src := range sources {
		names = append(names, src.name)
	}
	return names
}

// IsName reports whether [Open] takes name as one of [Names] and not as a path.
func IsName(name string) bool {
	return canonicalName(name) == sampleName || sourceByName(name) != nil
}

// Open loads a data set.
//
// name is one of [Names], with separators and case ignored ("CIFAR-10" is
// "cifar10"), or a path: a folder holding CIFAR binary files, a CIFAR .tar.gz or the
// four IDX files, such an archive itself, or a folder of pictures (train/CLASS/*.png
// or .jpg, and test or val), recognised by content. A known name takes precedence
// over a path; write ./cifar10 for a folder of that name.
//
// dir is the folder in which Open looks for the files of a named data set. They may also
// be in its subfolder named after the data set, or in the subfolder to which the published
// archive or torchvision unpacks them. dir may be that archive itself, and "" means
// [CacheDir]. dir is ignored for the sample, which is built in, and for a path.
//
// The error is an [*UnknownError], a [*MissingError], a [*FormatError], a [*PictureError],
// an [*AmbiguousError], a *durable.FileError if a path is neither a regular file nor a folder,
// or an error of the file system.
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
	if info.Mode().IsRegular() {
		return openArchive(path, archiveSources())
	}
	if !info.IsDir() { // opening a pipe would wait for its writer
		return nil, &durable.FileError{Path: path, Reason: "it is not a regular file or a folder; name a folder or an archive that holds a data set"}
	}
	var found []*location
	for _, src := range append(slices.Clone(sources), idxSource) {
		loc, err := src.locate(path)
		if err != nil {
			return nil, err
		}
		// The data sets of the MNIST family have the same file names. Their files
		// count once here; open recognises the data set.
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

// newData returns a data set of two splits with its statistics and digest.
func newData(src *source, train, test *Split) *Data {
	d := &Data{Name: src.name, Classes: src.classes, Train: train, Test: test, Flip: src.flip}
	d.computeStatistics()
	return d
}

// computeStatistics computes Mean, Std and Digest from the splits. It does not read files.
func (d *Data) computeStatistics() {
	if d.Train.Files == nil {
		d.Mean, d.Std = channelStats(d.Train)
	}
	splits := []*Split{d.Train, d.Test}
	if d.Validation != nil {
		splits = append(splits, d.Validation)
	}
	d.Digest = digest(splits...)
}
