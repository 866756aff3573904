package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestDecodeDetectsDamage checks that Decode detects damage to committed files. It sets each
// byte of the golden file to each of its 255 wrong values, flips each bit of larger files, cuts
// all of them to each shorter length, and appends a byte.
func TestDecodeDetectsDamage(t *testing.T) {
	var bytewise, bitwise []byte
	for change := 1; change < 256; change++ {
		bytewise = append(bytewise, byte(change))
	}
	for bit := range 8 {
		bitwise = append(bitwise, 1<<bit)
	}
	for _, c := range []struct {
		path    string
		changes []byte // to each byte, by exclusive or
	}{
		{golden, bytewise},
		{"../engine/testdata/pruned.bnz", bitwise},
		{"../engine/testdata/pruned-weights.bnz", bitwise},
		{"../cmd/bnkit/testdata/run/resume.bnz", bitwise},
	} {
		b, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(b); err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		changed, truncated := 0, 0
		bad := bytes.Clone(b)
		for i := range b {
			for _, change := range c.changes {
				bad[i] = b[i] ^ change
				if _, err := Decode(bad); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
					t.Fatalf("%s: byte %d changed by %#x: got error %v, want ErrCorrupt or ErrVersion", c.path, i, change, err)
				}
				changed++
			}
			bad[i] = b[i]
			if _, err := Decode(b[:i]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s: cut to %d bytes: got error %v, want ErrCorrupt", c.path, i, err)
			}
			truncated++
		}
		if _, err := Decode(append(bytes.Clone(b), 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: one more byte at the end: got error %v, want ErrCorrupt", c.path, err)
		}
		t.Logf("%s, %d bytes: all %d changes and all %d truncations are detected", c.path, len(b), changed, truncated)
	}
}

// TestTensorChecksums flips every bit of the stored tensors and corrects the SHA-256. Decode
// must still detect each flip that changes the content, by a checksum of a tensor or while it
// decompresses. zstd ignores a few bits, so flipping these changes nothing.
func TestTensorChecksums(t *testing.T) {
	b := encoded(t, sample())
	detected := 0
	begin := preludeSize + int(binary.LittleEndian.Uint32(b[12:]))
	for i := begin; i < len(b)-digestSize; i++ {
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[i] ^= 1 << bit
			fixContainer(bad)
			switch f, err := Decode(bad); {
			case errors.Is(err, ErrCorrupt):
				detected++
			case err != nil || !equalFiles(f, sample()):
				t.Fatalf("bit %d of byte %d flipped: read %+v, error %v; want ErrCorrupt or the original content", bit, i, f, err)
			}
		}
	}
	// Only a few bits of the frame's header do not affect the content.
	if all := 8 * (len(b) - digestSize - begin); detected < all-8 {
		t.Errorf("%d of %d flipped bits were detected, want at least %d", detected, all, all-8)
	}
}

// fixContainer sets the magic number, the version, the two stored lengths, and the checksums of
// the prelude, the header and the file to the right values for b, so that a reader gets past
// them. It does not change the checksums of tensors. b must be long enough for a prelude and a
// digest.
func fixContainer(b []byte) {
	stored := len(b) - preludeSize - digestSize
	header := min(int(binary.LittleEndian.Uint32(b[12:])), stored)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], uint32(header))
	binary.LittleEndian.PutUint32(b[20:], crc32.Checksum(b[preludeSize:][:header], castagnoli))
	binary.LittleEndian.PutUint64(b[24:], uint64(stored-header))
	fixChecksums(b)
}

// fixChecksums corrects the CRC of the prelude and the SHA-256.
func fixChecksums(b []byte) {
	binary.LittleEndian.PutUint32(b[40:], crc32.Checksum(b[:40], castagnoli))
	sum := sha256.Sum256(b[:len(b)-digestSize])
	copy(b[len(b)-digestSize:], sum[:])
}

// packer compresses at zstd's fastest level; reading does not depend on the level.
var packer = func() *zstd.Encoder {
	c, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithZeroFrames(true), zstd.WithWindowSize(maxWindow))
	if err != nil {
		panic(err)
	}
	return c
}()

