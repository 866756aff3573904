package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"bnkit/checkpoint/durable"
)

// Write atomically writes tensors to path in the given order. Their names must be unique.
// metadata becomes the file's __metadata__, which is left out if metadata is empty. Tensors
// read from a file are copied byte for byte. That file may be the one at path.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	b, err := encode(tensors, metadata)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return durable.WriteFile(path, b)
}

// encode returns the content of a safetensors file.
func encode(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	header := map[string]any{}
	if len(metadata) > 0 {
		header[metadataKey] = metadata
	}
	var offset int64
	for i := range tensors {
		t := &tensors[i]
		switch want, ok := t.length(); {
		case elementSizes[t.DType] == 0:
			return nil, fmt.Errorf("tensor %q has the unknown type %q", t.Name, t.DType)
		case !ok:
			return nil, fmt.Errorf("tensor %q has an invalid shape, %v", t.Name, t.Shape)
		case want != t.size:
			return nil, fmt.Errorf("tensor %q has %d bytes, but its type %s and shape %v require %d", t.Name, t.size, t.DType, t.Shape, want)
		case t.Name == metadataKey:
			return nil, fmt.Errorf("a tensor cannot be named %q", t.Name)
		case header[t.Name] != nil:
			return nil, fmt.Errorf("two tensors are named %q", t.Name)
		}
		// JSON needs [] and not null for the shape of a scalar.
		header[t.Name] = entry{t.DType, append([]int{}, t.Shape...), []int64{offset, offset + t.size}}
		offset += t.size
	}
	raw, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	// Spaces after the header align the first tensor to 8 bytes.
	raw = append(raw, bytes.Repeat([]byte(" "), (8-len(raw)%8)%8)...)
	b := make([]byte, 0, prefixSize+int64(len(raw))+offset)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(raw)))
	b = append(b, raw...)
	for i := range tensors {
		elements, err := tensors[i].Bytes()
		if err != nil {
			return nil, err
		}
		b = append(b, elements...)
	}
	return b, nil
}
