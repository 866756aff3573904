package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"bnkit/checkpoint/alloctest"
)

// The constants below are parts of pickles, and the functions up to state return such parts.

const (
	proto2      = "\x80\x02"
	rebuild     = "ctorch._utils\n_rebuild_tensor_v2\n"
	ordered     = "ccollections\nOrderedDict\n"
	orderedCall = ordered + ")R"
)

func u32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func u64(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

// str returns a Python str.
func str(s string) string { return "X" + u32(len(s)) + s }

// integer returns a Python int, by opLong1, which holds any int64.
func integer(n int) string { return "\x8a\x08" + u64(n) }

// tupleOf returns a tuple of items.
func tupleOf(items ...string) string { return "(" + strings.Join(items, "") + "t" }

// integers returns a tuple of ints.
func integers(values ...int) string {
	var items []string
	for _, n := range values {
		items = append(items, integer(n))
	}
	return tupleOf(items...)
}

// storageID returns the persistent identifier of a storage with n elements.
func (f form) storageID(class, key string, n int) string {
	items := []string{str("storage"), "ctorch\n" + class + "\n", str(key), str("cpu"), integer(n)}
	if f == "legacy" {
		items = append(items, "N")
	}
	return tupleOf(items...) + "Q"
}

// view returns a tensor of storage 0, which has 6 elements.
func (f form) view(offset int, shape, strides []int) string {
	return rebuild + tupleOf(f.storageID("FloatStorage", "0", 6), integer(offset), integers(shape...), integers(strides...), "\x89", orderedCall) + "R"
}

// weights returns an ordinary tensor of 2 x 3 elements.
func (f form) weights() string { return f.view(0, []int{2, 3}, []int{3, 1}) }

// state returns the state dict {"w": weights}.
func (f form) state() string { return "}" + str("w") + f.weights() + "s" }

// withExtra returns the whole pickle of a dict with a state dict and another value:
// {"state_dict": state, "x": value}.
func (f form) withExtra(value string) string {
	return proto2 + "}(" + str("state_dict") + f.state() + str("x") + value + "u."
}

// form is "zip" or "legacy".
type form string

var forms = []form{"zip", "legacy"}

// six holds the elements of storage 0.
var six = []float32{0, 1, 2, 3, 4, 5}

// sixBytes returns the bytes of storage 0.
func sixBytes() []byte {
	var b []byte
	for _, x := range six {
		b, _ = binary.Append(b, binary.LittleEndian, x)
	}
	return b
}

// file returns a file with a pickle and storage 0.
func (f form) file(pickle string) []byte {
	if f == "zip" {
		return zipOf(
			zipEntry{"top/data.pkl", []byte(pickle), zip.Store},
			zipEntry{"top/byteorder", []byte("little"), zip.Store},
			zipEntry{"top/data/0", sixBytes(), zip.Store},
			zipEntry{"top/version", []byte("3\n"), zip.Store})
	}
	return legacyOf(pickle, "]"+str("0")+"a", append([]byte(u64(6)), sixBytes()...))
}

// legacyOf returns a file in the legacy form with the given object, keys of storages, and
// storages.
func legacyOf(pickle, keys string, storages []byte) []byte {
	return []byte(proto2 + legacyMagic + proto2 + "M\xe9\x03." + proto2 + "}." + pickle + proto2 + keys + "." + string(storages))
}

type zipEntry struct {
	name   string
	data   []byte
	method uint16
}

// zipOf returns a zip archive.
func zipOf(entries ...zipEntry) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			panic(err)
		}
		if _, err := w.Write(e.data); err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// read reads a file from memory. It checks that this allocates no more than maxAllocated
// allows, and checks the tensors by checkViews.
func read(t testing.TB, b []byte) (*File, error) {
	t.Helper()
	var f *File
	var err error
	alloctest.AtMost(t, maxAllocated(len(b)), func() { f, err = Read(bytes.NewReader(b), int64(len(b))) })
	if err == nil {
		checkViews(t, f, len(b))
	}
	return f, err
}
