package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// WriteFile writes f to path, atomically and durably.
func WriteFile(path string, f *File) error {
	var b bytes.Buffer
	if err := Encode(&b, f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteFileAtomic(path, b.Bytes())
}

// ReadFile reads and verifies the .bnz file at path; errors are the file
// system's or Decode's, with the path.
func ReadFile(path string) (*File, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// Info is what a file's header lists.
type Info struct {
	Header   Header        `json:"header"`
	Sections []SectionInfo `json:"sections"`
	FileSize int64         `json:"file_bytes"`
	DataSize int64         `json:"tensor_bytes"` // of all tensors, uncompressed
	Stored   int64         `json:"stored_bytes"` // of all tensors, compressed
}

// SectionInfo lists a section's tensors.
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

// ReadInfo reads the header of the .bnz file at path, and verifies it, without
// reading the tensors' bytes. Sections that this version does not know are
// listed, required or not.
func ReadInfo(path string) (*Info, error) {
	file, err := os.Open(path)
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
	stat, err := file.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, preludeSize)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	p, err := parsePrelude(head[:n], stat.Size())
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
	info := &Info{Header: t.Header, FileSize: stat.Size(), DataSize: int64(p.dataSize), Stored: int64(p.dataStored)}
	for _, s := range t.Sections {
		section := SectionInfo{Name: s.Name, Required: s.Required}
		for _, e := range s.Tensors {
			section.Tensors = append(section.Tensors, TensorInfo{e.Name, e.Type, e.Shape, fmt.Sprintf("%08x", e.CRC)})
		}
		info.Sections = append(info.Sections, section)
	}
	return info, nil
}

// WriteFileAtomic writes data to path: to a temporary file beside it, made
// durable, that then takes path's place. After a failure, and at any moment
// before the last, path holds what it held.
func WriteFileAtomic(path string, data []byte) (err error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+base+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	// CreateTemp's files are its user's alone; a result is for others too.
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir durable. Systems that cannot sync a directory
// order it themselves.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, os.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
