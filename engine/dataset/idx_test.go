package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bnkit/checkpoint/alloctest"
)

// encodeIDX returns data in IDX format.
func encodeIDX(data []uint8, dims ...int) []byte {
	out := []byte{0, 0, 8, byte(len(dims))}
	for _, n := range dims {
		out = binary.BigEndian.AppendUint32(out, uint32(n))
	}
	return append(out, data...)
}

// compress returns content, gzipped.
func compress(t testing.TB, content []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	if _, err := zw.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// writeFile writes a file and the folders above it.
func writeFile(t testing.TB, content []byte, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeIDX writes the four files of a data set, gzipped if their ending is .gz.
func writeIDX(t testing.TB, dir, ending string, train, test *Split) {
	t.Helper()
	for prefix, s := range map[string]*Split{"train": train, "t10k": test} {
		images, labels := encodeIDX(s.Images, s.Len(), s.Height, s.Width), encodeIDX(s.Labels, s.Len())
		if ending == ".gz" {
			images, labels = compress(t, images), compress(t, labels)
		}
		writeFile(t, images, dir, prefix+"-images-idx3-ubyte"+ending)
		writeFile(t, labels, dir, prefix+"-labels-idx1-ubyte"+ending)
	}
}

// checkSplit compares the pixels, labels and shapes of two splits.
func checkSplit(t *testing.T, got, want *Split) {
	t.Helper()
	if got.Channels != want.Channels || got.Height != want.Height || got.Width != want.Width ||
		!slices.Equal(got.Images, want.Images) || !slices.Equal(got.Labels, want.Labels) {
		t.Errorf("got %d pictures of %d×%d×%d with labels %v, want the written %d of %d×%d×%d with labels %v and the same pixels",
			got.Len(), got.Channels, got.Height, got.Width, got.Labels, want.Len(), want.Channels, want.Height, want.Width, want.Labels)
	}
}

func TestOpenIDX(t *testing.T) {
	train, test := syntheticSplit(40, 1, 12, 9, 10), syntheticSplit(20, 1, 12, 9, 10)
	for _, ending := range []string{"", ".gz"} {
		for _, c := range []struct{ sub, name string }{{"", "mnist"}, {"mnist", "mnist"}, {"MNIST/raw", "mnist"}, {"fashion-mnist", "Fashion_MNIST"}} {
			dir := t.TempDir()
			writeIDX(t, filepath.Join(dir, c.sub), ending, train, test)
			d, err := Open(c.name, dir)
			if err != nil {
				t.Fatal(err)
			}
			checkSplit(t, d.Train, train)
			checkSplit(t, d.Test, test)
			if canonicalName(d.Name) != canonicalName(c.name) || d.Flip != (d.Name == "fashion-mnist") || len(d.Classes) != 10 {
				t.Errorf("got name %q, flip %v and %d classes, want %q with 10 classes, flipped only if it is fashion-mnist", d.Name, d.Flip, len(d.Classes), c.name)
			}
			loc, err := Locate(c.name, dir)
			if err != nil || loc.Name != d.Name || loc.Path != filepath.Join(dir, c.sub) || loc.Bytes < 1000 {
				t.Errorf("Locate returns %+v, %v; want %s with at least 1000 bytes in %s", loc, err, d.Name, filepath.Join(dir, c.sub))
			}
		}
	}
}

func TestOpenIDXPathRecognisesContent(t *testing.T) {
	for _, c := range []struct {
		firstLabels []uint8
		name        string
		classes     int
		flip        bool
	}{
		{sourceByName("mnist").firstLabels, "mnist", 10, false},
		{sourceByName("fashion-mnist").firstLabels, "fashion-mnist", 10, true},
		{[]uint8{3, 46}, "idx", 47, false},
	} {
		train, test := syntheticSplit(40, 1, 8, 8, 10), syntheticSplit(20, 1, 8, 8, 10)
		copy(train.Labels, c.firstLabels)
		dir := t.TempDir()
		writeIDX(t, dir, ".gz", train, test)
		d, err := Open(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		if d.Name != c.name || len(d.Classes) != c.classes || d.Flip != c.flip {
			t.Errorf("got %q with %d classes and flip %v, want %q with %d and %v", d.Name, len(d.Classes), d.Flip, c.name, c.classes, c.flip)
		}
	}
}

func TestOpenIDXRefusesOtherDataSet(t *testing.T) {
	train, test := syntheticSplit(40, 1, 8, 8, 10), syntheticSplit(20, 1, 8, 8, 10)
	copy(train.Labels, sourceByName("fashion-mnist").firstLabels)
	dir := t.TempDir()
	writeIDX(t, dir, "", train, test)
	_, err := Open("mnist", dir)
	var format *FormatError
	if !errors.As(err, &format) || !strings.Contains(err.Error(), "the labels of fashion-mnist") {
		t.Errorf("got error %v, want a *FormatError about the labels of fashion-mnist", err)
	}
}

func TestIDXFormatErrors(t *testing.T) {
	images := encodeIDX(make([]uint8, 4*8*8), 4, 8, 8)
	for _, c := range []struct {
		name    string
		content []byte
		offset  int64
		want    string
	}{
		{"empty", nil, 0, "header of 16 bytes"},
		{"truncated header", images[:13], 13, "header of 16 bytes"},
		{"wrong type", slices.Concat([]byte{0, 0, 0x0d, 3}, images[4:]), 0, "0x00000d03"},
		{"labels instead", encodeIDX([]uint8{1, 2, 3, 4, 5, 6, 7, 8}, 8), 0, "0x00000801"},
		{"truncated content", images[:len(images)-1], int64(len(images)) - 1, "272 bytes in all"},
		{"content too long", append(slices.Clone(images), 0), 272, "the end of the file"},
		{"zero pictures", encodeIDX(nil, 0, 8, 8), 4, "dimension of 1"},
		{"zero width", encodeIDX(nil, 4, 8, 0), 12, "dimension of 1"},
		{"too wide", encodeIDX(nil, 4, 8, 1025), 12, "1 to 1024"},
		{"huge count", encodeIDX(nil, -1, 8, 8), 4, "dimension of 1"},
		{"huge product", encodeIDX(nil, 1<<30, 1024, 1024), 8, "content"},
		{"fewer bytes than claimed", encodeIDX(nil, 1<<20, 32, 32), 16, "bytes in all"},
		{"truncated gzip", compress(t, images)[:20], -1, "header"},
		{"truncated gzip header", compress(t, images)[:5], 0, "gzip header"},
		{"gzip checksum", flipByte(compress(t, images), -8), 272, "corrupt gzip"},
		{"truncated gzip trailer", compress(t, images)[:len(compress(t, images))-1], 272, "want the end of the gzip data, with its checksum, got the end of the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "images")
			writeFile(t, c.content, file)
			_, _, err := readIDXFile(file, 3)
			wantFormatError(t, err, file, c.offset, c.want)
		})
	}
}

// flipByte returns a copy with byte i (from the end if negative) inverted.
func flipByte(b []byte, i int) []byte {
	b = slices.Clone(b)
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 0xff
	return b
}

// wantFormatError checks the parts of a FormatError; offset −1 means any.
func wantFormatError(t *testing.T, err error, file string, offset int64, want string) {
	t.Helper()
	var format *FormatError
	if !errors.As(err, &format) {
		t.Fatalf("got error %v, want a FormatError", err)
	}
	if format.File != file || offset >= 0 && format.Offset != offset || !strings.Contains(err.Error(), want) {
		t.Errorf("got %q (offset %d), want file %s, offset %d and %q", err, format.Offset, file, offset, want)
	}
}

// TestIDXHeaderDoesNotAllocate checks that a header that claims more content than the file
// has does not make the reader allocate memory for it.
func TestIDXHeaderDoesNotAllocate(t *testing.T) {
	content := encodeIDX(make([]byte, 100), 1<<20, 32, 32)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := readIDX(bytes.NewReader(content), "x", 3); err == nil {
		t.Fatal("readIDX returned no error, want one")
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("allocated %d bytes for a file of %d, want at most %d", allocated, len(content), 4<<20)
	}
}

func TestDecompressedSizeLimit(t *testing.T) {
	r := &cappedReader{r: endless{}, file: "bomb"}
	n, err := io.Copy(io.Discard, r)
	wantFormatError(t, err, "bomb", maxDecompressed, "after decompression")
	if n > maxDecompressed {
		t.Errorf("read %d bytes, want at most %d", n, maxDecompressed)
	}
}

// TestExpansionLimit checks that a small compressed file that expands to 192 MiB is refused,
// and that blank pictures, as many as MNIST's, are accepted.
func TestExpansionLimit(t *testing.T) {
	bomb := compress(t, encodeIDX(make([]byte, 192<<20), 3<<10, 256, 256))
	r, err := decompress(bytes.NewReader(bomb), "bomb")
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = readIDX(r, "bomb", 3)
	runtime.ReadMemStats(&after)
	wantFormatError(t, err, "bomb", -1, "after decompression")
	limit := 4 * (freeDecompressed + maxExpansion*uint64(len(bomb)))
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > limit {
		t.Errorf("allocated %d bytes for a file of %d, want at most %d", allocated, len(bomb), limit)
	}
	if r, err = decompress(bytes.NewReader(compress(t, encodeIDX(make([]byte, 60000*28*28), 60000, 28, 28))), "blank"); err != nil {
		t.Fatal(err)
	}
	if dims, _, err := readIDX(r, "blank", 3); err != nil || dims[0] != 60000 {
		t.Errorf("blank pictures: got dimensions %v, %v; want 60000 pictures", dims, err)
	}
}

// TestClassesOfUnknownIDX checks that labels up to 255 are accepted, and that a test picture
// with a class that no training picture has is refused.
func TestClassesOfUnknownIDX(t *testing.T) {
	train, test := syntheticSplit(40, 1, 8, 8, 10), syntheticSplit(20, 1, 8, 8, 10)
	train.Labels[7], test.Labels[3] = 255, 255
	dir := t.TempDir()
	writeIDX(t, dir, "", train, test)
	d, err := Open(dir, "")
	if err != nil || len(d.Classes) != 256 || d.Classes[255] != "255" {
		t.Errorf("got %+v, %v; want 256 classes, the last named 255", d, err)
	}
	test.Labels[3] = 254
	writeIDX(t, dir, "", train, test)
	_, err = Open(dir, "")
	wantFormatError(t, err, filepath.Join(dir, "t10k-labels-idx1-ubyte"), 8+3, "a label that a training picture has, got 254")
}

// endless is a reader that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestOpenIDXRefusesMismatch(t *testing.T) {
	train, test := syntheticSplit(40, 1, 8, 8, 10), syntheticSplit(20, 1, 8, 8, 10)
	for _, c := range []struct {
		name, file string
		content    []byte
		offset     int64
		want       string
	}{
		{"fewer labels", "train-labels-idx1-ubyte", encodeIDX(train.Labels[:39], 39), 4, "40 labels"},
		{"other size", "t10k-images-idx3-ubyte", encodeIDX(make([]byte, 20*7*8), 20, 7, 8), 8, "8×8"},
		{"label out of range", "t10k-labels-idx1-ubyte", encodeIDX(append(slices.Clone(test.Labels[:19]), 10), 20), 27, "label below 10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeIDX(t, dir, "", train, test)
			writeFile(t, c.content, dir, c.file)
			_, err := Open("mnist", dir)
			wantFormatError(t, err, filepath.Join(dir, c.file), c.offset, c.want)
		})
	}
}

