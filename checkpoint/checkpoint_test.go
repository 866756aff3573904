package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

var update = flag.Bool("update", false, "write the golden files again")

// sample returns a small file with tensors of both types and special values such as NaN.
func sample() *File {
	return &File{
		Header: Header{
			Arch: "resnet-8", Shortcut: "B", Input: [3]int{3, 32, 32}, Classes: 10, Seed: math.MaxUint64, Trainable: "bn",
			Initialisers:  Initialisers{"philox4x32-10", "he-normal", "uniform", "zero"},
			Data:          DataSet{Name: "cifar10", Digest: "0123abcd", Subset: 500},
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

// encoded returns f in the .bnz format.
func encoded(t testing.TB, f *File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// equalFiles reports whether the headers and tensors of two files are equal, bit by bit. NaNs
// with the same bits are equal.
func equalFiles(a, b *File) bool {
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
	for name, f := range map[string]*File{"full": sample(), "no tensors": {Header: sample().Header}, "20 MB of zeros": {Tensors: zeros(20)}} {
		b := encoded(t, f)
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !equalFiles(got, f) {
			t.Errorf("%s: decoded %+v, want %+v", name, got, f)
		}
		if !bytes.Equal(encoded(t, got), b) {
			t.Errorf("%s: encoding the decoded file gives different bytes, want the same", name)
		}
	}
}

// TestUsedCompressor checks that an encoder that has written other frames writes the same bytes
// as a new one. It writes so many frames that the encoder clears its tables once: it counts
// positions with 31 bits, and each frame begins at least a window after the one before.
func TestUsedCompressor(t *testing.T) {
	const frames = 1<<31/maxWindow + 44
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 1<<16)
	for i := range text {
		text[i] = byte(random.IntN(1 + i>>8)) // more and more different bytes
	}
	for level := range idleCompressors {
		used := newEncoder(t, level)
		for i := range frames {
			var content []byte
			for range random.IntN(10) {
				begin := random.IntN(len(text))
				content = append(content, text[begin:begin+random.IntN(len(text)-begin)]...)
			}
			got := compressed(t, used, content)
			if i%4 != 0 {
				continue // a new encoder takes longer than the frame
			}
			if want := compressed(t, newEncoder(t, level), content); !bytes.Equal(got, want) {
				t.Fatalf("level %v: the %d bytes of frame %d were compressed to %d bytes that differ from the %d bytes of a new encoder, want the same", level, len(content), i, len(got), len(want))
			}
		}
	}
}

func newEncoder(t *testing.T, level zstd.EncoderLevel) *zstd.Encoder {
	t.Helper()
	e, err := newCompressor(level)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// compressed returns the frame that e writes for content.
func compressed(t *testing.T, e *zstd.Encoder, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	e.Reset(&b)
	_, err := e.Write(content)
	if err := errors.Join(err, e.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestEncodeRefuses checks that Encode does not write files that Decode would refuse.
func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*File){
		"too few elements":     func(f *File) { f.Tensors[0].Float32 = f.Tensors[0].Float32[:3] },
		"no elements":          func(f *File) { f.Tensors[0].Float32 = nil },
		"both types":           func(f *File) { f.Tensors[0].Float64 = make([]float64, 4) },
		"negative dimension":   func(f *File) { f.Tensors[0].Shape = []int{-2, -2} },
		"duplicate names":      func(f *File) { f.Tensors[1].Name = "bn.weight" },
		"unknown section":      func(f *File) { f.Tensors[0].Section = "future" },
		"invalid name":         func(f *File) { f.Tensors[0].Name = "\xff" },
		"invalid section":      func(f *File) { f.Tensors[0].Section = "bn\xff" },
		"header too costly":    func(f *File) { f.Header.Config = json.RawMessage("[" + strings.Repeat("0,", maxParts) + "0]") },
		"header too long":      func(f *File) { f.Header.Arch = strings.Repeat("x", maxHeader) },
		"too much compression": func(f *File) { f.Tensors = zeros(300) },
		"bad JSON":             func(f *File) { f.Header.Config = json.RawMessage("{") },
	} {
		f := sample()
		change(f)
		if err := Encode(&bytes.Buffer{}, f); err == nil {
			t.Errorf("%s: Encode returned no error, want one", name)
		}
	}
}

func TestVersion(t *testing.T) {
	b := encoded(t, sample())
	b[8] = 2
	if _, err := Decode(b); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "2") {
		t.Errorf("version 2: got error %v, want ErrVersion with the number 2", err)
	}
}

// golden is a file that every later version must be able to read.
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
	if !equalFiles(got, sample()) {
		t.Errorf("%s: read %+v, want %+v", golden, got, sample())
	}
	// FORMAT.md shows the file's first bytes and its header.
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	if dump := hexDump(b[:preludeSize]); !strings.Contains(string(format), dump) {
		t.Errorf("FORMAT.md does not show the first bytes of %s, want\n%s", golden, dump)
	}
	_, shown, _ := strings.Cut(string(format), "```json\n")
	shown, _, _ = strings.Cut(shown, "```")
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(shown)); err != nil {
		t.Fatalf("FORMAT.md's example: %v", err)
	}
	unpacker, err := newDecompressor(bytes.NewReader(b[preludeSize:][:binary.LittleEndian.Uint32(b[12:])]))
	if err != nil {
		t.Fatal(err)
	}
	defer unpacker.Close()
	header, err := io.ReadAll(unpacker)
	if err != nil || !bytes.Equal(compact.Bytes(), header) {
		t.Errorf("FORMAT.md shows the header\n%s\nwant that of %s\n%s (error %v)", compact.Bytes(), golden, header, err)
	}
}

// zeros returns n tensors that share a megabyte of zeros.
func zeros(n int) []Tensor {
	megabyte := make([]float32, 1<<18)
	tensors := make([]Tensor, n)
	for i := range tensors {
		tensors[i] = Tensor{SectionBN, fmt.Sprint(i), []int{len(megabyte)}, megabyte, nil}
	}
	return tensors
}

// hexDump formats bytes as FORMAT.md does: 16 to a line, indented.
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

// TestUnknownSections reads files with a section that this version does not know. An
// optional section must be skipped, a required one must be refused, and both must be
// listed.
func TestUnknownSections(t *testing.T) {
	for _, c := range []struct {
		path     string
		required bool
	}{{"testdata/golden-unknown-optional.bnz", false}, {"testdata/golden-unknown-required.bnz", true}} {
		if *update {
			f := sample()
			table := table{Header: f.Header}
			tensors, err := table.addTensors(append(f.Tensors, Tensor{"future", "x", []int{3}, []float32{1, 2, 3}, nil}))
			if err != nil {
				t.Fatal(err)
			}
			table.Sections[len(table.Sections)-1].Required = c.required
			var b bytes.Buffer
			// Unlike Encode, encode accepts unknown sections.
			if err := encode(&b, &table, tensors); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(c.path, b.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		f, err := ReadFile(c.path)
		switch {
		case c.required && (!errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), `section "future"`)):
			t.Errorf("%s: got error %v, want ErrUnsupported and the name of the section", c.path, err)
		case !c.required && (err != nil || !equalFiles(f, sample())):
			t.Errorf("%s: read %+v, error %v; want the content without the unknown section", c.path, f, err)
		}
		info, err := ReadInfo(c.path)
		if err != nil || info.Sections[len(info.Sections)-1].Name != "future" {
			t.Errorf("%s: the header lists %+v, error %v; want the unknown section last", c.path, info, err)
		}
	}
}

// TestReadInfo checks that ReadInfo reads the header even if all bytes after it are destroyed,
// and returns an error if the prelude or the header is damaged.
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
		t.Errorf("read %+v, want a file of %d bytes with 40 bytes of tensors in 2 sections", info, len(b))
	}
	first := info.Sections[0]
	raw := sample().Tensors[0].bytes()
	if first.Name != SectionBN || !first.Required || first.Tensors[0].Name != "bn.weight" || first.Tensors[0].Type != "f32" ||
		!reflect.DeepEqual(first.Tensors[0].Shape, []int{4}) {
		t.Errorf("the first section is %+v, want the required section bn with the tensor bn.weight of type f32 and shape [4] first", first)
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
			t.Fatalf("byte %d was changed: got error %v, want ErrCorrupt or ErrVersion", i, err)
		}
	}
}

// hexWord formats v as 8 hexadecimal digits.
func hexWord(v uint32) string {
	return strings.ReplaceAll(strings.TrimSpace(hexDump(binary.BigEndian.AppendUint32(nil, v))), " ", "")
}
