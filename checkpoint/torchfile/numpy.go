package torchfile

import (
	"encoding/binary"
	"math"
)

// scalar returns the number that the arguments of numpy.core.multiarray.scalar describe.
// They are a dtype, which is numpy.dtype(name, ...) with a state (version, byte order,
// ...), and the bytes of the number. scalar returns nil if it does not know the dtype or does
// not expect the arguments.
func scalar(args []any) any {
	if len(args) != 2 {
		return nil
	}
	kind, ok := args[0].(*opaque)
	b, ok2 := args[1].(raw)
	if !ok || !ok2 || kind.class != "numpy.dtype" || len(kind.parts) == 0 {
		return nil
	}
	name, _ := text(kind.parts[0])
	var order binary.ByteOrder = binary.LittleEndian
	for _, state := range kind.parts[1:] {
		if t, ok := state.(*tuple); ok && len(t.items) > 1 {
			if mark, _ := text(t.items[1]); mark == ">" {
				order = binary.BigEndian
			}
		}
	}
	data := []byte(b[:min(len(b), 8)])
	if len(name) < 2 || len(b) > 8 || len(b) != int(name[1]-'0') {
		return nil
	}
	var x uint64
	switch len(data) {
	case 1:
		x = uint64(data[0])
	case 2:
		x = uint64(order.Uint16(data))
	case 4:
		x = uint64(order.Uint32(data))
	case 8:
		x = order.Uint64(data)
	}
	switch name {
	case "f8":
		return math.Float64frombits(x)
	case "f4":
		return float64(math.Float32frombits(uint32(x)))
	case "f2":
		return float64(fromFloat16(uint16(x)))
	case "b1":
		return x != 0
	case "i1":
		return int64(int8(x))
	case "i2":
		return int64(int16(x))
	case "i4":
		return int64(int32(x))
	case "i8":
		return int64(x)
	case "u1", "u2", "u4":
		return int64(x)
	case "u8":
		if x <= math.MaxInt64 {
			return int64(x)
		}
	}
	return nil
}
