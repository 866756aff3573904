package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files again")

// sample is a small file with every kind of content.
func sample() *File {
	return &File{
		Header: Header{
			Arch: "resnet-8", Shortcut: "B", Input: [3]int{3, 32, 32}, Classes: 10, Seed: math.MaxUint64, Trainable: "bn",
			Initialisers:  Initialisers{"philox4x32-10", "he-normal", "uniform", "zero"},
			Data:          DataSet{"cifar10", "0123abcd", 500},
			Normalisation: Normalisation{[]float32{0.5, 0.25, 0.125}, []float32{1, 2, 3}, 1e-5},
			Statistics:    Statistics{7, 128, 50},
			Provenance:    []Event{{"train", "bnkit", nil}, {"prune", "bnkit", json.RawMessage(`{"threshold":0.01}`)}},
			Config:        json.RawMessage(`{"epochs":3}`),
		},
		Tensors: []Tensor{
			{SectionBN, "bn.weight", []int{4}, []float32{0, -1.5, float32(math.Inf(1)), math.Float32frombits(0x7fc12345)}, nil},
			{SectionBN, "bn.bias", []int{2, 1}, []float32{1e-40, 3}, nil},
			{SectionStats, "bn.running_mean", []int{2}, nil, []float64{math.Pi, math.Copysign(0, -1)}},
		},
	}
}

