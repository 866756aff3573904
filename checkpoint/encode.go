package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"unicode/utf8"
)

// Encode writes f to w in the .bnz format. The bytes depend on f alone. Tensors are
// grouped by section, and sections come in the order of their first tensors.
func Encode(w io.Writer, f *File) error {
	t := table{Header: f.Header}
	ordered, err := t.addTensors(f.Tensors)
	if err != nil {
		return err
	}
	if err := t.checkSupported(); err != nil {
		return err
	}
	return encode(w, &t, ordered)
}

// CheckHeader returns an error if the header of f is invalid or too large for a .bnz file. The
// result does not depend on the values of the tensors.
func CheckHeader(f *File) error {
	t := table{Header: f.Header}
	if _, err := t.addTensors(f.Tensors); err != nil {
		return err
	}
	for i := range t.Sections {
		for j := range t.Sections[i].Tensors {
			t.Sections[i].Tensors[j].CRC = math.MaxUint32 // the longest number
		}
	}
	header, err := json.Marshal(&t)
	if err != nil {
		return fmt.Errorf("encode the header: %w", err)
	}
	return checkHeader(header)
}

// addTensors adds tensors to the table, without their checksums, and returns them in the order
// of the table.
func (t *table) addTensors(tensors []Tensor) ([]*Tensor, error) {
	bySection := map[string][]*Tensor{}
	for i := range tensors {
		x := &tensors[i]
		// JSON would replace invalid UTF-8, so a reader would get different names.
		if !utf8.ValidString(x.Name) || !utf8.ValidString(x.Section) {
			return nil, fmt.Errorf("tensor %q of section %q: names must be UTF-8", x.Name, x.Section)
		}
		entry := x.entry()
		elements, _, err := entry.length(maxData)
		if err != nil {
			return nil, err
		}
		if (x.Float32 == nil) == (x.Float64 == nil) || int(elements) != len(x.Float32)+len(x.Float64) {
			return nil, fmt.Errorf("tensor %q of shape %v has %d float32 and %d float64 elements", x.Name, x.Shape, len(x.Float32), len(x.Float64))
		}
		if bySection[x.Section] == nil {
			t.Sections = append(t.Sections, sectionEntry{Name: x.Section, Required: required(x.Section)})
		}
		bySection[x.Section] = append(bySection[x.Section], x)
	}
	var ordered []*Tensor
	for i := range t.Sections {
		s := &t.Sections[i]
		for _, x := range bySection[s.Name] {
			s.Tensors = append(s.Tensors, x.entry())
			ordered = append(ordered, x)
		}
	}
	return ordered, nil
}

// entry returns the tensor's row of the table, without the checksum.
func (x *Tensor) entry() tensorEntry {
	e := tensorEntry{Name: x.Name, Type: "f32", Shape: slices.Clone(x.Shape)}
	if x.Float64 != nil {
		e.Type = "f64"
	}
	return e
}

// encode writes the container. The table must list the tensors in the order of the slice.
// encode sets their checksums in the table.
func encode(w io.Writer, t *table, tensors []*Tensor) error {
	size := 0
	for _, x := range tensors {
		size += 4*len(x.Float32) + 8*len(x.Float64)
	}
	var data bytes.Buffer
	data.Grow(size)
	compressor, release, err := acquireCompressor(size)
	if err != nil {
		return err
	}
	defer release()
	compressor.Reset(&data)
	var p prelude
	next := 0
	for i := range t.Sections {
		for j := range t.Sections[i].Tensors {
			raw := tensors[next].bytes()
			next++
			t.Sections[i].Tensors[j].CRC = crc32.Checksum(raw, castagnoli)
			p.dataSize += uint64(len(raw))
			if _, err := compressor.Write(raw); err != nil {
				return err
			}
		}
	}
	if err := compressor.Close(); err != nil {
		return err
	}
	if err := t.check(p.dataSize); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	header, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode the header: %w", err)
	}
	if err := checkHeader(header); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	var stored bytes.Buffer
	compressor.Reset(&stored)
	if _, err := compressor.Write(header); err != nil {
		return err
	}
	if err := compressor.Close(); err != nil {
		return err
	}
	p.headerStored, p.headerSize = uint32(stored.Len()), uint32(len(header))
	p.headerCRC = crc32.Checksum(stored.Bytes(), castagnoli)
	p.dataStored = uint64(data.Len())
	if err := p.checkSizes(); err != nil {
		return fmt.Errorf("encode: %w", err)
	}

	sum := sha256.New()
	all := io.MultiWriter(w, sum)
	for _, part := range [][]byte{p.append(nil), stored.Bytes(), data.Bytes()} {
		if _, err := all.Write(part); err != nil {
			return err
		}
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// bytes returns the tensor's elements, little-endian.
func (x *Tensor) bytes() []byte {
	b := make([]byte, 0, 4*len(x.Float32)+8*len(x.Float64))
	for _, v := range x.Float32 {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	for _, v := range x.Float64 {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}
