package torchfile

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Float32 returns the values in row-major order. Other types are converted: numbers are
// rounded to the nearest float32, and false and true become 0 and 1. It fails for a tensor
// that does not come from Open or Read.
func (t Tensor) Float32() ([]float32, error) {
	if t.view == nil {
		return nil, fmt.Errorf("tensor %s does not come from a file", printable(t.Name))
	}
	values := make([]float32, t.view.numel)
	convert := converters[t.view.dtype]
	t.view.elements(func(i int, element []byte) { values[i] = convert(element) })
	return values, nil
}

// Bytes returns the elements in row-major order, little-endian as in the file.
// It fails for a tensor that does not come from Open or Read.
func (t Tensor) Bytes() ([]byte, error) {
	if t.view == nil {
		return nil, fmt.Errorf("tensor %s does not come from a file", printable(t.Name))
	}
	size := int(t.view.elem)
	raw := make([]byte, int(t.view.numel)*size)
	t.view.elements(func(i int, element []byte) { copy(raw[i*size:][:size], element) })
	return raw, nil
}

// elements calls do for each element of v in row-major order, with its index and a slice
// that begins with its bytes.
func (v *tensor) elements(do func(i int, element []byte)) {
	if v.numel == 0 {
		return
	}
	data := v.storage.block.data[v.storage.begin:][:v.storage.size]
	if len(v.shape) == 0 {
		do(0, data[v.offset*v.elem:])
		return
	}
	// The innermost dimension is a loop. The indices of the others advance like an odometer.
	inner := len(v.shape) - 1
	index := make([]int, inner)
	row := v.offset
	for start := 0; start < int(v.numel); start += v.shape[inner] {
		position := row
		for i := range v.shape[inner] {
			do(start+i, data[position*v.elem:])
			position += v.strides[inner]
		}
		for d := inner - 1; d >= 0; d-- {
			index[d]++
			row += v.strides[d]
			if index[d] < v.shape[d] {
				break
			}
			row -= v.strides[d] * int64(index[d])
			index[d] = 0
		}
	}
}

// converters holds, by type, functions that convert the first element in a slice of bytes.
var converters = map[string]func([]byte) float32{
	"F64":  func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) },
	"F32":  func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) },
	"F16":  func(b []byte) float32 { return fromFloat16(binary.LittleEndian.Uint16(b)) },
	"BF16": func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) },
	"I64":  func(b []byte) float32 { return float32(int64(binary.LittleEndian.Uint64(b))) },
	"I32":  func(b []byte) float32 { return float32(int32(binary.LittleEndian.Uint32(b))) },
	"I16":  func(b []byte) float32 { return float32(int16(binary.LittleEndian.Uint16(b))) },
	"I8":   func(b []byte) float32 { return float32(int8(b[0])) },
	"U8":   func(b []byte) float32 { return float32(b[0]) },
	"BOOL": func(b []byte) float32 {
		if b[0] != 0 {
			return 1
		}
		return 0
	},
}

// fromFloat16 converts an IEEE 754 binary16 number.
func fromFloat16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero or subnormal, a multiple of 2^-24
		f := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
