package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mustRefuse checks that reading a file fails with a bad-input error that contains want.
func mustRefuse(t *testing.T, b []byte, want string) {
	t.Helper()
	f, err := read(t, b)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("read %+v, error %v; want an error that says %q", f, err, want)
	}
	checkBadInput(t, err)
}

// TestTruncated checks that a file of each form is refused if it is truncated to any length.
func TestTruncated(t *testing.T) {
	for _, f := range forms {
		b := f.file(f.withExtra(f.state()))
		for n := range b {
			got, err := read(t, b[:n])
			if err == nil {
				t.Fatalf("%s: the first %d of %d bytes are read as %+v, want an error", f, n, len(b), got)
			}
			checkBadInput(t, err)
		}
	}
}

// TestFlippedBits flips every bit of a file of each form. Every error must be a bad-input
// error. The checksums of a zip file cover its pickle and its storages, so its tensor must
// not change without an error.
func TestFlippedBits(t *testing.T) {
	for _, f := range forms {
		b := f.file(f.withExtra(f.state()))
		for i := range b {
			for bit := range 8 {
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				got, err := read(t, c)
				if err != nil {
					checkBadInput(t, err)
					continue
				}
				if f == "zip" {
					if values, _ := got.Tensors[0].Float32(); got.Tensors[0].Name != "w" || !slices.Equal(values, six) {
						t.Errorf("bit %d of byte %d changes the tensor to %s %v without an error, want w %v", bit, i, got.Tensors[0].Name, values, six)
					}
				}
			}
		}
	}
}

// TestDamagedZip reads archives with missing, wrong or additional entries.
func TestDamagedZip(t *testing.T) {
	f := form("zip")
	pickle := zipEntry{"top/data.pkl", []byte(f.withExtra(f.state())), zip.Store}
	data := zipEntry{"top/data/0", sixBytes(), zip.Store}
	stored := func(name string, data string) zipEntry { return zipEntry{"top/" + name, []byte(data), zip.Store} }
	deflated := func(e zipEntry) zipEntry {
		e.method = zip.Deflate
		return e
	}
	for _, c := range []struct {
		name, want string
		entries    []zipEntry
	}{
		{"a compressed pickle", "data.pkl is compressed", []zipEntry{deflated(pickle), data}},
		{"a compressed storage", "data/0 is compressed", []zipEntry{pickle, deflated(data)}},
		{"a zip bomb", "data.pkl is compressed", []zipEntry{{"top/data.pkl", make([]byte, 16<<20), zip.Deflate}}},
		{"no storage", "lacks data/0", []zipEntry{pickle}},
		{"a short storage", "storage 0 has 20 bytes", []zipEntry{pickle, stored("data/0", string(sixBytes()[:20]))}},
		{"a long storage", "storage 0 has 28 bytes", []zipEntry{pickle, stored("data/0", string(sixBytes())+"more")}},
		{"a storage twice", "top/data/0 twice", []zipEntry{pickle, data, data}},
		{"two pickles", "two files named data.pkl", []zipEntry{pickle, data, {"other/data.pkl", nil, zip.Store}}},
		{"no pickle", "no data.pkl", []zipEntry{data, {"top/more/data.pkl", pickle.data, zip.Store}, {"data.pkl", pickle.data, zip.Store}}},
		{"big-endian", "byte order big", []zipEntry{pickle, data, stored("byteorder", "big")}},
		{"another byte order", "byte order middle", []zipEntry{pickle, data, stored("byteorder", "middle")}},
		{"a long byte order", "byteorder has 1000 bytes", []zipEntry{pickle, data, stored("byteorder", strings.Repeat("a", 1000))}},
		{"a newer version", "version 11", []zipEntry{pickle, data, stored("version", "11\n")}},
		{"a version that is not a number", "version x", []zipEntry{pickle, data, stored(".data/version", "x")}},
		{"TorchScript", "TorchScript archive", []zipEntry{pickle, data, stored("constants.pkl", "")}},
		{"code", "TorchScript archive", []zipEntry{pickle, data, stored("code/__torch__.py", "")}},
		{"an empty pickle", "cut off", []zipEntry{stored("data.pkl", ""), data}},
	} {
		t.Run(c.name, func(t *testing.T) { mustRefuse(t, zipOf(c.entries...), c.want) })
	}
}

