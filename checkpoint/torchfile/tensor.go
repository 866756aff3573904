package torchfile

import (
	"math"
	"math/bits"
)

// storageType is the type of a storage's elements.
type storageType struct {
	dtype string // empty if tensors of this type cannot be read
	size  int64  // bytes of an element
}

// storageTypes holds the types of elements by the class of the storage. The types that
// cannot be read are listed for their sizes, which readStorages needs to skip their storages.
var storageTypes = map[string]storageType{
	"DoubleStorage":        {"F64", 8},
	"FloatStorage":         {"F32", 4},
	"HalfStorage":          {"F16", 2},
	"BFloat16Storage":      {"BF16", 2},
	"LongStorage":          {"I64", 8},
	"IntStorage":           {"I32", 4},
	"ShortStorage":         {"I16", 2},
	"CharStorage":          {"I8", 1},
	"ByteStorage":          {"U8", 1},
	"BoolStorage":          {"BOOL", 1},
	"UntypedStorage":       {"U8", 1},
	"_UntypedStorage":      {"U8", 1},
	"ComplexFloatStorage":  {"", 8},
	"ComplexDoubleStorage": {"", 16},
	"QInt8Storage":         {"", 1},
	"QUInt8Storage":        {"", 1},
	"QInt32Storage":        {"", 4},
	"QUInt4x2Storage":      {"", 1},
	"QUInt2x4Storage":      {"", 1},
}

// dtypes holds the types of elements by the names that _rebuild_tensor_v3 gives them.
var dtypes = map[string]storageType{
	"torch.float64":  {"F64", 8},
	"torch.float32":  {"F32", 4},
	"torch.float16":  {"F16", 2},
	"torch.bfloat16": {"BF16", 2},
	"torch.int64":    {"I64", 8},
	"torch.int32":    {"I32", 4},
	"torch.int16":    {"I16", 2},
	"torch.int8":     {"I8", 1},
	"torch.uint8":    {"U8", 1},
	"torch.bool":     {"BOOL", 1},
}

// block is the memory that storages share.
type block struct {
	key  string
	elem int64  // bytes of an element, to compare size with a legacy file's number of elements
	size int64  // bytes
	data []byte // nil until a tensor of the state dict needs it
}

// storage is a block or, in old files, a part of a block.
type storage struct {
	block       *block
	class       string
	typ         storageType
	begin, size int64 // where it begins in the block, and its length, in bytes
}

// tensor is a view of a storage.
type tensor struct {
	storage *storage
	dtype   string
	elem    int64
	offset  int64 // elements of the storage before the first one
	shape   []int
	strides []int64 // by dimension, the distance of neighbours in the storage, in elements
	numel   int64
}

// parseStorage returns the storage that an identifier describes by its type, key, location,
// number of elements and, in a legacy file, a part of the storage or None.
func (m *machine) parseStorage(id []any) (*storage, error) {
	c, ok := id[0].(*class)
	key, ok2 := text(id[1])
	n, ok3 := id[3].(int64)
	if !ok || !ok2 || !ok3 {
		return nil, m.damaged("the identifier of a storage has values of wrong types")
	}
	s := &storage{class: c.name}
	for _, module := range []string{"torch.", "torch.storage.", "torch.cuda."} {
		if len(c.name) > len(module) && c.name[:len(module)] == module {
			if t, ok := storageTypes[c.name[len(module):]]; ok {
				s.typ = t
			}
		}
	}
	if s.typ.size == 0 {
		return nil, refuse("a storage of the type %s cannot be read; convert the model to float32 and save it again", printable(c.name))
	}
	if n < 0 || n > m.limit/s.typ.size {
		return nil, m.damaged("storage %s has %d elements of %d bytes, but the file has %d bytes", printable(key), n, s.typ.size, m.limit)
	}
	s.size = n * s.typ.size
	b := m.storages[key]
	if b == nil {
		if err := m.spend(160); err != nil {
			return nil, err
		}
		b = &block{key: key, elem: s.typ.size, size: s.size}
		m.storages[key] = b
	}
	if b.size != s.size {
		return nil, m.damaged("storage %s has %d bytes here, but %d in another place", printable(key), s.size, b.size)
	}
	s.block = b
	if len(id) < 5 || id[4] == nil {
		return s, nil
	}
	t, ok := id[4].(*tuple)
	if !ok || len(t.items) != 3 {
		return nil, m.damaged("a part of storage %s is of type %s", printable(key), describe(id[4]))
	}
	offset, ok := t.items[1].(int64)
	part, ok2 := t.items[2].(int64)
	if !ok || !ok2 || offset < 0 || part < 0 || offset > n || part > n-offset {
		return nil, m.damaged("a part of storage %s is outside of it", printable(key))
	}
	s.begin, s.size = offset*s.typ.size, part*s.typ.size
	return s, nil
}