// maxRead returns the number of bytes that reading a data set from a file may allocate: 4 MiB
// plus 4 times the size of its content. The content of a compressed file counts with the largest
// size to which the file may expand.
func maxRead(file []byte) int {
	size := len(file)
	if bytes.HasPrefix(file, []byte{0x1f, 0x8b}) {
		size = freeDecompressed + maxExpansion*len(file)
	}
	return 4<<20 + 4*size
}

// FuzzIDX reads arbitrary bytes as an IDX file. Reading must allocate at most maxRead bytes, and
// writing accepted pictures must give the same bytes.
func FuzzIDX(f *testing.F) {
	valid := encodeIDX([]uint8{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2)
	f.Add(valid)
	f.Add(valid[:len(valid)-1])
	f.Add(append(slices.Clone(valid), 9))
	f.Add(encodeIDX(nil, 1<<30, 1024, 1024))
	f.Add(compress(f, valid))
	f.Add(compress(f, valid)[:20])
	f.Fuzz(func(t *testing.T, content []byte) {
		var dims []int
		var data []uint8
		var err error
		alloctest.AtMost(t, maxRead(content), func() {
			var r io.Reader
			if r, err = decompress(bytes.NewReader(content), "fuzz"); err == nil {
				dims, data, err = readIDX(r, "fuzz", 3)
			}
		})
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got error %v, want a FormatError", err)
			}
			return
		}
		if len(data) != dims[0]*dims[1]*dims[2] {
			t.Fatalf("got %d bytes for the dimensions %v, want their product", len(data), dims)
		}
		// Writing the data again must give the same bytes.
		written := encodeIDX(data, dims...)
		plain, err := decompress(bytes.NewReader(content), "fuzz")
		if err != nil {
			t.Fatal(err)
		}
		if original, err := io.ReadAll(plain); err != nil || !bytes.Equal(original, written) {
			t.Fatalf("the content of %d bytes is written as %d (error %v), want the same bytes", len(original), len(written), err)
		}
	})
}
