package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"bnkit/checkpoint/safetensors"
	"bnkit/checkpoint/torchfile"
)

// File is a state dict in a file.
type File struct {
	Format   string            // "safetensors", "PyTorch (zip)" or "PyTorch (legacy)"
	Tensors  []Tensor          // in the file's order
	Path     string            // the keys of the state dict in the file's nested dictionaries, joined by dots; "" for the root
	Ignored  []string          // descriptions of other values in the file
	Metadata map[string]string // of a safetensors file; may be nil

	open io.Closer // nil if the tensors are in memory
}

// prefixSize is the number of bytes from which a file's format is recognised.
const prefixSize = 512

// indexSuffix is the suffix of the name of a file that lists the files of a sharded safetensors
// checkpoint.
const indexSuffix = ".safetensors.index.json"

// IsFile reports whether the file at path has a format that Open reads. It examines only the
// name and the first bytes.
func IsFile(path string) (bool, error) {
	if strings.HasSuffix(path, indexSuffix) {
		return true, nil
	}
	prefix, err := readPrefix(path)
	return safetensors.Is(prefix) || torchfile.Is(prefix), err
}

// readPrefix returns the first bytes of a regular file, or nil for other files.
func readPrefix(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	prefix := make([]byte, prefixSize)
	n, err := io.ReadFull(f, prefix)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return prefix[:n], err
}

// Open reads the state dict in a safetensors file, the index of several such files, or a file
// that torch.save wrote. A file of torch.save is read into memory. The caller closes the result
// after the last call of a Tensor's Values or Bytes. The error is an error of package
// safetensors or torchfile, or of the file system.
func Open(path string) (*File, error) { return OpenContext(context.Background(), path) }

// OpenContext is Open, but returns ctx's error if ctx is cancelled while it reads a file that
// torch.save wrote.
func OpenContext(ctx context.Context, path string) (*File, error) {
	prefix, err := readPrefix(path)
	if err != nil {
		return nil, err
	}
	if torchfile.Is(prefix) {
		return openTorch(ctx, path)
	}
	return openSafetensors(path)
}

// BytesInMemory returns the largest number of bytes of tensors that Open keeps in memory for the
// file at path, which is 0 unless torch.save wrote it.
func BytesInMemory(path string) (int64, error) {
	prefix, err := readPrefix(path)
	if err != nil || !torchfile.Is(prefix) {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func openTorch(ctx context.Context, path string) (*File, error) {
	t, err := torchfile.OpenContext(ctx, path)
	if err != nil {
		return nil, err
	}
	f := &File{Format: fmt.Sprintf("PyTorch (%s)", t.Form), Path: t.Path, Ignored: t.Ignored}
	for _, x := range t.Tensors {
		f.Tensors = append(f.Tensors, Tensor{x.Name, x.DType, x.Shape, x.Float32, x.Bytes})
	}
	return f, nil
}

func openSafetensors(path string) (*File, error) {
	s, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{Format: "safetensors", Metadata: s.Metadata, open: s}
	for i := range s.Tensors {
		x := &s.Tensors[i]
		f.Tensors = append(f.Tensors, Tensor{x.Name, x.DType, x.Shape, x.Float32, x.Bytes})
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error {
	if f.open == nil {
		return nil
	}
	return f.open.Close()
}
