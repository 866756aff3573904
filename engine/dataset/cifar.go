package dataset

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// The CIFAR binary layout, as https://www.cs.toronto.edu/~kriz/cifar.html describes
// it: records of one label byte (CIFAR-100: the coarse label, then the fine one) and
// 3072 bytes of pixels, the 32×32 red plane first, then green, then blue.

const (
	cifarChannels, cifarSide = 3, 32
	cifarPixels              = cifarChannels * cifarSide * cifarSide
)

// cifarLayout describes the files of a CIFAR data set.
type cifarLayout struct {
	archive                   string
	train                     []string
	test                      string
	trainRecords, testRecords int // per file
	// labels holds the number of classes of each label byte. The last byte is the label
	// that is used.
	labels []int
}

// recordSize returns the size of a record in bytes.
func (l *cifarLayout) recordSize() int { return len(l.labels) + cifarPixels }

// fileNames returns the names of the files in order, the test split last.
func (l *cifarLayout) fileNames() []string {
	return append(l.train[:len(l.train):len(l.train)], l.test)
}

// recordCount returns the number of records of file i of fileNames.
func (l *cifarLayout) recordCount(i int) int {
	if i < len(l.train) {
		return l.trainRecords
	}
	return l.testRecords
}

// cifarParts collects a data set's files, which an archive may hold in any order.
type cifarParts struct {
	src         *source
	train, test *Split
	seen        []bool
}

func newCIFARParts(src *source) *cifarParts {
	return &cifarParts{src: src, seen: make([]bool, len(src.cifar.fileNames()))}
}

// add reads file i of the layout from r.
func (p *cifarParts) add(i int, r io.Reader, file string) error {
	layout := p.src.cifar
	split, first := &p.train, i*layout.trainRecords
	files := len(layout.train)
	if i == len(layout.train) {
		split, first, files = &p.test, 0, 1
	}
	n := layout.recordCount(i)
	if *split == nil {
		*split = newCIFARSplit(files * n)
	}
	p.seen[i] = true
	s := *split
	return layout.read(r, file, s.Images[first*cifarPixels:(first+n)*cifarPixels], s.Labels[first:first+n])
}

// data returns the data set; every file must have been added.
func (p *cifarParts) data() *Data { return newData(p.src, p.train, p.test) }

func newCIFARSplit(n int) *Split {
	return &Split{
		Images:   make([]uint8, n*cifarPixels),
		Labels:   make([]uint8, n),
		Channels: cifarChannels, Height: cifarSide, Width: cifarSide,
	}
}

// read fills images and labels, and returns an error if r has fewer or more records.
func (l *cifarLayout) read(r io.Reader, file string, images, labels []uint8) error {
	br := bufio.NewReaderSize(r, 1<<16)
	head := make([]byte, len(l.labels))
	want := fmt.Sprintf("%d bytes in all (%d records of %d)", len(labels)*l.recordSize(), len(labels), l.recordSize())
	var offset int64
	for i := range labels {
		if n, err := io.ReadFull(br, head); err != nil {
			return readError(err, file, offset+int64(n), want)
		}
		for j, classes := range l.labels {
			if int(head[j]) >= classes {
				return labelError(file, offset+int64(j), int(head[j]), classes)
			}
		}
		labels[i] = head[len(head)-1]
		offset += int64(len(head))
		n, err := io.ReadFull(br, images[i*cifarPixels:(i+1)*cifarPixels])
		offset += int64(n)
		if err != nil {
			return readError(err, file, offset, want)
		}
	}
	return expectEnd(br, file, offset)
}

// openCIFAR loads a data set from its files in a folder.
func openCIFAR(src *source, dir string) (*Data, error) {
	parts := newCIFARParts(src)
	for i, name := range src.cifar.fileNames() {
		if err := parts.addFile(i, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return parts.data(), nil
}

// addFile reads file i from a path. It checks the size before it allocates.
func (p *cifarParts) addFile(i int, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open data set: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open data set: %w", err)
	}
	if err := p.checkSize(i, file, info.Size()); err != nil {
		return err
	}
	return p.add(i, f, file)
}

// checkSize returns an error unless size is that of file i in the layout.
func (p *cifarParts) checkSize(i int, file string, size int64) error {
	n, record := p.src.cifar.recordCount(i), p.src.cifar.recordSize()
	if want := int64(n) * int64(record); size != want {
		return &FormatError{File: file, Offset: min(size, want),
			Want: fmt.Sprintf("%d bytes in all (%d records of %d)", want, n, record),
			Got:  strconv.FormatInt(size, 10)}
	}
	return nil
}

// openArchive loads a data set from a .tar.gz (or .tar) that holds one of the candidates.
func openArchive(file string, candidates []*source) (*Data, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	defer f.Close()
	return readArchive(f, file, candidates)
}

// readArchive reads the data set whose files the archive holds, in any folder. The first
// file that belongs to a candidate determines the data set.
func readArchive(r io.Reader, file string, candidates []*source) (*Data, error) {
	plain, err := decompress(r, file)
	if err != nil {
		return nil, err
	}
	counted := &countingReader{r: plain}
	tr := tar.NewReader(counted)
	var parts *cifarParts
	for {
		header, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, archiveError(err, file, counted.n)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		src, i := findMember(candidates, path.Base(header.Name))
		if src == nil {
			continue
		}
		if parts == nil {
			parts = newCIFARParts(src)
		}
		member := file + ":" + header.Name
		if parts.src != src || parts.seen[i] {
			return nil, &FormatError{File: member, Offset: 0, Want: "each file of " + parts.src.name + " once, and none of another data set", Got: path.Base(header.Name)}
		}
		if err := parts.checkSize(i, member, header.Size); err != nil {
			return nil, err
		}
		if err := parts.add(i, tr, member); err != nil {
			return nil, err
		}
	}
	// tar stops at its own end mark. Reading to the end of the file verifies gzip's
	// checksum.
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return nil, readError(err, file, counted.n, "the end of the archive")
	}
	if parts == nil {
		var names []string
		for _, src := range candidates {
			names = append(names, src.name)
		}
		return nil, &FormatError{File: file, Offset: 0, Want: "a tar archive of the binary files of " + strings.Join(names, " or "), Got: "none of these files"}
	}
	for i, name := range parts.src.cifar.fileNames() {
		if !parts.seen[i] {
			return nil, &FormatError{File: file, Offset: counted.n, Want: parts.src.name + "'s " + name, Got: "the end of the archive"}
		}
	}
	return parts.data(), nil
}

// findMember returns the candidate that has a file with the given name, and the index of the
// file. The candidate is nil if there is none.
func findMember(candidates []*source, name string) (*source, int) {
	for _, src := range candidates {
		for i, n := range src.cifar.fileNames() {
			if n == name {
				return src, i
			}
		}
	}
	return nil, 0
}

// archiveError turns a tar reader's error at an offset into a FormatError if the archive is
// at fault, and wraps it otherwise.
func archiveError(err error, file string, offset int64) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) {
		return &FormatError{File: file, Offset: offset, Want: "a tar header", Got: "something else (" + err.Error() + ")"}
	}
	return readError(err, file, offset, "a tar header")
}

// countingReader counts the bytes read.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
