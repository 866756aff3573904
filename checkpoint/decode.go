package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// Decode reads a .bnz file from memory and verifies all of it. It skips optional sections
// that this version does not know. The error matches ErrCorrupt, ErrVersion or
// ErrUnsupported.
func Decode(b []byte) (*File, error) {
	p, err := parsePrelude(b, int64(len(b)))
	if err != nil {
		return nil, err
	}
	dataStart := preludeSize + int(p.headerStored)
	digest, err := checkDigest(b[:dataStart], b[dataStart:])
	if err != nil {
		return nil, err
	}
	t, err := parseTable(b[preludeSize:dataStart], p)
	if err != nil {
		return nil, err
	}
	return decodeTensors(t, p, digest, b[dataStart:len(b)-digestSize])
}

// checkDigest checks the SHA-256 at the end of the file that consists of head and rest. It
// returns the SHA-256 of the whole file, in hex.
func checkDigest(head, rest []byte) (string, error) {
	body := rest[:len(rest)-digestSize]
	sum := sha256.New()
	sum.Write(head)
	sum.Write(body)
	if !bytes.Equal(sum.Sum(nil), rest[len(body):]) {
		return "", corrupt(int64(len(head)+len(body)), "the SHA-256 of the file is wrong")
	}
	sum.Write(rest[len(body):])
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// decodeTensors decompresses and verifies the tensors in packed. It returns them as a file
// with the given header and digest.
func decodeTensors(t *table, p prelude, digest string, packed []byte) (*File, error) {
	if err := t.checkSupported(); err != nil {
		return nil, err
	}
	dataStart := int64(preludeSize) + int64(p.headerStored)
	if err := checkFrame(packed, p.dataSize); err != nil {
		return nil, corrupt(dataStart, "the tensors: %v", err)
	}
	r, err := newDecompressor(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f := &File{Header: t.Header, SHA256: digest, Size: dataStart + int64(len(packed)) + digestSize}
	for i := range t.Sections {
		s := &t.Sections[i]
		for j := range s.Tensors {
			x, err := readTensor(r, s.Name, &s.Tensors[j])
			if err != nil {
				return nil, corrupt(dataStart, "tensor %q of section %q: %v", s.Tensors[j].Name, s.Name, err)
			}
			if x != nil {
				f.Tensors = append(f.Tensors, *x)
			}
		}
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n != 0:
		return nil, corrupt(dataStart, "the file has more tensor bytes than the header lists")
	case !errors.Is(err, io.EOF):
		return nil, corrupt(dataStart, "decompress the tensors: %v", err)
	}
	return f, nil
}

// pieceSize is the number of bytes that are decompressed at a time. The memory for a tensor
// grows as pieces are read, so a header that claims more elements than the file holds does
// not allocate memory for them.
const pieceSize = 1 << 20

// readTensor reads the tensor of an entry and verifies its checksum. It returns nil for a
// tensor of a section that this version does not know, and does not keep its bytes.
func readTensor(r io.Reader, section string, e *tensorEntry) (*Tensor, error) {
	elements, size, err := e.length(maxData)
	if err != nil {
		return nil, err
	}
	x := &Tensor{Section: section, Name: e.Name, Shape: e.Shape}
	sum := crc32.New(castagnoli)
	piece := make([]byte, min(size, pieceSize))
	for size > 0 {
		piece = piece[:min(size, pieceSize)]
		if _, err := io.ReadFull(r, piece); err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		size -= uint64(len(piece))
		sum.Write(piece)
		switch {
		case !known(section):
		case e.Type == "f32":
			x.Float32 = grow(x.Float32, len(piece)/4, int(elements))
			for pos := 0; pos < len(piece); pos += 4 {
				x.Float32 = append(x.Float32, math.Float32frombits(binary.LittleEndian.Uint32(piece[pos:])))
			}
		default:
			x.Float64 = grow(x.Float64, len(piece)/8, int(elements))
			for pos := 0; pos < len(piece); pos += 8 {
				x.Float64 = append(x.Float64, math.Float64frombits(binary.LittleEndian.Uint64(piece[pos:])))
			}
		}
	}
	if sum.Sum32() != e.CRC {
		return nil, errors.New("its checksum is wrong")
	}
	if !known(section) {
		return nil, nil
	}
	return x, nil
}

// grow returns values with capacity for at least n more elements. It doubles the capacity, up
// to total, the final number of elements, so the memory is at most in proportion to the bytes
// that were read.
func grow[T any](values []T, n, total int) []T {
	if cap(values)-len(values) >= n {
		return values
	}
	return append(make([]T, 0, min(max(2*cap(values), len(values)+n), total)), values...)
}
