package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// The constants and functions below return parts of pickles.

const (
	proto2      = "\x80\x02"
	rebuild     = "ctorch._utils\n_rebuild_tensor_v2\n"
	ordered     = "ccollections\nOrderedDict\n"
	orderedCall = ordered + ")R"
)

func u32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func u64(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
func str(s string) string {
	return "X" + u32(len(s)) + s
}
func num(n int) string {
	return "\x8a\x08" + u64(n) // opLong1, which holds any int64
}
func tup(items ...string) string { return "(" + strings.Join(items, "") + "t" }

func nums(n ...int) string {
	var items []string
	for _, n := range n {
		items = append(items, num(n))
	}
	return tup(items...)
}

// store writes the persistent identifier of a storage.
func (f form) store(class, key string, n int) string {
	items := []string{str("storage"), "ctorch\n" + class + "\n", str(key), str("cpu"), num(n)}
	if f == "legacy" {
		items = append(items, "N")
	}
	return tup(items...) + "Q"
}

// view writes a tensor of storage 0, which has 6 elements.
func (f form) view(offset int, shape, strides []int) string {
	return rebuild + tup(f.store("FloatStorage", "0", 6), num(offset), nums(shape...), nums(strides...), "\x89", orderedCall) + "R"
}

// weights writes an ordinary tensor of 2 x 3 elements.
func (f form) weights() string { return f.view(0, []int{2, 3}, []int{3, 1}) }

// state writes the state dict {"w": weights}.
func (f form) state() string { return "}" + str("w") + f.weights() + "s" }

// withExtra writes a dict with a state dict and another value: {"state_dict": state, "x": value}.
func (f form) withExtra(value string) string {
	return proto2 + "}(" + str("state_dict") + f.state() + str("x") + value + "u."
}

// form is "zip" or "legacy".
type form string

var forms = []form{"zip", "legacy"}

// six holds the elements of storage 0.
var six = []float32{0, 1, 2, 3, 4, 5}

func sixBytes() []byte {
	var b []byte
	for _, x := range six {
		b, _ = binary.Append(b, binary.LittleEndian, x)
	}
	return b
}

// file writes a file with a pickle and storage 0.
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

// legacyOf writes a file in the legacy form with a pickle, a pickle of the keys, and the
// storages.
func legacyOf(pickle, keys string, storages []byte) []byte {
	return []byte(proto2 + legacyMagic + proto2 + "M\xe9\x03." + proto2 + "}." + pickle + proto2 + keys + "." + string(storages))
}

type zipEntry struct {
	name   string
	data   []byte
	method uint16
}

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

// read reads a file from memory and checks that it allocates no more than maxAllocated
// allows.
func read(t testing.TB, b []byte) (*File, error) {
	t.Helper()
	before := allocated()
	f, err := Read(bytes.NewReader(b), int64(len(b)))
	if took, limit := allocated()-before, maxAllocated(len(b)); took > limit {
		t.Errorf("reading a file of %d bytes allocates %d bytes, want at most %d", len(b), took, limit)
	}
	if err == nil {
		checkViews(t, f, len(b))
	}
	return f, err
}