// pack returns raw as a zstd frame.
func pack(raw []byte) []byte { return packer.EncodeAll(raw, nil) }

// assemble returns a file that consists of a compressed header and compressed tensors, with the
// checksums that fixContainer sets. headerSize and dataSize are the uncompressed sizes that the
// file claims.
func assemble(header, tensors []byte, headerSize uint32, dataSize uint64) []byte {
	p := prelude{headerStored: uint32(len(header)), headerSize: headerSize, dataStored: uint64(len(tensors)), dataSize: dataSize}
	b := append(append(p.append(nil), header...), tensors...)
	b = append(b, make([]byte, digestSize)...)
	fixContainer(b)
	return b
}

// fileWithHeader returns a file that has the given JSON as its header and data as its tensor
// bytes, with the checksums that fixContainer sets. dataSize is the uncompressed size of the
// tensors that the file claims.
func fileWithHeader(header string, data []byte, dataSize uint64) []byte {
	return assemble(pack([]byte(header)), pack(data), uint32(len(header)), dataSize)
}

// headerWithTensors returns a header with one section, whose list of tensors is entries.
func headerWithTensors(section, entries string) string {
	return `{"sections":[{"name":"` + section + `","required":true,"tensors":[` + entries + `]}]}`
}

// maxAllocated is the number of bytes that Decode may allocate for a file that it refuses or
// whose tensors it skips. Only TestCostliestHeader allows more.
const maxAllocated = 32 << 20

// checkRefused checks that decoding b fails with want and allocates at most limit bytes.
func checkRefused(t *testing.T, name string, b []byte, want error, limit uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Decode(b)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", name, err, want)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > limit {
		t.Errorf("%s: %d bytes were allocated, want at most %d", name, grown, limit)
	}
}