// maxDims is the largest number of dimensions that PyTorch allows.
const maxDims = 64

// rebuild returns the tensor that args describe: a storage, an offset, a shape,
// strides and, as the seventh argument of version 3, the type of the elements.
func (m *machine) rebuild(name string, args []any) (any, int64, error) {
	if len(args) < 4 {
		return nil, 0, m.damaged("a tensor is made of %d values", len(args))
	}
	s, ok := args[0].(*storage)
	offset, ok2 := args[1].(int64)
	shape, ok3 := integers64(args[2])
	strides, ok4 := integers64(args[3])
	if !ok || !ok2 || !ok3 || !ok4 {
		return nil, 0, m.damaged("a tensor is made of values of wrong types")
	}
	typ, typeName := s.typ, s.class
	if name == "torch._utils._rebuild_tensor_v3" {
		if len(args) < 7 {
			return nil, 0, m.damaged("a tensor is made of %d values", len(args))
		}
		c, ok := args[6].(*class)
		if !ok {
			return nil, 0, m.damaged("the type of a tensor's elements is of type %s", describe(args[6]))
		}
		typ, typeName = dtypes[c.name], c.name
	}
	if typ.dtype == "" {
		return &opaque{class: typeName, tensor: "a tensor of " + printable(typeName)}, 64, nil
	}
	t := &tensor{storage: s, dtype: typ.dtype, elem: typ.size, offset: offset, strides: strides}
	if problem := t.setShape(shape); problem != "" {
		return nil, 0, m.damaged("a tensor of shape %v, strides %v and offset %d in storage %s of %d bytes %s", shape, strides, offset, printable(s.block.key), s.size, problem)
	}
	return t, 112 + 16*int64(len(shape)), nil
}

// setShape sets the shape and the number of elements, and checks that all elements are in the
// storage. It returns a description of what is wrong with the tensor, or "".
func (t *tensor) setShape(shape []int64) string {
	if len(shape) != len(t.strides) {
		return "does not have one stride for each dimension"
	}
	if t.offset < 0 {
		return "has a negative offset"
	}
	t.numel = 1
	bounded := uint64(1)     // the product of the dimensions that are not 0, which must not overflow either
	last := uint64(t.offset) // the position of the last element
	for i, n := range shape {
		stride := t.strides[i]
		if n < 0 || stride < 0 {
			return "has a negative dimension or stride"
		}
		t.shape = append(t.shape, int(n))
		t.numel *= min(n, 1)
		if n == 0 {
			continue
		}
		high, low := bits.Mul64(bounded, uint64(n))
		if high != 0 || low > math.MaxInt/8 {
			return "has too many elements"
		}
		bounded = low
		high, low = bits.Mul64(uint64(n-1), uint64(stride))
		sum, carry := bits.Add64(last, low, 0)
		if high != 0 || carry != 0 {
			return "goes beyond its storage"
		}
		last = sum
	}
	if t.numel == 0 {
		return ""
	}
	t.numel = int64(bounded)
	if last >= uint64(t.storage.size/t.elem) {
		return "goes beyond its storage"
	}
	return ""
}

// integers64 returns the items of a tuple or list of at most maxDims integers.
func integers64(v any) ([]int64, bool) {
	var items []any
	switch v := v.(type) {
	case *tuple:
		items = v.items
	case *list:
		items = v.items
	default:
		return nil, false
	}
	if len(items) > maxDims {
		return nil, false
	}
	n := make([]int64, len(items))
	for i, item := range items {
		var ok bool
		if n[i], ok = item.(int64); !ok {
			return nil, false
		}
	}
	return n, true
}
