package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestWrite checks a written file against the safetensors specification, without using Read.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	type tensor struct {
		name   string
		shape  []int
		values []float32
	}
	want := []tensor{
		{"conv.weight", []int{2, 1, 1, 2}, []float32{1, -2, 3.5, float32(math.Inf(-1))}},
		{"bn.bias", []int{1}, []float32{7}},
		{"scale", nil, []float32{9}},
	}
	var tensors []Tensor
	for _, x := range want {
		tensors = append(tensors, New(x.name, x.shape, x.values))
	}
	if err := Write(path, tensors, map[string]string{"arch": "resnet-8"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	if n%8 != 0 {
		t.Errorf("the tensors begin at byte %d, want a multiple of 8", 8+n)
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(b[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	if string(header["__metadata__"]) != `{"arch":"resnet-8"}` || len(header) != 4 {
		t.Errorf(`the header is %s, want 3 tensors and the metadata {"arch":"resnet-8"}`, b[8:8+n])
	}
	end := 0
	for _, x := range want {
		var e struct {
			Dtype   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(header[x.name], &e); err != nil {
			t.Fatal(err)
		}
		if e.Dtype != "F32" || e.Shape == nil || len(e.Shape) != len(x.shape) || e.Offsets[0] != end {
			t.Errorf("the entry of %s is %+v, want type F32, %d dimensions and the first offset %d", x.name, e, len(x.shape), end)
		}
		end = e.Offsets[1]
		for i, v := range x.values {
			begin := 8 + int(n) + e.Offsets[0] + 4*i
			if got := math.Float32frombits(binary.LittleEndian.Uint32(b[begin:])); got != v {
				t.Errorf("%s[%d] is %v, want %v", x.name, i, got, v)
			}
		}
	}
	if len(b) != 8+int(n)+end {
		t.Errorf("the file has %d bytes, want %d", len(b), 8+int(n)+end)
	}

	// Without metadata, the header must have no __metadata__, because null is not valid there.
	if err := Write(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("__metadata__")) {
		t.Errorf("without metadata: wrote %q, error %v; want no __metadata__", b, err)
	}

	for name, bad := range map[string][]Tensor{
		"reserved name":   {New("__metadata__", []int{1}, []float32{1})},
		"duplicate names": {tensors[0], tensors[0]},
		"unknown type":    {Tensor{Name: "x", DType: "f64", Shape: []int{1}}.WithBytes(make([]byte, 8))},
		"wrong shape":     {New("x", []int{2}, []float32{1})},
		"wrong length":    {tensors[0].WithBytes(make([]byte, 3))},
	} {
		if err := Write(filepath.Join(t.TempDir(), "x"), bad, nil); err == nil {
			t.Errorf("%s: Write returned no error, want one", name)
		}
	}
}

// TestReplaceOneTensor writes a file over itself with one tensor replaced. The bytes of all other
// tensors must not change.
func TestReplaceOneTensor(t *testing.T) {
	raw, err := os.ReadFile("testdata/dtypes.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	before := open(t, path)
	contents := bytesOf(t, before)
	replaced := before.Tensors[4] // F16
	zeros := make([]byte, len(contents[replaced.Name]))
	before.Tensors[4] = replaced.WithBytes(zeros)
	if err := Write(path, before.Tensors, before.Metadata); err != nil {
		t.Fatal(err)
	}
	after := open(t, path)
	for i := range after.Tensors {
		a, b := &after.Tensors[i], &before.Tensors[i]
		if a.Name != b.Name || a.DType != b.DType || !reflect.DeepEqual(a.Shape, b.Shape) {
			t.Errorf("tensor %d is %s %s %v, want %s %s %v", i, a.Name, a.DType, a.Shape, b.Name, b.DType, b.Shape)
		}
	}
	contents[replaced.Name] = zeros
	if got := bytesOf(t, after); !maps.EqualFunc(got, contents, bytes.Equal) || !maps.Equal(after.Metadata, before.Metadata) {
		t.Errorf("read the tensors %v and the metadata %v, want %v and %v", got, after.Metadata, contents, before.Metadata)
	}
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// bytesOf returns the bytes of all tensors, keyed by tensor name.
func bytesOf(t *testing.T, f *File) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for i := range f.Tensors {
		raw, err := f.Tensors[i].Bytes()
		if err != nil {
			t.Fatal(err)
		}
		all[f.Tensors[i].Name] = raw
	}
	return all
}