// TestWrongHeaders reads headers that are invalid or do not match the rest of the file.
// Refusing them must allocate at most maxAllocated bytes.
func TestWrongHeaders(t *testing.T) {
	for _, c := range []struct {
		name, header string
		data         []byte
		size         uint64
		want         error
	}{
		{"256 MB of nothing", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[67108864],"crc32c":0}`), nil, 256 << 20, ErrCorrupt},
		{"8 GB of nothing", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[2147483648],"crc32c":0}`), nil, 8 << 30, ErrCorrupt},
		{"number of elements overflows to 0", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[4294967296,4294967296],"crc32c":0}`), nil, 0, ErrCorrupt},
		{"number of bytes overflows to 4", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[3,3074457345618258603,1],"crc32c":0}`), make([]byte, 4), 4, ErrCorrupt},
		{"number of bytes overflows in one dimension", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[9223372036854775807],"crc32c":0}`), nil, 16, ErrCorrupt},
		{"dimension of 1e99", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[1e99],"crc32c":0}`), nil, 4, ErrCorrupt},
		{"negative dimension", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[-1],"crc32c":0}`), nil, 4, ErrCorrupt},
		{"dimension of zero", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[0],"crc32c":0}`), nil, 0, ErrCorrupt},
		{"nine dimensions", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[1,1,1,1,1,1,1,1,1],"crc32c":1214729159}`), make([]byte, 4), 4, ErrCorrupt},
		{"unknown type", headerWithTensors("bn", `{"name":"a","type":"f16","shape":[2],"crc32c":0}`), make([]byte, 4), 4, ErrCorrupt},
		{"wrong checksum", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[1],"crc32c":1}`), make([]byte, 4), 4, ErrCorrupt},
		{"bytes that belong to no tensor", `{"sections":[]}`, make([]byte, 4), 4, ErrCorrupt},
		{"4 bytes where the prelude claims none", `{"sections":[]}`, make([]byte, 4), 0, ErrCorrupt},
		{"fewer bytes than listed", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[2],"crc32c":1214729159}`), make([]byte, 4), 8, ErrCorrupt},
		{"64 MB where the prelude claims no bytes", `{"sections":[]}`, make([]byte, 64<<20), 0, ErrCorrupt},
		{"two tensors with the same name", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[1]},{"name":"a","type":"f32","shape":[1]}`), make([]byte, 8), 8, ErrCorrupt},
		{"two sections with the same name", `{"sections":[{"name":"bn"},{"name":"bn"}]}`, nil, 0, ErrCorrupt},
		{"not an object", `[]`, nil, 0, ErrCorrupt},
		{"not JSON", `{`, nil, 0, ErrCorrupt},
		{"empty header", ``, nil, 0, ErrCorrupt},
		{"deeply nested", strings.Repeat("[", 1<<19) + strings.Repeat("]", 1<<19), nil, 0, ErrCorrupt},
		{"a million tensors", headerWithTensors("bn", strings.Repeat("{},", 1<<20)+"{}"), nil, 0, ErrCorrupt},
		{"a million sections", `{"sections":[` + strings.Repeat("{},", 1<<20) + `{}]}`, nil, 0, ErrCorrupt},
		{"a million events", `{"provenance":[` + strings.Repeat("{},", 1<<20) + `{}]}`, nil, 0, ErrCorrupt},
		{"a million dimensions", headerWithTensors("bn", `{"shape":[`+strings.Repeat("1,", 1<<20)+`1]}`), nil, 0, ErrCorrupt},
		{"a header above the limit", `{"arch":"` + strings.Repeat("x", maxHeader) + `"}`, nil, 0, ErrCorrupt},
		{"unknown required section", headerWithTensors("future", `{"name":"a","type":"f32","shape":[1],"crc32c":1214729159}`), make([]byte, 4), 4, ErrUnsupported},
		{"the key seed twice", `{"seed":1,"sections":[],"seed":2}`, nil, 0, ErrCorrupt},
		{"a key SEED beside seed", `{"seed":1,"sections":[],"SEED":2}`, nil, 0, ErrCorrupt},
		{"a key ſeed beside seed", `{"seed":1,"sections":[],"\u017feed":2}`, nil, 0, ErrCorrupt},
		{"a key Shape beside shape", headerWithTensors("bn", `{"name":"a","type":"f32","shape":[1],"Shape":[1],"crc32c":1214729159}`), make([]byte, 4), 4, ErrCorrupt},
		{"a key twice in the settings", `{"config":{"lr":1,"lr":2},"sections":[]}`, nil, 0, ErrCorrupt},
		{"invalid UTF-8", "{\"arch\":\"\xff\",\"sections\":[]}", nil, 0, ErrCorrupt},
	} {
		checkRefused(t, c.name, fileWithHeader(c.header, c.data, c.size), c.want, maxAllocated)
	}
	// The file of the case "wrong checksum" can be read if its checksum is right.
	intact := fileWithHeader(headerWithTensors("bn", `{"name":"a","type":"f32","shape":[1],"crc32c":1214729159}`), make([]byte, 4), 4)
	if f, err := Decode(intact); err != nil || len(f.Tensors) != 1 || f.Tensors[0].Float32[0] != 0 {
		t.Errorf("with the right checksum: read %+v, error %v; want one tensor with the element 0", f, err)
	}
}

// TestCostliestHeader reads headers that have nearly as many commas as maxParts allows, in the
// lists and objects whose elements take the most memory. Refusing such a header may allocate 384 MB
// or what maxDecoded allows, whichever is smaller.
func TestCostliestHeader(t *testing.T) {
	const n = maxParts - 8
	var keys strings.Builder
	for i := range n {
		fmt.Fprintf(&keys, `"%x":0,`, i)
	}
	for name, header := range map[string]string{
		"tensors":  headerWithTensors("bn", strings.Repeat("0,", n)+"0"),
		"sections": `{"sections":[` + strings.Repeat("0,", n) + `0]}`,
		"pruned":   `{"pruned":{` + keys.String() + `"x":0}}`,
	} {
		b := fileWithHeader(header, nil, 0)
		checkRefused(t, name, b, ErrCorrupt, uint64(min(384<<20, maxDecoded(b))))
	}
}

