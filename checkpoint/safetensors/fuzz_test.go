package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"bnkit/checkpoint/alloctest"
)

// maxFuzz bounds the length of inputs in bytes. Longer inputs would only make fuzzing slower.
const maxFuzz = 1 << 16

// FuzzRead reads arbitrary bytes. Reading must allocate at most 4 MiB plus 400 times the size of
// the file. The tensors of an accepted file must fit into it, and their bytes and the metadata
// must not change when they are written and read again.
func FuzzRead(f *testing.F) {
	b, err := os.ReadFile("testdata/dtypes.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(file(`{}`, 0))
	f.Add(file(`{"a":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]},"__metadata__":{"k":"v"}}  `, 4))
	f.Add(file(`{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"b":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[1,1]}}`, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		var first *File
		var err error
		alloctest.AtMost(t, 4<<20+400*len(b), func() { first, err = read(b) })
		if err != nil {
			return
		}
		contents, total := bytesOf(t, first), 0
		for i := range first.Tensors {
			x := &first.Tensors[i]
			total += len(contents[x.Name])
			if values, err := x.Float32(); err == nil && len(values)*elementSizes[x.DType] != len(contents[x.Name]) {
				t.Errorf("%s has %d values, want one for each element of type %s in %d bytes", x.Name, len(values), x.DType, len(contents[x.Name]))
			}
		}
		if total > len(b) {
			t.Errorf("the tensors have %d bytes, want at most the %d of the file", total, len(b))
		}
		encoded, err := encode(first.Tensors, first.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		again, err := read(encoded)
		if err != nil || !maps.EqualFunc(bytesOf(t, again), contents, bytes.Equal) || !maps.Equal(again.Metadata, first.Metadata) {
			t.Errorf("the file was read as %+v, and after encoding as %+v, error %v; want no change", first, again, err)
		}
	})
}

// FuzzIndex parses arbitrary bytes as an index of several files. Parsing must allocate at most 1 MiB
// plus 800 times their number. The names of the files in an accepted index must not lead out of its
// folder, and its content must not change when it is written and parsed again.
func FuzzIndex(f *testing.F) {
	for _, text := range []string{
		`{"metadata":{"total_size":8},"weight_map":{"a":"m-00001-of-00002.safetensors","b":"m-00002-of-00002.safetensors","c":"m-00001-of-00002.safetensors"}}`,
		`{"weight_map":{}}`, `{"weight_map":null}`, `{"weight_map":{"a":"../b"}}`, `{"weight_map":{"a":".."}}`, `{"weight_map":{"a":"b\\c"}}`, `{"weight_map":{"a":"b","a":"c"}}`, `[]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		var files map[string]map[string]bool
		var err error
		alloctest.AtMost(t, 1<<20+800*len(b), func() { files, err = parseIndex(b) })
		if err != nil {
			var invalid *Error
			if !errors.As(err, &invalid) {
				t.Errorf("got error %v, want an *Error", err)
			}
			return
		}
		names := map[string]string{}
		for file, tensors := range files {
			if filepath.Dir(filepath.Join("dir", file)) != "dir" {
				t.Errorf("%q was accepted, want an error for the file %q", b, file)
			}
			for name := range tensors {
				names[name] = file
			}
		}
		text, err := json.Marshal(map[string]any{"weight_map": names})
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseIndex(text)
		if err != nil || !maps.EqualFunc(again, files, maps.Equal) {
			t.Errorf("%q was parsed as %v, and after encoding as %v, error %v; want no change", b, files, again, err)
		}
	})
}