func encoded(t testing.TB, f *File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// same compares files bit by bit: NaNs equal themselves.
func same(a, b *File) bool {
	x, errX := json.Marshal(a.Header)
	y, errY := json.Marshal(b.Header)
	if errX != nil || errY != nil || !bytes.Equal(x, y) || len(a.Tensors) != len(b.Tensors) {
		return false
	}
	for i := range a.Tensors {
		x, y := &a.Tensors[i], &b.Tensors[i]
		if x.Section != y.Section || !reflect.DeepEqual(x.entry(), y.entry()) || !bytes.Equal(x.bytes(), y.bytes()) {
			return false
		}
	}
	return true
}

func TestRoundTrip(t *testing.T) {
	for name, f := range map[string]*File{"full": sample(), "no tensors": {Header: sample().Header}} {
		b := encoded(t, f)
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !same(got, f) {
			t.Errorf("%s: decoded %+v, want %+v", name, got, f)
		}
		if !bytes.Equal(encoded(t, got), b) {
			t.Errorf("%s: other bytes when encoded again", name)
		}
	}
}

// TestEncodeRefuses checks that what could not be read is not written.
func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*File){
		"too few elements":   func(f *File) { f.Tensors[0].Float32 = f.Tensors[0].Float32[:3] },
		"no elements":        func(f *File) { f.Tensors[0].Float32 = nil },
		"both types":         func(f *File) { f.Tensors[0].Float64 = make([]float64, 4) },
		"negative dimension": func(f *File) { f.Tensors[0].Shape = []int{-2, -2} },
		"two of a name":      func(f *File) { f.Tensors[1].Name = "bn.weight" },
		"unknown section":    func(f *File) { f.Tensors[0].Section = "future" },
		"bad JSON":           func(f *File) { f.Header.Config = json.RawMessage("{") },
	} {
		f := sample()
		change(f)
		if err := Encode(&bytes.Buffer{}, f); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestDamage flips every bit's byte and cuts at every length: each is noticed.
func TestDamage(t *testing.T) {
	b := encoded(t, sample())
	for i := range b {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(b)
			bad[i] ^= flip
			if _, err := Decode(bad); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("byte %d changed by %#x: %v", i, flip, err)
			}
		}
		if _, err := Decode(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := Decode(append(bytes.Clone(b), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
}

// fix makes every checksum of a file of at least a prelude and a digest right,
// and its two stored lengths fit, so that what lies behind them is reached.
func fix(b []byte) {
	stored := len(b) - preludeSize - digestSize
	header := min(int(binary.LittleEndian.Uint32(b[12:])), stored)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], uint32(header))
	binary.LittleEndian.PutUint32(b[20:], crc32.Checksum(b[preludeSize:][:header], castagnoli))
	binary.LittleEndian.PutUint64(b[24:], uint64(stored-header))
	binary.LittleEndian.PutUint32(b[40:], crc32.Checksum(b[:40], castagnoli))
	sum := sha256.Sum256(b[:len(b)-digestSize])
	copy(b[len(b)-digestSize:], sum[:])
}

// withTable encodes a file whose header is the given JSON and whose tensor
// bytes are data, all checksums right.
func withTable(t testing.TB, header string, data []byte, dataSize uint64) []byte {
	t.Helper()
	pack := func(raw []byte) []byte {
		var b bytes.Buffer
		c, err := newCompressor(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	stored, packed := pack([]byte(header)), pack(data)
	p := prelude{headerStored: uint32(len(stored)), headerSize: uint32(len(header)), dataStored: uint64(len(packed)), dataSize: dataSize}
	b := append(append(p.append(nil), stored...), packed...)
	b = append(b, make([]byte, digestSize)...)
	fix(b)
	return b
}

// TestLies gives headers that promise what the file does not hold. None may
// cost more memory than a few megabytes.
func TestLies(t *testing.T) {
	tensor := func(section, entry string) string {
		return `{"sections":[{"name":"` + section + `","required":true,"tensors":[` + entry + `]}]}`
	}
	for _, c := range []struct {
		name, header string
		data         []byte
		size         uint64
		want         error
	}{
		{"8 GB of nothing", tensor("bn", `{"name":"a","type":"f32","shape":[2147483648],"crc32c":0}`), nil, 8 << 30, ErrCorrupt},
		{"product overflows", tensor("bn", `{"name":"a","type":"f32","shape":[4294967296,4294967296],"crc32c":0}`), nil, 0, ErrCorrupt},
		{"dimension overflows", tensor("bn", `{"name":"a","type":"f32","shape":[9223372036854775807],"crc32c":0}`), nil, 16, ErrCorrupt},
		{"no JSON number", tensor("bn", `{"name":"a","type":"f32","shape":[1e99],"crc32c":0}`), nil, 4, ErrCorrupt},
		{"negative", tensor("bn", `{"name":"a","type":"f32","shape":[-1],"crc32c":0}`), nil, 4, ErrCorrupt},
		{"zero", tensor("bn", `{"name":"a","type":"f32","shape":[0],"crc32c":0}`), nil, 0, ErrCorrupt},
		{"nine dimensions", tensor("bn", `{"name":"a","type":"f32","shape":[1,1,1,1,1,1,1,1,1],"crc32c":0}`), make([]byte, 4), 4, ErrCorrupt},
		{"unknown type", tensor("bn", `{"name":"a","type":"f16","shape":[2],"crc32c":0}`), make([]byte, 4), 4, ErrCorrupt},
		{"wrong checksum", tensor("bn", `{"name":"a","type":"f32","shape":[1],"crc32c":1}`), make([]byte, 4), 4, ErrCorrupt},
		{"bytes of no tensor", `{"sections":[]}`, make([]byte, 4), 4, ErrCorrupt},
		{"bytes past the last", `{"sections":[]}`, make([]byte, 4), 0, ErrCorrupt},
		{"a bomb", `{"sections":[]}`, make([]byte, 64<<20), 0, ErrCorrupt},
		{"two of a name", tensor("bn", `{"name":"a","type":"f32","shape":[1]},{"name":"a","type":"f32","shape":[1]}`), make([]byte, 8), 8, ErrCorrupt},
		{"two sections", `{"sections":[{"name":"bn"},{"name":"bn"}]}`, nil, 0, ErrCorrupt},
		{"no object", `[]`, nil, 0, ErrCorrupt},
		{"no JSON", `{`, nil, 0, ErrCorrupt},
		{"unknown and required", tensor("future", `{"name":"a","type":"f32","shape":[1],"crc32c":1214729159}`), make([]byte, 4), 4, ErrUnsupported},
	} {
		b := withTable(t, c.header, c.data, c.size)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(b)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
			t.Errorf("%s: %d bytes allocated", c.name, grown)
		}
	}
}

func TestVersion(t *testing.T) {
	b := encoded(t, sample())
	b[8] = 2
	if _, err := Decode(b); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "2") {
		t.Errorf("version 2: %v", err)
	}
}

// golden holds the file that every later version must still read.
const golden = "testdata/golden-v1.bnz"

func TestGolden(t *testing.T) {
	if *update {
		if err := WriteFile(golden, sample()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !same(got, sample()) {
		t.Errorf("%s reads as %+v", golden, got)
	}
	// FORMAT.md shows the file's first bytes.
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	if dump := hexDump(b[:preludeSize]); !strings.Contains(string(format), dump) {
		t.Errorf("FORMAT.md does not show %s's first bytes:\n%s", golden, dump)
	}
}

// hexDump shows bytes as FORMAT.md does: 16 a line, indented.
func hexDump(b []byte) string {
	var s strings.Builder
	for i, v := range b {
		switch {
		case i%16 == 0:
			s.WriteString("    ")
		default:
			s.WriteByte(' ')
		}
		const digits = "0123456789abcdef"
		s.WriteByte(digits[v>>4])
		s.WriteByte(digits[v&15])
		if i%16 == 15 || i == len(b)-1 {
			s.WriteByte('\n')
		}
	}
	return s.String()
}

// TestUnknownSections reads files of a later writer: an optional section is
// skipped, a required one refused, and both are listed.
func TestUnknownSections(t *testing.T) {
	for _, c := range []struct {
		path string
		must bool
	}{{"testdata/golden-unknown-optional.bnz", false}, {"testdata/golden-unknown-required.bnz", true}} {
		if *update {
			f := sample()
			table := table{Header: f.Header}
			tensors, err := table.enter(append(f.Tensors, Tensor{"future", "x", []int{3}, []float32{1, 2, 3}, nil}))
			if err != nil {
				t.Fatal(err)
			}
			table.Sections[len(table.Sections)-1].Required = c.must
			var b bytes.Buffer
			// encode, for Encode writes no section that it does not know.
			if err := encode(&b, &table, tensors); err != nil {
				t.Fatal(err)
			}
			if err := WriteFileAtomic(c.path, b.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
		f, err := ReadFile(c.path)
		switch {
		case c.must && !errors.Is(err, ErrUnsupported):
			t.Errorf("%s: %v", c.path, err)
		case !c.must && (err != nil || !same(f, sample())):
			t.Errorf("%s: %+v, %v", c.path, f, err)
		}
		info, err := ReadInfo(c.path)
		if err != nil || info.Sections[len(info.Sections)-1].Name != "future" {
			t.Errorf("%s: %+v, %v", c.path, info, err)
		}
	}
}

// TestReadInfo lists a file whose tensor bytes are destroyed.
func TestReadInfo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.bnz")
	b := encoded(t, sample())
	header := int(binary.LittleEndian.Uint32(b[12:]))
	clear(b[preludeSize+header:])
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	info, err := ReadInfo(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.FileSize != int64(len(b)) || info.DataSize != 4*6+8*2 || len(info.Sections) != 2 {
		t.Errorf("%+v", info)
	}
	first := info.Sections[0]
	raw := sample().Tensors[0].bytes()
	if first.Name != SectionBN || !first.Required || first.Tensors[0].Name != "bn.weight" || first.Tensors[0].Type != "f32" ||
		!reflect.DeepEqual(first.Tensors[0].Shape, []int{4}) {
		t.Errorf("%+v", first)
	}
	if want := crc32.Checksum(raw, castagnoli); first.Tensors[0].CRC32C != hexWord(want) {
		t.Errorf("CRC-32C %s, want %s", first.Tensors[0].CRC32C, hexWord(want))
	}
	for i := range preludeSize + header {
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadInfo(path); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Fatalf("byte %d of the header changed: %v", i, err)
		}
	}
}

func hexWord(v uint32) string {
	return strings.ReplaceAll(strings.TrimSpace(hexDump(binary.BigEndian.AppendUint32(nil, v))), " ", "")
}