// TestWrongPrelude reads files with wrong lengths and correct checksums.
func TestWrongPrelude(t *testing.T) {
	whole := encoded(t, sample())
	headerSize := binary.LittleEndian.Uint32(whole[16:])
	for _, c := range []struct {
		name   string
		change func(b []byte)
	}{
		{"stored header of 4 GB", func(b []byte) { binary.LittleEndian.PutUint32(b[12:], 1<<32-1) }},
		{"stored header of 0 bytes", func(b []byte) { binary.LittleEndian.PutUint32(b[12:], 0) }},
		{"header of 4 GB", func(b []byte) { binary.LittleEndian.PutUint32(b[16:], 1<<32-1) }},
		{"header of the largest allowed size", func(b []byte) { binary.LittleEndian.PutUint32(b[16:], maxHeader) }},
		{"header a byte longer", func(b []byte) { binary.LittleEndian.PutUint32(b[16:], headerSize+1) }},
		{"header a byte shorter", func(b []byte) { binary.LittleEndian.PutUint32(b[16:], headerSize-1) }},
		{"stored tensors of 2^64-1 bytes", func(b []byte) { binary.LittleEndian.PutUint64(b[24:], 1<<64-1) }},
		{"stored tensors of 2^63 bytes", func(b []byte) { binary.LittleEndian.PutUint64(b[24:], 1<<63) }},
		{"stored tensors a byte longer", func(b []byte) { b[24]++ }},
		{"stored tensors a byte shorter", func(b []byte) { b[24]-- }},
		{"a byte moved from the tensors to the header", func(b []byte) { b[12]++; b[24]-- }},
		{"tensors of 2^64-1 bytes", func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 1<<64-1) }},
		{"tensors of 8 GB", func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 8<<30) }},
		{"tensors of 256 MB", func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 256<<20) }},
		{"tensors a byte longer", func(b []byte) { b[32]++ }},
		{"tensors a byte shorter", func(b []byte) { b[32]-- }},
	} {
		b := bytes.Clone(whole)
		c.change(b)
		binary.LittleEndian.PutUint32(b[20:], headerCRC(b))
		fixChecksums(b)
		checkRefused(t, c.name, b, ErrCorrupt, maxAllocated)
	}
}

// TestSizeLimits checks sizes just within and just beyond the limits.
func TestSizeLimits(t *testing.T) {
	for _, c := range []struct {
		p  prelude
		ok bool
	}{
		{prelude{headerSize: maxHeader, headerStored: 2 * maxHeader}, true},
		{prelude{headerSize: maxHeader + 1}, false},
		{prelude{headerStored: 2*maxHeader + 1}, false},
		{prelude{dataSize: freeData}, true},
		{prelude{dataSize: freeData + 1}, false},
		{prelude{dataSize: freeData + 7*maxRatio, dataStored: 7}, true},
		{prelude{dataSize: freeData + 7*maxRatio + 1, dataStored: 7}, false},
		{prelude{dataSize: maxData, dataStored: 2 * maxData}, true},
		{prelude{dataSize: maxData + 1, dataStored: maxData}, false},
		{prelude{dataSize: maxData, dataStored: 2*maxData + 1}, false},
	} {
		if err := c.p.checkSizes(); (err == nil) != c.ok {
			t.Errorf("%+v: got error %v, want accepted = %v", c.p, err, c.ok)
		}
	}
}

// headerCRC returns the CRC-32C of the part of the stored header that exists.
func headerCRC(b []byte) uint32 {
	end := min(preludeSize+int(binary.LittleEndian.Uint32(b[12:])), len(b))
	return crc32.Checksum(b[preludeSize:end], castagnoli)
}

