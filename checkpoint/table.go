package checkpoint

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"bnkit/checkpoint/strictjson"
)

// table is the JSON header as it is stored: the fields of Header, and a list of the tensors
// in the order in which their bytes follow the header.
type table struct {
	Header
	Sections []sectionEntry `json:"sections"`
}

type sectionEntry struct {
	Name     string        `json:"name"`
	Required bool          `json:"required"` // a reader that does not know it must refuse the file
	Tensors  []tensorEntry `json:"tensors"`
}

type tensorEntry struct {
	Name  string `json:"name"`
	Type  string `json:"type"` // "f32" or "f64"
	Shape []int  `json:"shape"`
	CRC   uint32 `json:"crc32c"` // of the tensor's bytes
}

// maxDims is the largest number of dimensions of a tensor.
const maxDims = 8

// length returns the tensor's number of elements and its size in bytes. It fails if a
// dimension is invalid or the tensor takes more than limit bytes.
func (e *tensorEntry) length(limit uint64) (elements, size uint64, err error) {
	width := uint64(4)
	switch e.Type {
	case "f32":
	case "f64":
		width = 8
	default:
		return 0, 0, fmt.Errorf("tensor %q has type %q; want f32 or f64", e.Name, e.Type)
	}
	if len(e.Shape) > maxDims {
		return 0, 0, fmt.Errorf("tensor %q has %d dimensions; the limit is %d", e.Name, len(e.Shape), maxDims)
	}
	elements = 1
	for _, d := range e.Shape {
		if d < 1 || uint64(d) > limit/width/elements {
			return 0, 0, fmt.Errorf("tensor %q has shape %v: a dimension is below 1, or the tensor takes more than the available %d bytes", e.Name, e.Shape, limit)
		}
		elements *= uint64(d)
	}
	if elements*width > limit {
		return 0, 0, fmt.Errorf("tensor %q has shape %v and takes more than the available %d bytes", e.Name, e.Shape, limit)
	}
	return elements, elements * width, nil
}

// check checks that names are unique and that the tensors have dataSize bytes together.
func (t *table) check(dataSize uint64) error {
	sections, left := map[string]bool{}, dataSize
	for i := range t.Sections {
		s := &t.Sections[i]
		if sections[s.Name] {
			return fmt.Errorf("section %q is listed twice", s.Name)
		}
		sections[s.Name] = true
		names := map[string]bool{}
		for j := range s.Tensors {
			e := &s.Tensors[j]
			if names[e.Name] {
				return fmt.Errorf("tensor %q is listed twice in section %q", e.Name, s.Name)
			}
			names[e.Name] = true
			_, size, err := e.length(left)
			if err != nil {
				return err
			}
			left -= size
		}
	}
	if left != 0 {
		return fmt.Errorf("%d tensor bytes do not belong to any tensor", left)
	}
	return nil
}

// checkSupported returns ErrUnsupported for a required section that this version does not know.
func (t *table) checkSupported() error {
	for _, s := range t.Sections {
		if s.Required && !known(s.Name) {
			return fmt.Errorf("%w: this version does not know section %q", ErrUnsupported, s.Name)
		}
	}
	return nil
}

// maxParts bounds the number of commas and opening brackets in a header, and with it the
// memory for decoding: "0," in the list of tensors has 2 bytes and becomes an entry of 64. The
// header of a resume state of ResNet-6002 with all tensors trained by SGD has about 320,000 such
// characters.
const maxParts = 1 << 19

// checkHeader checks the JSON of a header against the limits before it is decoded.
func checkHeader(raw []byte) error {
	if len(raw) > maxHeader {
		return fmt.Errorf("the header has %d bytes; the limit is %d", len(raw), maxHeader)
	}
	n := bytes.Count(raw, []byte(",")) + bytes.Count(raw, []byte("[")) + bytes.Count(raw, []byte("{"))
	if n > maxParts {
		return fmt.Errorf("the header has %d commas and opening brackets; the limit is %d", n, maxParts)
	}
	return nil
}

// parseTable decompresses and decodes a header, and checks it.
func parseTable(stored []byte, p prelude) (*table, error) {
	if err := checkFrame(stored, uint64(p.headerSize)); err != nil {
		return nil, corrupt(preludeSize, "the header: %v", err)
	}
	r, err := newDecompressor(bytes.NewReader(stored))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, int64(p.headerSize)+1))
	if err != nil {
		return nil, corrupt(preludeSize, "decompress the header: %v", err)
	}
	if len(raw) != int(p.headerSize) {
		return nil, corrupt(preludeSize, "the decompressed header does not have the expected %d bytes", p.headerSize)
	}
	if err := checkHeader(raw); err != nil {
		return nil, corrupt(preludeSize, "%v", err)
	}
	t := &table{}
	if err := strictjson.Unmarshal(raw, t); err != nil {
		return nil, corrupt(preludeSize, "decode the header: %v", err)
	}
	if err := t.check(p.dataSize); err != nil {
		return nil, corrupt(preludeSize, "%v", err)
	}
	return t, nil
}

// maxWindow bounds the memory for decompression.
const maxWindow = 8 << 20

// newDecompressor returns a reader of a zstd frame that checkFrame accepts. The caller must
// bound the size of its content.
func newDecompressor(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
}

// largeData is the size of all tensors, in bytes, above which acquireCompressor takes a faster
// level. In such large files nearly all bytes are weights, which hardly compress: zstd's
// best level takes forty times as long as the next one and reaches the same size.
const largeData = 1 << 20

// idleCompressors keeps encoders of each level for the next file, because a new one allocates
// up to 35 MB. A frame does not depend on the frames that its encoder wrote before.
var idleCompressors = map[zstd.EncoderLevel]*sync.Pool{
	zstd.SpeedBestCompression:   {},
	zstd.SpeedBetterCompression: {},
}

// acquireCompressor returns an encoder for a file with size bytes of tensors. The caller resets
// it to a destination before each frame, and calls release after the last one.
func acquireCompressor(size int) (compressor *zstd.Encoder, release func(), err error) {
	level := zstd.SpeedBestCompression
	if size > largeData {
		level = zstd.SpeedBetterCompression
	}
	idle := idleCompressors[level]
	compressor, ok := idle.Get().(*zstd.Encoder)
	if !ok {
		if compressor, err = newCompressor(level); err != nil {
			return nil, nil, err
		}
	}
	return compressor, func() {
		compressor.Reset(nil) // lets the destination be freed
		idle.Put(compressor)
	}, nil
}

// newCompressor returns an encoder without a destination. It uses one thread, because the
// compressed bytes must not depend on the number of threads.
func newCompressor(level zstd.EncoderLevel) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level),
		zstd.WithWindowSize(maxWindow), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
}
