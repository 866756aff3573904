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
// that this version does not know. The error is ErrCorrupt, ErrVersion or
// ErrUnsupported.
func Decode(b []byte) (*File, error) {
	p, err := parsePrelude(b, int64(len(b)))
	if err != nil {
		return nil, err
	}
	body := len(b) - digestSize
	sum := sha256.New()
	sum.Write(b[:body])
	if !bytes.Equal(sum.Sum(nil), b[body:]) {
		return nil, corrupt(int64(body), "the SHA-256 of the file is wrong")
	}
	sum.Write(b[body:])
	t, err := parseTable(b[preludeSize:][:p.headerStored], p)
	if err != nil {
		return nil, err
	}
	if err := t.supported(); err != nil {
		return nil, err
	}
	dataAt := int64(preludeSize) + int64(p.headerStored)
	r, err := newDecompressor(bytes.NewReader(b[dataAt:body]))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f := &File{Header: t.Header, SHA256: hex.EncodeToString(sum.Sum(nil)), Size: int64(len(b))}
	for i := range t.Sections {
		s := &t.Sections[i]
		for j := range s.Tensors {
			x, err := readTensor(r, s.Name, &s.Tensors[j])
			if err != nil {
				return nil, corrupt(dataAt, "tensor %q of section %q: %v", s.Tensors[j].Name, s.Name, err)
			}
			if known(s.Name) {
				f.Tensors = append(f.Tensors, *x)
			}
		}
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n != 0:
		return nil, corrupt(dataAt, "the file has more tensor bytes than the header lists")
	case !errors.Is(err, io.EOF):
		return nil, corrupt(dataAt, "decompress the tensors: %v", err)
	}
	return f, nil
}

// pieceSize is the number of bytes that are decompressed at a time. If a header claims that
// a tensor is larger than its content, reading it allocates at most this much more memory
// than the content needs.
const pieceSize = 1 << 20

// readTensor reads the bytes of an entry and verifies them.
func readTensor(r io.Reader, section string, e *tensorEntry) (*Tensor, error) {
	_, size, err := e.length(maxData)
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
		if e.Type == "f32" {
			for at := 0; at < len(piece); at += 4 {
				x.Float32 = append(x.Float32, math.Float32frombits(binary.LittleEndian.Uint32(piece[at:])))
			}
		} else {
			for at := 0; at < len(piece); at += 8 {
				x.Float64 = append(x.Float64, math.Float64frombits(binary.LittleEndian.Uint64(piece[at:])))
			}
		}
	}
	if sum.Sum32() != e.CRC {
		return nil, errors.New("its checksum is wrong")
	}
	return x, nil
}
