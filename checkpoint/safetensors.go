package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"bnkit/checkpoint/durable"
)

// WriteSafetensors atomically writes float32 tensors to path in the safetensors format, in
// the given order. It ignores sections; names must be unique. metadata becomes the file's
// __metadata__, which is left out if metadata is empty.
func WriteSafetensors(path string, tensors []Tensor, metadata map[string]string) error {
	type entry struct {
		Type    string    `json:"dtype"`
		Shape   []int     `json:"shape"`
		Offsets [2]uint64 `json:"data_offsets"`
	}
	header := map[string]any{}
	if len(metadata) > 0 {
		header["__metadata__"] = metadata
	}
	var offset uint64
	for i := range tensors {
		x := &tensors[i]
		e := x.entry()
		elements, size, err := e.length(maxData)
		switch {
		case err != nil:
			return fmt.Errorf("write %s: %w", path, err)
		case int(elements) != len(x.Float32):
			return fmt.Errorf("write %s: tensor %q of shape %v has %d float32 elements", path, x.Name, x.Shape, len(x.Float32))
		case x.Name == "__metadata__":
			return fmt.Errorf("write %s: a tensor cannot be named %q", path, x.Name)
		case header[x.Name] != nil:
			return fmt.Errorf("write %s: two tensors are named %q", path, x.Name)
		}
		header[x.Name] = entry{"F32", x.Shape, [2]uint64{offset, offset + size}}
		offset += size
	}
	raw, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// Spaces after the header align the tensors to 8 bytes.
	raw = append(raw, bytes.Repeat([]byte(" "), (8-len(raw)%8)%8)...)
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(raw)))
	b = append(b, raw...)
	for i := range tensors {
		b = append(b, tensors[i].bytes()...)
	}
	return durable.WriteFile(path, b)
}
