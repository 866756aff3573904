package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Constants of zstd frames (RFC 8878, section 3.1.1).
const (
	frameMagic = 0xfd2fb528
	maxBlock   = 128 << 10 // uncompressed bytes of a block

	// The types of blocks.
	rawBlock        = 0
	repeatedBlock   = 1 // one byte, repeated
	compressedBlock = 2
)

// checkFrame returns an error unless b is exactly one zstd frame. Decompressors also accept
// several frames in a row and skip frames of other kinds, so that a file could hold bytes
// that no reader sees. It also returns an error if the blocks of the frame cannot hold size
// bytes, so that no memory is allocated for bytes that cannot exist.
func checkFrame(b []byte, size uint64) error {
	if len(b) < 5 || binary.LittleEndian.Uint32(b) != frameMagic {
		return errors.New("it does not begin with a zstd frame")
	}
	// The descriptor says which parts of the frame's header follow it.
	descriptor := b[4]
	singleSegment, checksum := descriptor>>5&1, descriptor>>2&1
	header := 5 + [4]int{0, 1, 2, 4}[descriptor&3] + [4]int{int(singleSegment), 2, 4, 8}[descriptor>>6] + 1 - int(singleSegment)
	pos, maxSize := header, uint64(0)
	for last := false; !last; {
		if len(b)-pos < 3 {
			return errors.New("its zstd frame ends too early")
		}
		block := uint32(b[pos]) | uint32(b[pos+1])<<8 | uint32(b[pos+2])<<16
		pos += 3
		last = block&1 == 1
		stored := int(block >> 3)
		if stored > maxBlock {
			return fmt.Errorf("its zstd frame has a block of %d bytes, more than the %d that are allowed", stored, maxBlock)
		}
		switch block >> 1 & 3 {
		case rawBlock:
			maxSize += uint64(stored)
		case repeatedBlock:
			maxSize += uint64(stored)
			stored = 1
		case compressedBlock:
			maxSize += maxBlock
		default:
			return errors.New("its zstd frame has a block of an unknown type")
		}
		if len(b)-pos < stored {
			return errors.New("its zstd frame ends too early")
		}
		pos += stored
	}
	switch end := pos + 4*int(checksum); {
	case end > len(b):
		return errors.New("its zstd frame ends too early")
	case end < len(b):
		return fmt.Errorf("%d bytes follow its zstd frame", len(b)-end)
	case maxSize < size:
		return fmt.Errorf("its zstd frame holds at most %d bytes, but should hold %d", maxSize, size)
	}
	return nil
}