// TestWrongFrames reads files in which the header or the tensors are not an intact zstd frame,
// are a frame with more content than the file claims, or are a frame whose own header asks for
// a large window, a wrong size of the content, or a dictionary.
func TestWrongFrames(t *testing.T) {
	header := []byte(`{"sections":[]}`)
	for name, frame := range map[string][]byte{
		"not zstd":             []byte("neither header nor tensors"),
		"256 MB of zeros":      pack(make([]byte, 256<<20)),
		"nothing":              {},
		"a magic number alone": {0x28, 0xb5, 0x2f, 0xfd},
		"a frame header alone": {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0},
		"no last block":        {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 0x00, 0, 0},
		"a block that is cut":  {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 0x09, 0, 0},
		"a reserved block":     {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 0x07, 0, 0},
	} {
		checkRefused(t, name+" as the tensors", assemble(pack(header), frame, uint32(len(header)), 0), ErrCorrupt, maxAllocated)
		checkRefused(t, name+" as the header", assemble(frame, pack(nil), 0, 0), ErrCorrupt, maxAllocated)
	}
	// frame returns a frame of one raw block, which holds content.
	frame := func(frameHeader, content []byte) []byte {
		return slices.Concat([]byte{0x28, 0xb5, 0x2f, 0xfd}, frameHeader, []byte{byte(len(content)<<3 | 1), 0, 0}, content)
	}
	// files returns two files that have a frame with the given header: as the tensors, and as the
	// header of the file.
	files := func(frameHeader []byte) (asTensors, asHeader []byte) {
		size := uint32(len(header))
		return assemble(pack(header), frame(frameHeader, nil), size, 0), assemble(frame(frameHeader, header), pack(nil), size, 0)
	}
	for name, frameHeader := range map[string][]byte{
		"a window of 3.75 TB":   {0x00, 0xff},
		"a window of 16 MB":     {0x00, 14 << 3},
		"a content of 2^63":     {0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80},
		"a content of 64 MB":    {0xa0, 0, 0, 0, 4},
		"an unknown dictionary": {0x01, 0, 7},
	} {
		asTensors, asHeader := files(frameHeader)
		checkRefused(t, name+" for the tensors", asTensors, ErrCorrupt, maxAllocated)
		checkRefused(t, name+" for the header", asHeader, ErrCorrupt, maxAllocated)
	}
	// The same files can be read if the frame's header only asks for a window of 1 KB.
	goodTensors, goodHeader := files([]byte{0x00, 0})
	for name, b := range map[string][]byte{"tensors": goodTensors, "header": goodHeader} {
		if _, err := Decode(b); err != nil {
			t.Errorf("a window of 1 KB for the %s: got error %v, want none", name, err)
		}
	}
}

// TestExactlyOneFrame checks that Decode refuses a header or tensors with another frame or byte
// before or after their frame. A decompressor would accept all of these but the single byte.
func TestExactlyOneFrame(t *testing.T) {
	header := headerWithTensors("bn", `{"name":"a","type":"f32","shape":[1],"crc32c":1214729159}`)
	data := make([]byte, 4)
	if _, err := Decode(fileWithHeader(header, data, 4)); err != nil {
		t.Fatal(err)
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	for name, extend := range map[string]func(frame []byte) []byte{
		"a skippable frame before": func(frame []byte) []byte { return append(bytes.Clone(skippable), frame...) },
		"a skippable frame after":  func(frame []byte) []byte { return append(bytes.Clone(frame), skippable...) },
		"an empty frame before":    func(frame []byte) []byte { return append(pack(nil), frame...) },
		"an empty frame after":     func(frame []byte) []byte { return append(bytes.Clone(frame), pack(nil)...) },
		"a byte after":             func(frame []byte) []byte { return append(bytes.Clone(frame), 0) },
	} {
		checkRefused(t, name+" the header", assemble(extend(pack([]byte(header))), pack(data), uint32(len(header)), 4), ErrCorrupt, maxAllocated)
		checkRefused(t, name+" the tensors", assemble(pack([]byte(header)), extend(pack(data)), uint32(len(header)), 4), ErrCorrupt, maxAllocated)
	}
}

// TestUnknownSectionsTakeLittleMemory reads a file with 192 MB in a section that this version
// does not know. Decode must allocate at most maxAllocated bytes for it.
func TestUnknownSectionsTakeLittleMemory(t *testing.T) {
	data := make([]byte, 192<<20)
	header := fmt.Sprintf(`{"sections":[{"name":"future","required":false,"tensors":[{"name":"a","type":"f32","shape":[%d],"crc32c":%d}]}]}`,
		len(data)/4, crc32.Checksum(data, castagnoli))
	b := fileWithHeader(header, data, uint64(len(data)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := Decode(b)
	runtime.ReadMemStats(&after)
	if err != nil || len(f.Tensors) != 0 {
		t.Errorf("read %+v, error %v; want a file without tensors", f, err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > maxAllocated {
		t.Errorf("%d bytes were allocated, want at most %d", grown, maxAllocated)
	}
}
