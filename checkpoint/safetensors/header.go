package safetensors

import (
	"cmp"
	"encoding/json"
	"slices"

	"bnkit/checkpoint/strictjson"
)

// metadataKey is the only key of a header that does not name a tensor.
const metadataKey = "__metadata__"

// maxDims is the largest number of dimensions that a tensor may have.
const maxDims = 64

// entry describes a tensor in a header.
type entry struct {
	DType   string  `json:"dtype"`
	Shape   []int   `json:"shape"`
	Offsets []int64 `json:"data_offsets"` // beginning and end, counted from the end of the header
}

// parseHeader parses a header. The offsets of the tensors count from the end of the header.
// checkLayout must still compare them with the file and with the shapes.
func parseHeader(raw []byte) (*File, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return nil, invalid("the header does not begin with {")
	}
	var entries map[string]json.RawMessage
	if err := strictjson.Unmarshal(raw, &entries); err != nil {
		return nil, invalid("the header cannot be read: %v", err)
	}
	f := &File{}
	for name, text := range entries {
		if name == metadataKey {
			if err := strictjson.Unmarshal(text, &f.Metadata); err != nil || f.Metadata == nil {
				return nil, invalid("%s is not an object of strings", name)
			}
			continue
		}
		var e entry
		if err := strictjson.Unmarshal(text, &e); err != nil {
			return nil, invalid("the entry of tensor %q cannot be read: %v", name, err)
		}
		if e.DType == "" || e.Shape == nil || len(e.Offsets) != 2 || e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] || len(e.Shape) > maxDims {
			return nil, invalid("tensor %q has the dtype %q, %d dimensions and the data_offsets %v; it must have a dtype, a shape of at most %d dimensions, and the offsets of its beginning and end",
				name, e.DType, len(e.Shape), e.Offsets, maxDims)
		}
		f.Tensors = append(f.Tensors, Tensor{Name: name, DType: e.DType, Shape: e.Shape, offset: e.Offsets[0], size: e.Offsets[1] - e.Offsets[0]})
	}
	return f, nil
}

// checkLayout sorts the tensors by their offsets. It checks that they fill size bytes without
// gaps or overlaps, and that each has the length that its type and shape require.
func (f *File) checkLayout(size int64) error {
	slices.SortFunc(f.Tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.size, b.size), cmp.Compare(a.Name, b.Name))
	})
	end := int64(0)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		want, ok := t.length()
		switch {
		case elementSizes[t.DType] == 0:
			return invalid("tensor %q has the unknown type %q", t.Name, t.DType)
		case !ok:
			return invalid("tensor %q has an invalid shape, %v", t.Name, t.Shape)
		case want != t.size:
			return invalid("tensor %q has %d bytes, but its type %s and shape %v require %d", t.Name, t.size, t.DType, t.Shape, want)
		case t.offset != end:
			return invalid("tensor %q begins at byte %d, but the tensors before it end at %d", t.Name, t.offset, end)
		case t.size > size-end:
			return invalid("tensor %q has %d bytes, but %d are left in the file", t.Name, t.size, size-end)
		}
		end += t.size
	}
	if end != size {
		return invalid("%d bytes after the last tensor belong to no tensor", size-end)
	}
	return nil
}

// length returns the number of bytes that the type and shape require. ok reports whether
// all dimensions are valid and the number is not too large.
func (t *Tensor) length() (size int64, ok bool) {
	const limit = 1 << 62
	size = int64(elementSizes[t.DType])
	for _, d := range t.Shape {
		if d < 0 || size > 0 && int64(d) > limit/size {
			return 0, false
		}
		size *= int64(d)
	}
	return size, true
}
