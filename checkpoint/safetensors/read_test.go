package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// file returns the bytes of a file with the given header and number of tensor bytes.
func file(header string, size int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range size {
		b = append(b, byte(i+1))
	}
	return b
}

// read reads the header of a file that is in memory.
func read(b []byte) (*File, error) { return Read(bytes.NewReader(b), int64(len(b))) }

// TestTypes compares the conversions to float32 with the conversions by PyTorch. The test
// file holds these as tensors with names that end in .float32.
func TestTypes(t *testing.T) {
	f, err := Open("testdata/dtypes.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string][]float32{}
	for i := range f.Tensors {
		if name, ok := strings.CutSuffix(f.Tensors[i].Name, ".float32"); ok {
			if want[name], err = f.Tensors[i].Float32(); err != nil {
				t.Fatal(err)
			}
		}
	}
	checked := 0
	for i := range f.Tensors {
		x := &f.Tensors[i]
		values := want[x.Name]
		if values == nil {
			continue
		}
		checked++
		got, err := x.Float32()
		if err != nil || x.DType != x.Name || !slices.Equal(x.Shape, []int{len(values)}) {
			t.Fatalf("tensor %q has type %s and shape %v, error %v; want the type %[1]s and %[5]d elements", x.Name, x.DType, x.Shape, err, len(values))
		}
		for j := range values {
			if math.Float32bits(got[j]) != math.Float32bits(values[j]) {
				t.Errorf("%s: value %d is %v, want %v", x.Name, j, got[j], values[j])
			}
		}
	}
	if checked != 10 || f.Metadata["format"] != "pt" {
		t.Errorf("checked %d types, metadata %v; want 10 types and format pt", checked, f.Metadata)
	}
}

// TestFloat16 compares every float16 value with the formula of IEEE 754.
func TestFloat16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		exponent, fraction := int(h>>10&31), float64(h&1023)
		want := math.Ldexp(1+fraction/1024, exponent-15)
		switch {
		case exponent == 0:
			want = math.Ldexp(fraction/1024, -14)
		case exponent == 31 && fraction == 0:
			want = math.Inf(1)
		case exponent == 31:
			want = math.NaN()
		}
		if h>>15 == 1 {
			want = math.Copysign(want, -1)
		}
		got := fromF16(h)
		if math.Signbit(float64(got)) != (h>>15 == 1) || float64(got) != want && !(math.IsNaN(want) && got != got) {
			t.Errorf("%#04x is %v, want %v", h, got, want)
		}
	}
}

// TestHeader reads a header with names in any order, a tensor without dimensions, an empty
// tensor and spaces at the end.
func TestHeader(t *testing.T) {
	f, err := read(file(`{"b":{"data_offsets":[1,3],"shape":[2],"dtype":"U8"}, "Ab":{"dtype":"U8","shape":[],"data_offsets":[0,1]},
		"ab":{"dtype":"F32","shape":[3,0],"data_offsets":[3,3]},"__metadata__":{"k":"v","K":"w"}}   `, 3))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range f.Tensors {
		got = append(got, f.Tensors[i].Name)
		if _, err := f.Tensors[i].Float32(); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(got, []string{"Ab", "b", "ab"}) || f.Metadata["k"] != "v" || f.Metadata["K"] != "w" {
		t.Errorf("got tensors %v and metadata %v, want Ab, b and ab, and k: v and K: w", got, f.Metadata)
	}
	if raw, err := f.Tensors[1].Bytes(); err != nil || !bytes.Equal(raw, []byte{2, 3}) {
		t.Errorf("b holds %v, error %v; want [2 3]", raw, err)
	}
}

// TestReadRefuses checks that Read refuses damaged files with an error that gives the reason.
func TestReadRefuses(t *testing.T) {
	const a = `"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`
	for _, c := range []struct {
		want, header string
		size         int
	}{
		{"unknown type", `{"a":{"dtype":"U9","shape":[2],"data_offsets":[0,2]}}`, 2},
		{"has 2 bytes", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,2]}}`, 2},
		{"an invalid shape", `{"a":{"dtype":"U8","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,2]}}`, 2},
		{"an invalid shape", `{"a":{"dtype":"U8","shape":[9223372036854775807,2],"data_offsets":[0,0]}}`, 0},
		{"an invalid shape", `{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,2]}}`, 2},
		{"an invalid shape", `{"a":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}}`, 1},
		{"cannot be read", `{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,2]}}`, 2},
		{"cannot be read", `{"a":{"dtype":"U8","shape":[1e1],"data_offsets":[0,10]}}`, 10},
		{"at most 64 dimensions", `{"a":{"dtype":"U8","shape":[` + strings.Repeat("1,", 64) + `1],"data_offsets":[0,1]}}`, 1},
		{"tensors before it end at 2", `{` + a + `,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}}`, 5},
		{"tensors before it end at 2", `{` + a + `,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3},
		{"tensors before it end at 2", `{` + a + `,"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2},
		{"begins at byte 1", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3},
		{"1 bytes after the last tensor belong to no tensor", `{` + a + `}`, 3},
		{"1 are left", `{` + a + `}`, 1},
		{"beginning and end", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}`, 2},
		{"beginning and end", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[-2,0]}}`, 2},
		{"beginning and end", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[2]}}`, 2},
		{"beginning and end", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2,2]}}`, 2},
		{"cannot be read", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,9223372036854775808]}}`, 2},
		{"the header cannot be read", `{` + a + `,` + a + `}`, 2},
		{"the header cannot be read", `{` + a + `,"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}`, 2},
		{"the header cannot be read", `{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2},
		{"the header cannot be read", `{"__metadata__":{},"__metadata__":{}}`, 0},
		{"the header cannot be read", `{"__metadata__":{"k":"1","k":"2"}}`, 0},
		{`entry of tensor "a" cannot be read`, `{"a":{"DType":"U8","shape":[2],"data_offsets":[0,2]}}`, 2},
		{"it must have a dtype", `{"a":{"shape":[2],"data_offsets":[0,2]}}`, 2},
		{"it must have a dtype", `{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1},
		{"it must have a dtype", `{"a":{"dtype":"U8","shape":[0]}}`, 0},
		{"it must have a dtype", `{"a":null}`, 0},
		{"cannot be read", `{"a":{"dtype":8,"shape":[2],"data_offsets":[0,2]}}`, 2},
		{"not an object of strings", `{"__metadata__":{"k":1}}`, 0},
		{"not an object of strings", `{"__metadata__":null}`, 0},
		{"cannot be read", `{"a":[]}`, 0},
		{"does not begin with {", ` {}`, 0},
		{"does not begin with {", ``, 0},
		{"not valid UTF-8", "{\"\xff\":{}}", 0},
		{"has data after its value", `{}{}`, 0},
		{"ends too early", `{"a":`, 0},
	} {
		_, err := read(file(c.header, c.size))
		var e *Error
		if !errors.As(err, &e) || !e.BadInput() || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200s: got error %v, want an *Error that says %q", c.header, err, c.want)
		}
	}
	for _, b := range [][]byte{nil, {1, 2}, {0, 0, 0, 0, 0, 0, 0, 0x80}, {255, 255, 255, 255, 255, 255, 255, 255}, {3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}} {
		if _, err := read(b); !errors.As(err, new(*Error)) {
			t.Errorf("%v: got error %v, want an *Error", b, err)
		}
	}
}

