package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"bnkit/checkpoint/durable"
)

// WriteFile writes f to path, atomically and durably.
func WriteFile(path string, f *File) error {
	var b bytes.Buffer
	if err := Encode(&b, f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return durable.WriteFile(path, b.Bytes())
}

// ReadFile reads and verifies the .bnz file at path. It recognises a file of another format
// by its first bytes, without reading the rest. Every error names the path. Errors of the file
// system and of Decode are wrapped.
func ReadFile(path string) (*File, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Read()
}

// Reader reads a .bnz file in two steps, so that the caller can judge by the header whether
// to read the tensors.
type Reader struct {
	Info *Info

	path   string
	file   *os.File
	stored []byte // the prelude and the compressed header
	p      prelude
	t      *table
}

// Open opens the .bnz file at path and reads and verifies its header. It returns the errors of
// ReadFile except ErrUnsupported, which Read returns. The caller must call Close.
func Open(path string) (*Reader, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{path: path, file: file}
	if err := r.readHeader(); err != nil {
		file.Close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return r, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Read reads the tensors and verifies the whole file. It may be called once. It takes memory
// for the file and for the tensors of sections that this version knows.
func (r *Reader) Read() (*File, error) {
	rest := make([]byte, r.p.dataStored+digestSize)
	f, err := r.read(rest)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.path, err)
	}
	return f, nil
}

func (r *Reader) read(rest []byte) (*File, error) {
	if err := readPart(r.file, rest, int64(len(r.stored)), "tensors"); err != nil {
		return nil, err
	}
	digest, err := checkDigest(r.stored, rest)
	if err != nil {
		return nil, err
	}
	return decodeTensors(r.t, r.p, digest, rest[:r.p.dataStored])
}

// open opens the regular file at path for reading. The error for any other path says what to
// do.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path) // opening a pipe would wait for its writer
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w; name a checkpoint, such as the ckpt.bnz of a run", err)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder; name a checkpoint in it, such as %s", path, filepath.Join(path, "ckpt.bnz"))
	case !info.Mode().IsRegular():
		return nil, &durable.FileError{Path: path, Reason: "it is not a regular file; name a checkpoint, such as the ckpt.bnz of a run"}
	}
	return os.Open(path)
}

// readPrelude reads the prelude, and returns it and the size of the file.
func readPrelude(file *os.File) (prelude, int64, error) {
	stat, err := file.Stat()
	if err != nil {
		return prelude{}, 0, err
	}
	head := make([]byte, preludeSize)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return prelude{}, 0, err
	}
	p, err := parsePrelude(head[:n], stat.Size())
	return p, stat.Size(), err
}

// readPart fills b with the named part of the file, which begins at offset. The error matches
// ErrCorrupt only if the file ends too early.
func readPart(file *os.File, b []byte, offset int64, name string) error {
	n, err := io.ReadFull(file, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(offset+int64(n), "read the %s: %v", name, err)
	}
	return err
}

// Info holds the content of a file's header and the sizes of the file's parts.
type Info struct {
	Header   Header        `json:"header"`
	Sections []SectionInfo `json:"sections"`
	FileSize int64         `json:"file_bytes"`
	DataSize int64         `json:"tensor_bytes"` // of all tensors, uncompressed
	Stored   int64         `json:"stored_bytes"` // of all tensors, compressed
}

// SectionInfo lists the tensors of a section.
type SectionInfo struct {
	Name     string       `json:"name"`
	Required bool         `json:"required"`
	Tensors  []TensorInfo `json:"tensors"`
}

// Bytes returns the number of uncompressed bytes of the section's tensors.
func (s *SectionInfo) Bytes() int64 {
	total := int64(0)
	for i := range s.Tensors {
		e := tensorEntry{Type: s.Tensors[i].Type, Shape: s.Tensors[i].Shape}
		if _, size, err := e.length(maxData); err == nil { // length cannot fail: readHeader has verified the shape
			total += int64(size)
		}
	}
	return total
}

// Known reports whether this version knows the section. Read skips the tensors of unknown
// sections.
func (s *SectionInfo) Known() bool { return known(s.Name) }

// TensorInfo describes a stored tensor.
type TensorInfo struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // "f32" or "f64"
	Shape  []int  `json:"shape"`
	CRC32C string `json:"crc32c"` // hex, of the tensor's bytes
}

// ReadInfo reads and verifies the header of the .bnz file at path, without reading the
// bytes of the tensors. It lists all sections, including those that this version does
// not know. It returns the errors of ReadFile except ErrUnsupported.
func ReadInfo(path string) (*Info, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Info, nil
}

// readHeader reads and verifies the header.
func (r *Reader) readHeader() error {
	p, size, err := readPrelude(r.file)
	if err != nil {
		return err
	}
	stored := make([]byte, p.headerStored)
	if err := readPart(r.file, stored, preludeSize, "header"); err != nil {
		return err
	}
	if crc32.Checksum(stored, castagnoli) != p.headerCRC {
		return corrupt(preludeSize, "the header's checksum is wrong")
	}
	t, err := parseTable(stored, p)
	if err != nil {
		return err
	}
	r.p, r.t, r.stored = p, t, append(p.append(nil), stored...)
	info := &Info{Header: t.Header, FileSize: size, DataSize: int64(p.dataSize), Stored: int64(p.dataStored)}
	for _, s := range t.Sections {
		section := SectionInfo{Name: s.Name, Required: s.Required}
		for _, e := range s.Tensors {
			section.Tensors = append(section.Tensors, TensorInfo{e.Name, e.Type, e.Shape, fmt.Sprintf("%08x", e.CRC)})
		}
		info.Sections = append(info.Sections, section)
	}
	r.Info = info
	return nil
}