// TestInconsistentZip reads archives whose directories give sizes, flags or checksums that do not
// match the entries.
func TestInconsistentZip(t *testing.T) {
	f := form("zip")
	pickle := []byte(f.withExtra(f.state()))
	// archiveWith returns an archive in which the entry of the given name holds data, and
	// the directory gives this entry the given size and flags.
	archiveWith := func(name string, data []byte, size uint64, flags uint16) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, e := range []zipEntry{{"top/data.pkl", pickle, 0}, {"top/data/0", sixBytes(), 0}} {
			h := &zip.FileHeader{Name: e.name, CRC32: crc32.ChecksumIEEE(e.data), CompressedSize64: uint64(len(e.data)), UncompressedSize64: uint64(len(e.data))}
			if e.name == name {
				e.data, h.Flags, h.CompressedSize64, h.UncompressedSize64 = data, flags, size, size
			}
			w, err := z.CreateRaw(h)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(e.data); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if _, err := read(t, archiveWith("", nil, 0, 0)); err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{1 << 20, 1 << 40, 1<<63 - 1, 1<<64 - 1} {
		mustRefuse(t, archiveWith("top/data.pkl", pickle, size, 0), "beyond the end")
		mustRefuse(t, archiveWith("top/data/0", sixBytes(), size, 0), "beyond the end")
	}
	mustRefuse(t, archiveWith("top/data/0", sixBytes(), 24, 1), "compressed or encrypted")
	mustRefuse(t, archiveWith("top/data/0", make([]byte, 24), 24, 0), "checksum of data/0 is wrong")
	mustRefuse(t, archiveWith("top/data.pkl", append(pickle[:len(pickle)-1:len(pickle)-1], 'N'), uint64(len(pickle)), 0), "checksum of data.pkl is wrong")
}

// TestOverlappingStorages reads an archive whose directory lists the same bytes as many
// storages, which together would take many times the size of the file.
func TestOverlappingStorages(t *testing.T) {
	f := form("zip")
	const copies, elements = 50, 10000
	state := proto2 + "}("
	for i := range copies {
		state += integer(i) + rebuild + tupleOf(f.storageID("ByteStorage", fmt.Sprint(i), elements), integer(0), integers(1), integers(1), "\x89", "N") + "R"
	}
	state += "u."
	var b, directory []byte
	le := binary.LittleEndian
	// record lists an entry with the given data in the directory. The data are appended to
	// the archive if offset is -1; otherwise they are at that offset already.
	record := func(name string, data []byte, offset int) {
		head := le.AppendUint16(nil, 20)
		head = append(head, make([]byte, 8)...) // flags, method, time, date
		head = le.AppendUint32(head, crc32.ChecksumIEEE(data))
		head = le.AppendUint32(head, uint32(len(data)))
		head = le.AppendUint32(head, uint32(len(data)))
		head = le.AppendUint16(head, uint16(len(name)))
		if offset < 0 {
			offset = len(b)
			b = append(b, zipMagic...)
			b = append(b, head...)
			b = append(b, 0, 0)
			b = append(append(b, name...), data...)
		}
		directory = append(directory, "PK\x01\x02\x14\x00"...)
		directory = append(directory, head...)
		directory = append(directory, make([]byte, 12)...)
		directory = append(le.AppendUint32(directory, uint32(offset)), name...)
	}
	record("t/data.pkl", []byte(state), -1)
	shared := len(b)
	record("t/data/0", make([]byte, elements), -1)
	for i := 1; i < copies; i++ {
		record(fmt.Sprint("t/data/", i), make([]byte, elements), shared)
	}
	end := append([]byte("PK\x05\x06"), make([]byte, 4)...)
	end = le.AppendUint16(end, copies+1)
	end = le.AppendUint16(end, copies+1)
	end = le.AppendUint32(end, uint32(len(directory)))
	end = le.AppendUint32(end, uint32(len(b)))
	mustRefuse(t, slices.Concat(b, directory, end, []byte{0, 0}), "more bytes than the file")
}

// TestDamagedLegacy reads legacy files with wrong keys, storages or versions.
func TestDamagedLegacy(t *testing.T) {
	f := form("legacy")
	pickle := f.withExtra(f.state())
	stored := u64(6) + string(sixBytes())
	key := "]" + str("0") + "a"
	for _, c := range []struct{ name, want, keys, storages string }{
		{"keys that are a dict", "of type dict", "}", stored},
		{"a key twice", "storage 0 has no tensor or occurs twice", "](" + str("0") + str("0") + "e", stored + stored},
		{"an unknown key", "storage 1 has no tensor or occurs twice", "](" + str("0") + str("1") + "e", stored + stored},
		{"no key", "lacks storage 0", "]", stored},
		{"fewer elements", "has 5 elements", key, u64(5) + string(sixBytes())},
		{"more elements", "elements, but the pickle declares 6", key, u64(-1) + string(sixBytes())},
		{"no elements", "cut off", key, ""},
		{"too few bytes", "cut off", key, stored[:20]},
	} {
		t.Run(c.name, func(t *testing.T) { mustRefuse(t, legacyOf(pickle, c.keys, []byte(c.storages)), c.want) })
	}
	mustRefuse(t, []byte(proto2+legacyMagic+proto2+"M\xe8\x03."+proto2+"}."+pickle), "protocol version int 1000")
	mustRefuse(t, []byte(proto2+legacyMagic+proto2+"N."+proto2+"}."+pickle), "protocol version None")
}

func TestReadRefusesOtherFiles(t *testing.T) {
	tar := make([]byte, 1024)
	copy(tar, "./storages")
	copy(tar[257:], "ustar")
	mustRefuse(t, tar, "tar archive")
	mustRefuse(t, nil, "not a file that torch.save wrote")
	mustRefuse(t, []byte("BNZ"), "not a file that torch.save wrote")
	mustRefuse(t, []byte("\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00}."), "a pickle that torch.save did not write")
	mustRefuse(t, []byte("PK\x03\x04"), "no intact directory")
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "a folder") {
		t.Errorf("open a folder: got error %v, want one that says %q", err, "a folder")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open a missing file: got error %v, want os.ErrNotExist", err)
	}
}

// failingReader fails after a number of reads.
type failingReader struct {
	io.ReaderAt
	left *int // the number of reads that still succeed
}

var errDisk = errors.New("input/output error")

func (r failingReader) ReadAt(b []byte, offset int64) (int, error) {
	if *r.left--; *r.left < 0 {
		return 0, errDisk
	}
	return r.ReaderAt.ReadAt(b, offset)
}

// TestReadFails makes each read fail in turn. The error must be the error of the reader and
// not an *Error, which would blame the file.
func TestReadFails(t *testing.T) {
	for _, f := range forms {
		b := f.file(f.withExtra(f.state()))
		for reads := 0; ; reads++ {
			left := reads
			_, err := Read(failingReader{bytes.NewReader(b), &left}, int64(len(b)))
			if err == nil {
				if reads < 3 {
					t.Errorf("%s needs %d reads, want 3 or more", f, reads)
				}
				break
			}
			var e *Error
			if !errors.Is(err, errDisk) || errors.As(err, &e) {
				t.Fatalf("%s: with a failure after %d reads, got error %v, want %v and not an *Error", f, reads, err, errDisk)
			}
		}
	}
}