// TestFloat32RefusesFloat8 checks that Float32 refuses a type that has no conversion.
func TestFloat32RefusesFloat8(t *testing.T) {
	f, err := read(file(`{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}`, 2))
	if err != nil {
		t.Fatal(err)
	}
	var e *TypeError
	if _, err := f.Tensors[0].Float32(); !errors.As(err, &e) || !e.BadInput() {
		t.Errorf("got error %v, want a *TypeError", err)
	}
}

// TestTruncatedAfterHeader checks that reading a tensor fails if the file is shorter than the
// size that Read was given.
func TestTruncatedAfterHeader(t *testing.T) {
	b := file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 4)
	f, err := Read(bytes.NewReader(b[:len(b)-2]), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := f.Tensors[0].Float32(); err == nil {
		t.Errorf("got values %v and no error, want an error", v)
	}
}

// TestIs checks which first bytes of a file Is recognises as safetensors.
func TestIs(t *testing.T) {
	for _, c := range []struct {
		prefix []byte
		want   bool
	}{
		{file("{}", 0), true}, {file("{}", 0)[:8], false}, {nil, false}, {file("[]", 0), false},
		{[]byte("PK\x03\x04\x00\x00\x08\x08{"), false}, {[]byte{1, 0, 0, 0, 0, 0, 0, 0, '{'}, false},
	} {
		if got := Is(c.prefix); got != c.want {
			t.Errorf("Is(%q) is %v, want %v", c.prefix, got, c.want)
		}
	}
}

// TestIndex reads a model that an index splits into two files, and checks that wrong indexes
// are refused.
func TestIndex(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("model-00001-of-00002.safetensors", file(`{"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2))
	write("model-00002-of-00002.safetensors", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2))
	index := func(weights string) string {
		return write("model.safetensors.index.json", []byte(`{"metadata":{"total_size":4},"weight_map":`+weights+`}`))
	}
	f, err := Open(index(`{"a":"model-00002-of-00002.safetensors","b":"model-00001-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}`))
	if err != nil {
		t.Fatal(err)
	}
	var names string
	for i := range f.Tensors {
		names += f.Tensors[i].Name
	}
	if v, err := f.Tensors[2].Float32(); err != nil || !slices.Equal(v, []float32{1, 2}) || names != "bca" || f.Metadata["format"] != "pt" {
		t.Errorf("got tensors %s, a = %v (error %v) and metadata %v; want bca, [1 2] and format pt", names, v, err, f.Metadata)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Tensors[2].Float32(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reading after Close: got error %v, want fs.ErrClosed", err)
	}

	const firstFile = `"b":"model-00001-of-00002.safetensors","c":"model-00001-of-00002.safetensors"`
	for _, c := range []struct{ want, weights string }{
		{`holds the tensor "c"`, `{"b":"model-00001-of-00002.safetensors"}`},
		{`lists the tensor "d"`, `{` + firstFile + `,"d":"model-00001-of-00002.safetensors"}`},
		{"the index cannot be read", `{` + firstFile + `,"b":"model-00002-of-00002.safetensors"}`},
		{"a name without a folder", `{"a":"../model-00002-of-00002.safetensors"}`},
		{"a name without a folder", `{"a":".."}`},
		{"a name without a folder", `{"a":"x\\y"}`},
		{"the index cannot be read", `{"a":1}`},
		{"the index has no weight_map", `null`},
		{"the index cannot be read", `{`},
	} {
		if _, err := Open(index(c.weights)); !errors.As(err, new(*Error)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want an *Error that says %q", c.weights, err, c.want)
		}
	}
	if _, err := Open(index(`{"a":"missing.safetensors"}`)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an index that lists a missing file: got error %v, want fs.ErrNotExist", err)
	}
	if _, err := Open(dir); !errors.As(err, new(*Error)) {
		t.Errorf("opening a folder: got error %v, want an *Error", err)
	}
}
