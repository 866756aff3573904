package dataset

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// maxDecompressed is the largest size of a file after decompression: the largest content
// of an IDX file, and 1 MiB for its header. It is well above the 184 MB of a CIFAR archive.
const maxDecompressed = maxElements + 1<<20

// A compressed file may hold freeDecompressed bytes, and maxExpansion more for each of its
// own bytes, so that a small file cannot fill the memory. No published file expands to more
// than five times its size. freeDecompressed admits 47 MB of blank pictures, the size of
// MNIST's training pictures.
const (
	freeDecompressed = 64 << 20
	maxExpansion     = 100
)

// decompress returns a reader of r's content, decompressed if it begins with gzip's magic
// number. The reader fails with a FormatError beyond the limits.
func decompress(r io.Reader, file string) (io.Reader, error) {
	stored := &countingReader{r: r}
	br := bufio.NewReaderSize(stored, 1<<18)
	magic, err := br.Peek(2)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return &cappedReader{r: br, file: file}, nil
	}
	zr, err := gzip.NewReader(br)
	if err != nil {
		return nil, readError(err, file, 0, "a gzip header")
	}
	return &cappedReader{r: zr, file: file, stored: stored}, nil
}

// cappedReader fails when more bytes have been read than the limits allow.
type cappedReader struct {
	r      io.Reader
	file   string
	read   int64
	stored *countingReader // of the compressed file; nil for a file that is not compressed
}

func (c *cappedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += int64(n)
	limit := int64(maxDecompressed)
	if c.stored != nil {
		limit = min(limit, freeDecompressed+maxExpansion*c.stored.n)
	}
	if c.read > limit {
		return 0, &FormatError{File: c.file, Offset: limit, Want: fmt.Sprintf("at most %d bytes after decompression", limit), Got: "more"}
	}
	return n, err
}

// readExactly reads n bytes, after which the input must end. offset is their position in
// the file. Memory grows with the bytes that were read, not with the length that a header
// claims.
func readExactly(r io.Reader, file string, offset int64, n int) ([]uint8, error) {
	data := make([]uint8, 0, min(n, 1<<20))
	for len(data) < n {
		if len(data) == cap(data) {
			grown := make([]uint8, len(data), min(n, 2*cap(data)))
			copy(grown, data)
			data = grown
		}
		k, err := io.ReadFull(r, data[len(data):cap(data)])
		data = data[:len(data)+k]
		if err != nil {
			return nil, readError(err, file, offset+int64(len(data)), fmt.Sprintf("%d bytes in all", offset+int64(n)))
		}
	}
	return data, expectEnd(r, file, offset+int64(n))
}

// expectEnd returns an error unless r is at its end. It also verifies gzip's checksum.
func expectEnd(r io.Reader, file string, offset int64) error {
	var b [1]byte
	switch n, err := io.ReadFull(r, b[:]); {
	case n > 0:
		return &FormatError{File: file, Offset: offset, Want: "the end of the file", Got: "more data"}
	case err == io.EOF:
		return nil
	case err == io.ErrUnexpectedEOF:
		return &FormatError{File: file, Offset: offset, Want: "the end of the gzip data, with its checksum", Got: "the end of the file"}
	default:
		return readError(err, file, offset, "the end of the file")
	}
}

// readError turns a reader's error at an offset into a FormatError if the content is at
// fault, and wraps it if the file system is.
func readError(err error, file string, offset int64, want string) error {
	var format *FormatError
	var corrupt flate.CorruptInputError
	switch {
	case errors.As(err, &format):
		return err
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return &FormatError{File: file, Offset: offset, Want: want, Got: "the end of the file"}
	case errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt):
		return &FormatError{File: file, Offset: offset, Want: want, Got: "corrupt gzip data (" + err.Error() + ")"}
	}
	return fmt.Errorf("read %s: %w", file, err)
}
