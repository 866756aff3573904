package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The container consists of a prelude of fixed size, the compressed header, the compressed
// tensor bytes, and a SHA-256 of everything before it.
const (
	magic       = "\x89BNZ\r\n\x1a\n" // like PNG's, it detects that a transfer in text mode altered the file
	version     = 1
	preludeSize = 44
	digestSize  = 32

	maxHeader = 8 << 20 // uncompressed bytes; the header of a resume state of ResNet-6002 with all tensors trained by SGD has 4 MB
	maxData   = 8 << 30 // uncompressed bytes

	// The tensors may have freeData uncompressed bytes, plus maxRatio for each stored byte,
	// so that a small file cannot fill the memory. Trained tensors compress far less than
	// that.
	freeData = 256 << 20
	maxRatio = 1024
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// prelude is the part of fixed size that begins the container.
type prelude struct {
	headerStored, headerSize uint32 // compressed, uncompressed
	dataStored, dataSize     uint64 // compressed, uncompressed
	headerCRC                uint32 // CRC-32C of the compressed header
}

// append appends the encoded prelude, with its CRC-32C, to an empty slice.
func (p *prelude) append(b []byte) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, p.headerStored)
	b = binary.LittleEndian.AppendUint32(b, p.headerSize)
	b = binary.LittleEndian.AppendUint32(b, p.headerCRC)
	b = binary.LittleEndian.AppendUint64(b, p.dataStored)
	b = binary.LittleEndian.AppendUint64(b, p.dataSize)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Is reports whether a file that begins with prefix is a .bnz file, of any version. A prefix of 8
// bytes is enough.
func Is(prefix []byte) bool { return bytes.HasPrefix(prefix, []byte(magic)) }

// parsePrelude parses the prelude of a file of the given size. The lengths that it returns
// add up to that size and are within the limits.
func parsePrelude(b []byte, fileSize int64) (prelude, error) {
	var p prelude
	if !Is(b) {
		return p, corrupt(0, "it does not begin with the magic number of .bnz files")
	}
	if len(b) < preludeSize {
		return p, corrupt(int64(len(b)), "the file ends within its first %d bytes", preludeSize)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return p, fmt.Errorf("%w %d; this bnkit reads version %d", ErrVersion, v, version)
	}
	if crc32.Checksum(b[:preludeSize-4], castagnoli) != binary.LittleEndian.Uint32(b[preludeSize-4:]) {
		return p, corrupt(0, "the checksum of the first %d bytes is wrong", preludeSize)
	}
	p.headerStored = binary.LittleEndian.Uint32(b[12:])
	p.headerSize = binary.LittleEndian.Uint32(b[16:])
	p.headerCRC = binary.LittleEndian.Uint32(b[20:])
	p.dataStored = binary.LittleEndian.Uint64(b[24:])
	p.dataSize = binary.LittleEndian.Uint64(b[32:])
	if err := p.checkSizes(); err != nil {
		return p, corrupt(12, "%v", err)
	}
	if int64(p.headerStored)+int64(p.dataStored)+preludeSize+digestSize != fileSize {
		return p, corrupt(12, "the header takes %d bytes and the tensors %d, which does not fit a file of %d bytes", p.headerStored, p.dataStored, fileSize)
	}
	return p, nil
}

// checkSizes checks the lengths against the limits. zstd adds little to bytes that it
// cannot compress, so stored parts of more than twice the limit are always wrong.
func (p *prelude) checkSizes() error {
	switch {
	case p.headerSize > maxHeader || p.headerStored > 2*maxHeader:
		return fmt.Errorf("the header has %d bytes, stored as %d; the limits are %d and %d bytes", p.headerSize, p.headerStored, maxHeader, 2*maxHeader)
	case p.dataSize > maxData || p.dataStored > 2*maxData:
		return fmt.Errorf("the tensors have %d bytes, stored as %d; the limits are %d and %d bytes", p.dataSize, p.dataStored, int64(maxData), int64(2*maxData))
	case p.dataSize > freeData+maxRatio*p.dataStored:
		return fmt.Errorf("the tensors have %d bytes, stored as %d; the limit is %d bytes plus %d times the stored bytes",
			p.dataSize, p.dataStored, freeData, maxRatio)
	}
	return nil
}
