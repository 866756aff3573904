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
	"runtime"
	"strings"
	"testing"
)

// TestReadOtherFiles reads files that are not .bnz files. The error must name the path and
// the reason, and the memory that is allocated must not grow with the size of the file.
func TestReadOtherFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadFile(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "ckpt.bnz") {
		t.Errorf("a missing file: %v, want an error that says what to name", err)
	}
	if _, err := ReadFile(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "ckpt.bnz")) {
		t.Errorf("a folder: %v, want an error that says what to name", err)
	}
	whole := encoded(t, sample())
	for name, c := range map[string]struct {
		content []byte
		size    int64 // of the file; the rest is a hole
	}{
		"empty":                 {nil, 0},
		"a zip":                 {[]byte("PK\x03\x04"), 4},
		"only the magic number": {whole[:8], 8},
		"64 GB of something":    {[]byte("something"), 64 << 30},
		"64 GB after a file":    {whole, 64 << 30},
	} {
		path := filepath.Join(dir, "x.bnz")
		if err := os.WriteFile(path, c.content, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, c.size); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for reader, err := range map[string]error{"ReadFile": second(ReadFile(path)), "ReadInfo": second(ReadInfo(path))} {
			var format *FormatError
			if !errors.As(err, &format) || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s of file %q: %v, want a *FormatError and the path", reader, name, err)
			}
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("file %q: %d bytes were allocated", name, grown)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestWriteSafetensors reads the file back according to the safetensors format.
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
		t.Errorf("the tensors begin at byte %d, want a multiple of 8", 8+n)
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(b[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	if string(header["__metadata__"]) != `{"arch":"resnet-8"}` || len(header) != 3 {
		t.Errorf("unexpected header %s", b[8:8+n])
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
			t.Errorf("unexpected entry %+v of %s", e, x.Name)
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
		t.Errorf("the file has %d bytes, want %d", len(b), 8+int(n)+end)
	}

	// A __metadata__ of null would not be valid.
	if err := WriteSafetensors(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("__metadata__")) {
		t.Errorf("without metadata: %q, %v", b, err)
	}

	for name, bad := range map[string][]Tensor{
		"reserved name":   {{Name: "__metadata__", Shape: []int{1}, Float32: []float32{1}}},
		"duplicate names": {tensors[0], tensors[0]},
		"float64":         {{Name: "x", Shape: []int{1}, Float64: []float64{1}}},
		"wrong shape":     {{Name: "x", Shape: []int{2}, Float32: []float32{1}}},
	} {
		if err := WriteSafetensors(filepath.Join(t.TempDir(), "x"), bad, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
