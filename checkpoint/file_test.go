package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestWriteFileAtomic checks content and mode, and that a failure leaves what
// was there and nothing beside it.
func TestWriteFileAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, content := range []string{"first", "second, longer", ""} {
		if err := WriteFileAtomic(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("%q, %v; want %q", got, err, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}

	if err := WriteFileAtomic(filepath.Join(dir, "missing", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a missing folder: %v", err)
	}
	// A folder that is not empty cannot be replaced by a file.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFileAtomic(taken, []byte("x")); err == nil {
		t.Error("a folder was replaced")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestReadFileNamesThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.bnz")
	if _, err := ReadFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path, []byte("PK\x03\x04"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"ReadFile": second(ReadFile(path)), "ReadInfo": second(ReadInfo(path))} {
		var format *FormatError
		if !errors.As(err, &format) || !bytes.Contains([]byte(err.Error()), []byte(path)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestWriteSafetensors reads the file back as the safetensors format says.
func TestWriteSafetensors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	tensors := []Tensor{
		{Name: "conv.weight", Shape: []int{2, 1, 1, 2}, Float32: []float32{1, -2, 3.5, float32(math.Inf(-1))}},
		{Name: "bn.bias", Shape: []int{1}, Float32: []float32{7}},
	}
	if err := WriteSafetensors(path, tensors, map[string]string{"arch": "resnet-8"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	if n%8 != 0 {
		t.Errorf("the tensors begin at %d", 8+n)
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(b[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	if string(header["__metadata__"]) != `{"arch":"resnet-8"}` || len(header) != 3 {
		t.Errorf("header %s", b[8:8+n])
	}
	end := 0
	for _, x := range tensors {
		var e struct {
			Dtype   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(header[x.Name], &e); err != nil {
			t.Fatal(err)
		}
		if e.Dtype != "F32" || len(e.Shape) != len(x.Shape) || e.Offsets[0] != end {
			t.Errorf("%s: %+v", x.Name, e)
		}
		end = e.Offsets[1]
		for i, v := range x.Float32 {
			at := 8 + int(n) + e.Offsets[0] + 4*i
			if got := math.Float32frombits(binary.LittleEndian.Uint32(b[at:])); got != v {
				t.Errorf("%s[%d] is %v, want %v", x.Name, i, got, v)
			}
		}
	}
	if len(b) != 8+int(n)+end {
		t.Errorf("%d bytes, want %d", len(b), 8+int(n)+end)
	}

	for name, bad := range map[string][]Tensor{
		"two of a name": {tensors[0], tensors[0]},
		"float64":       {{Name: "x", Shape: []int{1}, Float64: []float64{1}}},
		"shape":         {{Name: "x", Shape: []int{2}, Float32: []float32{1}}},
	} {
		if err := WriteSafetensors(filepath.Join(t.TempDir(), "x"), bad, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
