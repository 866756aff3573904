package torchfile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
)

// File is the content of a file: a state dict, and descriptions of other values.
type File struct {
	Form    string   // "zip" or "legacy"
	Tensors []Tensor // of the state dict, in the file's order, with the names of the file
	Ignored []string // descriptions of other values, such as "epoch (int 90)"; at most 100, then "N more"
	Path    string   // the keys that lead to the state dict, joined by dots, such as "state_dict"; empty for the root
}

// Tensor is a tensor of a state dict.
type Tensor struct {
	Name  string
	DType string // one of the names that safetensors uses: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL
	Shape []int  // empty for a single number
	view  *tensor
}

// Open reads the file at path. The error names the path, and is an *Error if the file is
// at fault.
func Open(path string) (*File, error) { return OpenContext(context.Background(), path) }

// OpenContext is Open, but returns ctx's error if ctx is cancelled.
func OpenContext(ctx context.Context, path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("read %s: %w", path, refuse("it is a folder; name a file that torch.save wrote"))
	}
	f, err := Read(interruptible{ctx, file}, info.Size())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// interruptible reads until its context is cancelled.
type interruptible struct {
	ctx context.Context
	r   io.ReaderAt
}

// ReadAt reads a megabyte at a time, so that it ends soon after the context is cancelled.
func (i interruptible) ReadAt(b []byte, offset int64) (n int, err error) {
	for n < len(b) && err == nil {
		if err := i.ctx.Err(); err != nil {
			return n, err
		}
		var m int
		m, err = i.r.ReadAt(b[n:min(len(b), n+1<<20)], offset+int64(n))
		n += m
	}
	return n, err
}

// Read reads a file of size bytes. It reads the storages of the state dict into memory, skips
// all others, and does not use r afterwards. The error is an *Error if the file is at fault,
// and otherwise an error of r.
func Read(r io.ReaderAt, size int64) (*File, error) {
	head := make([]byte, min(max(size, 0), 512))
	if err := readAt(r, head, 0); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(zipMagic)):
		return readZip(r, size)
	case isLegacy(head):
		return readLegacy(r, size)
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return nil, refuse("it is a tar archive, which PyTorch before 0.2 wrote; load it with a newer PyTorch and save it again")
	case len(head) > 1 && head[0] == opProto && head[1] <= 5:
		return nil, refuse("it is a pickle that torch.save did not write; load it in Python and save the state dict with torch.save")
	}
	return nil, refuse("it is not a file that torch.save wrote")
}

// Is reports whether a file that begins with prefix may be a PyTorch file of either form. A
// prefix of 32 bytes is enough. The result is true for every zip archive.
func Is(prefix []byte) bool {
	return bytes.HasPrefix(prefix, []byte(zipMagic)) || isLegacy(prefix)
}

const zipMagic = "PK\x03\x04"

// legacyMagic is the number 0x1950a86a20f9469cfc6c as an argument of opLong1, and opStop.
const legacyMagic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

// isLegacy reports whether a file begins with a pickle that holds only the magic number.
func isLegacy(b []byte) bool {
	if len(b) < 2 || b[0] != opProto || b[1] < 2 || b[1] > 5 {
		return false
	}
	b = b[2:]
	if len(b) > 9 && b[0] == opFrame {
		b = b[9:]
	}
	return bytes.HasPrefix(b, []byte(legacyMagic))
}
