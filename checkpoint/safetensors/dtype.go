package safetensors

import (
	"encoding/binary"
	"math"
)

// elementSizes holds the size in bytes of an element of each type.
var elementSizes = map[string]int{
	"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8,
	"F16": 2, "BF16": 2, "F32": 4, "F64": 8,
	// Tensors of these types can be listed and copied, but not converted to float32.
	"F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "C64": 8,
}

// converters holds, by type, functions that convert the first element of raw to float32.
var converters = map[string]func(raw []byte) float32{
	"BOOL": func(raw []byte) float32 { return float32(min(raw[0], 1)) },
	"U8":   func(raw []byte) float32 { return float32(raw[0]) },
	"I8":   func(raw []byte) float32 { return float32(int8(raw[0])) },
	"U16":  func(raw []byte) float32 { return float32(binary.LittleEndian.Uint16(raw)) },
	"I16":  func(raw []byte) float32 { return float32(int16(binary.LittleEndian.Uint16(raw))) },
	"U32":  func(raw []byte) float32 { return float32(binary.LittleEndian.Uint32(raw)) },
	"I32":  func(raw []byte) float32 { return float32(int32(binary.LittleEndian.Uint32(raw))) },
	"U64":  func(raw []byte) float32 { return float32(binary.LittleEndian.Uint64(raw)) },
	"I64":  func(raw []byte) float32 { return float32(int64(binary.LittleEndian.Uint64(raw))) },
	"F16":  func(raw []byte) float32 { return fromF16(binary.LittleEndian.Uint16(raw)) },
	"BF16": func(raw []byte) float32 {
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw)) << 16)
	},
	"F32": func(raw []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(raw)) },
	"F64": func(raw []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(raw))) },
}

// fromF16 converts an IEEE 754 half-precision number exactly.
func fromF16(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch exponent {
	case 0: // zero and subnormal numbers, fraction · 2⁻²⁴
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31: // infinity and NaN
		return math.Float32frombits(sign | 255<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// Float32 reads the elements and converts them to float32, rounding F64 and integers. The
// error is a *TypeError if the elements are complex or 8-bit floats, or an error of the
// reader.
func (t *Tensor) Float32() ([]float32, error) {
	convert := converters[t.DType]
	if convert == nil {
		return nil, &TypeError{t.Name, t.DType}
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	size := elementSizes[t.DType]
	values := make([]float32, len(raw)/size)
	for i := range values {
		values[i] = convert(raw[i*size:])
	}
	return values, nil
}
