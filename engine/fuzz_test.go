package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"bnkit/checkpoint"
	"bnkit/checkpoint/alloctest"
)

// FuzzModel loads models whose headers and tensors are arbitrary but whose containers are
// intact. Loading must allocate at most 256 MiB plus 4 times the memory limit, which is 32 MiB.
// Every error must be about the file or about memory, and an accepted model must be the same
// after it is saved and loaded again.
//
// The input is the index base of a file, whose tensors are used, and a header, as JSON. The
// bytes of patch replace the first values of the tensor with index patched, and the last drop
// tensors are left out. Indices are taken modulo the length of the list.
func FuzzModel(f *testing.F) {
	const pruned = "blocks.2.bn1"
	small, clamped := untrainedFile(f, "resnet-8", 0.0625), untrainedFile(f, "resnet-8", 0.0625)
	clamped.Header.Pruned = map[string][]int{pruned: {1}}
	for i := range clamped.Tensors {
		if x := &clamped.Tensors[i]; x.Name == pruned+".weight" {
			x.Float32[1] = 0
		}
	}
	described, err := checkpoint.ReadFile("testdata/pruned-weights.bnz")
	if err != nil {
		f.Fatal(err)
	}
	bases := []*checkpoint.File{small, clamped, described}
	for i, file := range bases {
		if _, err := newModel(file); err != nil {
			f.Fatal(err)
		}
		header, err := json.Marshal(file.Header)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), header, 0, []byte{}, uint8(0))
		f.Add(uint8(i), header, 1, []byte{0, 0, 0x80, 0x7f}, uint8(0))
		f.Add(uint8(i), header, 0, []byte{}, uint8(1))
	}
	const limit = 32 << 20
	path := filepath.Join(f.TempDir(), "x.bnz")
	f.Fuzz(func(t *testing.T, base uint8, header []byte, patched int, patch []byte, drop uint8) {
		file := checkpoint.File{}
		if len(header) > 1<<16 || json.Unmarshal(header, &file.Header) != nil {
			return // package checkpoint tests such headers
		}
		tensors := bases[int(base)%len(bases)].Tensors
		for i, x := range tensors[:max(0, len(tensors)-int(drop))] {
			if x.Float32 != nil {
				x.Float32 = append([]float32{}, x.Float32...)
			} else {
				x.Float64 = append([]float64{}, x.Float64...)
			}
			if len(patch) > 0 && i == (patched%len(tensors)+len(tensors))%len(tensors) {
				patchTensor(&x, patch)
			}
			file.Tensors = append(file.Tensors, x)
		}
		var b bytes.Buffer
		if checkpoint.Encode(&b, &file) != nil {
			return
		}
		if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		var m *Model
		var err error
		alloctest.AtMost(t, 256<<20+4*limit, func() { m, err = LoadModelContext(context.Background(), path, limit) })
		if err != nil {
			mustBlameFile(t, err)
			return
		}
		first, err := m.File()
		if err != nil {
			mustBlameFile(t, err)
			return
		}
		again, err := newModel(first)
		if err != nil {
			t.Fatalf("%s: the saved model cannot be loaded: %v", header, err)
		}
		second, err := again.File()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encodeFile(t, first), encodeFile(t, second)) {
			t.Errorf("%s: saved as %+v, and after loading as %+v; want the same file", header, first.Header, second.Header)
		}
	})
}

// patchTensor replaces the first values of x by those of which patch holds the bits.
func patchTensor(x *checkpoint.Tensor, patch []byte) {
	for i := range x.Float32 {
		if 4*i+4 <= len(patch) {
			x.Float32[i] = math.Float32frombits(binary.LittleEndian.Uint32(patch[4*i:]))
		}
	}
	for i := range x.Float64 {
		if 8*i+8 <= len(patch) {
			x.Float64[i] = math.Float64frombits(binary.LittleEndian.Uint64(patch[8*i:]))
		}
	}
}

// mustBlameFile checks that err says that the file is at fault, or that it would take more
// memory than the limit allows.
func mustBlameFile(t *testing.T, err error) {
	t.Helper()
	var bad interface{ BadInput() bool }
	var memory *MemoryError
	if !errors.As(err, &bad) && !errors.As(err, &memory) {
		t.Errorf("got error %v, want one about the file or about memory", err)
	}
}

// encodeFile returns a file in the .bnz format.
func encodeFile(t *testing.T, file *checkpoint.File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := checkpoint.Encode(&b, file); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
