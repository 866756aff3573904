// Package safetensors reads and writes safetensors files, which hold named tensors. The
// format is that of huggingface/safetensors: the length of a JSON header (8 bytes,
// little-endian), the header, and the tensors' elements. The header gives the type, shape
// and offsets of each tensor.
//
// Open and Read read only the header of a file. Methods of a Tensor read its elements. Every
// length is checked before memory of that length is allocated.
package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// File is the content of a file, or of all the files that an index lists.
type File struct {
	Tensors  []Tensor          // in the order of their bytes
	Metadata map[string]string // the header's __metadata__; nil if it has none

	open []*os.File
}

// Tensor is a tensor in row-major order. Its elements stay in the file until Bytes or
// Float32 reads them.
type Tensor struct {
	Name  string
	DType string // of the elements, e.g. "F32"
	Shape []int  // empty for a single number

	source io.ReaderAt
	offset int64
	size   int64 // in bytes
}

// New returns a float32 tensor that holds a copy of values.
func New(name string, shape []int, values []float32) Tensor {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return Tensor{Name: name, DType: "F32", Shape: shape}.WithBytes(raw)
}

// WithBytes returns a tensor of the same name, type and shape whose elements are raw, which
// must not change afterwards. Write refuses the tensor if raw has the wrong length.
func (t Tensor) WithBytes(raw []byte) Tensor {
	t.source, t.offset, t.size = content(raw), 0, int64(len(raw))
	return t
}

// content holds the bytes of a tensor in memory.
type content []byte

// ReadAt implements io.ReaderAt.
func (c content) ReadAt(p []byte, offset int64) (int, error) {
	n := copy(p, c[min(offset, int64(len(c))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Bytes reads the elements in their stored form, which is little-endian.
func (t *Tensor) Bytes() ([]byte, error) {
	raw := make([]byte, t.size)
	if _, err := t.source.ReadAt(raw, t.offset); err != nil && len(raw) > 0 {
		return nil, fmt.Errorf("read tensor %q: %w", t.Name, err)
	}
	return raw, nil
}

// maxHeader is the largest header in bytes that the reference implementation reads.
const maxHeader = 100_000_000

// prefixSize is the size in bytes of the number that begins a file, the length of the header.
const prefixSize = 8

// Is reports whether a file that begins with prefix may be a safetensors file. It needs a
// prefix of at least 9 bytes.
func Is(prefix []byte) bool {
	if len(prefix) <= prefixSize {
		return false
	}
	n := binary.LittleEndian.Uint64(prefix)
	return n >= 2 && n <= maxHeader && prefix[prefixSize] == '{'
}

// Read reads the header of a file of size bytes. The error is an *Error or an error of r.
// The tensors read their elements from r when Bytes or Float32 is called.
func Read(r io.ReaderAt, size int64) (*File, error) {
	if size < prefixSize {
		return nil, invalid("the file has %d bytes, too few for the length of a header", size)
	}
	var prefix [prefixSize]byte
	if _, err := r.ReadAt(prefix[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader {
		return nil, invalid("the header has %d bytes, but at most %d are allowed", n, maxHeader)
	}
	if int64(n) > size-prefixSize {
		return nil, invalid("the header has %d bytes, but the file has only %d", n, size)
	}
	raw := make([]byte, n)
	if _, err := r.ReadAt(raw, prefixSize); err != nil && n > 0 {
		return nil, err
	}
	f, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	begin := prefixSize + int64(n)
	if err := f.checkLayout(size - begin); err != nil {
		return nil, err
	}
	for i := range f.Tensors {
		f.Tensors[i].source = r
		f.Tensors[i].offset += begin
	}
	return f, nil
}

// Open opens the file at path and reads its header. If the name ends in .json, the file is an
// index, such as model.safetensors.index.json, and Open opens the files that the index lists,
// from the same folder. The error names the path and wraps an *Error or an error of the file
// system. The caller must close the result.
func Open(path string) (*File, error) {
	read := openOne
	if strings.HasSuffix(path, ".json") {
		read = openIndex
	}
	f, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// openOne opens a single safetensors file.
func openOne(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would block
		return nil, invalid("it is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := Read(file, info.Size())
	if err != nil {
		file.Close()
		return nil, err
	}
	f.open = append(f.open, file)
	return f, nil
}

// Close closes the files that Open opened. The elements of their tensors cannot be read
// afterwards.
func (f *File) Close() error {
	var first error
	for _, file := range f.open {
		if err := file.Close(); err != nil && first == nil {
			first = err
		}
	}
	f.open = nil
	return first
}
