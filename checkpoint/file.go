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

// ReadFile reads and verifies the .bnz file at path. It refuses a file of another
// format before it has read the whole file. The error names the path and wraps an error
// of the file system or of Decode.
func ReadFile(path string) (*File, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// open opens a file for reading. If the file does not exist or is a folder, the error says
// what to do.
func open(path string) (*os.File, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; name a checkpoint, such as the ckpt.bnz of a run", err)
	}
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		file.Close()
		return nil, fmt.Errorf("%s is a folder; name a checkpoint in it, such as %s", path, filepath.Join(path, "ckpt.bnz"))
	}
	return file, nil
}

func readFile(file *os.File) (*File, error) {
	_, size, err := readPrelude(file)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if n, err := file.ReadAt(b, 0); err != nil {
		return nil, corrupt(int64(n), "read the file: %v", err)
	}
	return Decode(b)
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

// Info is what the header of a file lists.
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

// TensorInfo describes a stored tensor.
type TensorInfo struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // "f32" or "f64"
	Shape  []int  `json:"shape"`
	CRC32C string `json:"crc32c"` // hex, of the tensor's bytes
}

// ReadInfo reads and verifies the header of the .bnz file at path, without reading the
// bytes of the tensors. It lists all sections, including those that this version does
// not know. It returns the same errors as ReadFile.
func ReadInfo(path string) (*Info, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := readInfo(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return info, nil
}

func readInfo(file *os.File) (*Info, error) {
	p, size, err := readPrelude(file)
	if err != nil {
		return nil, err
	}
	stored := make([]byte, p.headerStored)
	if _, err := io.ReadFull(file, stored); err != nil {
		return nil, corrupt(preludeSize, "read the header: %v", err)
	}
	if crc32.Checksum(stored, castagnoli) != p.headerCRC {
		return nil, corrupt(preludeSize, "the header's checksum is wrong")
	}
	t, err := parseTable(stored, p)
	if err != nil {
		return nil, err
	}
	info := &Info{Header: t.Header, FileSize: size, DataSize: int64(p.dataSize), Stored: int64(p.dataStored)}
	for _, s := range t.Sections {
		section := SectionInfo{Name: s.Name, Required: s.Required}
		for _, e := range s.Tensors {
			section.Tensors = append(section.Tensors, TensorInfo{e.Name, e.Type, e.Shape, fmt.Sprintf("%08x", e.CRC)})
		}
		info.Sections = append(info.Sections, section)
	}
	return info, nil
}
