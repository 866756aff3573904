package dataset

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bnkit/checkpoint/alloctest"
)

// smallCIFAR returns descriptions of CIFAR-10 and CIFAR-100 with few records in each
// file.
func smallCIFAR() []*source {
	var list []*source
	for _, src := range archiveSources() {
		small, layout := *src, *src.cifar
		layout.trainRecords, layout.testRecords = 4, 3
		small.cifar = &layout
		list = append(list, &small)
	}
	return list
}

// cifarFiles returns a data set and the files that hold it, by name.
func cifarFiles(src *source) (train, test *Split, files map[string][]byte) {
	layout := src.cifar
	classes := len(src.classes)
	train = syntheticSplit(layout.trainRecords*len(layout.train), 3, 32, 32, classes)
	test = syntheticSplit(layout.testRecords, 3, 32, 32, classes)
	slices.Reverse(test.Images)
	files = map[string][]byte{}
	for i := range train.Len() {
		name := layout.train[i/layout.trainRecords]
		files[name] = append(files[name], cifarRecord(layout, train, i)...)
	}
	for i := range test.Len() {
		files[layout.test] = append(files[layout.test], cifarRecord(layout, test, i)...)
	}
	return train, test, files
}

// cifarRecord returns the record of picture i.
func cifarRecord(layout *cifarLayout, s *Split, i int) []byte {
	var out []byte
	if len(layout.labels) == 2 {
		out = append(out, s.Labels[i]/5) // a coarse label, which must be ignored
	}
	return append(append(out, s.Labels[i]), s.Image(i)...)
}

// archiveOf returns a .tar.gz of the files in the given folder and order.
func archiveOf(t testing.TB, folder string, names []string, files map[string][]byte) []byte {
	t.Helper()
	return compress(t, tarOf(t, folder, names, files))
}

// tarOf returns a tar archive of a folder with a readme and the named files.
func tarOf(t testing.TB, folder string, names []string, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	add := func(h *tar.Header, content []byte) {
		h.Mode, h.Size = 0o755, int64(len(content))
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	add(&tar.Header{Name: folder + "/", Typeflag: tar.TypeDir}, nil)
	add(&tar.Header{Name: folder + "/readme.html", Typeflag: tar.TypeReg}, []byte("<html>"))
	for _, name := range names {
		add(&tar.Header{Name: folder + "/" + name, Typeflag: tar.TypeReg}, files[name])
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestOpenCIFAR(t *testing.T) {
	for _, src := range smallCIFAR() {
		train, test, files := cifarFiles(src)
		reversed := src.cifar.fileNames()
		slices.Reverse(reversed)
		check := func(t *testing.T, dir string) {
			t.Helper()
			loc, err := src.locate(dir)
			if err != nil || loc == nil {
				t.Fatalf("locate returns %v, %v; want the files of %s", loc, err, src.name)
			}
			d, err := loc.open()
			if err != nil {
				t.Fatal(err)
			}
			checkSplit(t, d.Train, train)
			checkSplit(t, d.Test, test)
			if d.Name != src.name || !d.Flip || len(d.Mean) != 3 {
				t.Errorf("got name %q, flip %v and mean %v, want %q, true and 3 means", d.Name, d.Flip, d.Mean, src.name)
			}
		}
		for _, sub := range src.folders {
			t.Run(src.name+" from "+sub, func(t *testing.T) {
				dir := t.TempDir()
				for name, content := range files {
					writeFile(t, content, dir, sub, name)
				}
				check(t, dir)
			})
		}
		t.Run(src.name+" from archive", func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, archiveOf(t, "some-folder", reversed, files), dir, src.name, src.cifar.archive)
			check(t, dir)
		})
		t.Run(src.name+" recognised in an archive", func(t *testing.T) {
			d, err := readArchive(bytes.NewReader(archiveOf(t, "x", reversed, files)), "a.tgz", smallCIFAR())
			if err != nil {
				t.Fatal(err)
			}
			checkSplit(t, d.Train, train)
			checkSplit(t, d.Test, test)
			if d.Name != src.name {
				t.Errorf("recognised as %q, want %q", d.Name, src.name)
			}
		})
	}
}

// TestOpenPublishedCIFAR10Folder opens files of the published sizes: sparse files of zeros.
func TestOpenPublishedCIFAR10Folder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range sourceByName("cifar10").cifar.fileNames() {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(30730000), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "cifar10" || d.Train.Len() != 50000 || d.Test.Len() != 10000 || !slices.Equal(d.Std, []float32{1, 1, 1}) {
		t.Errorf("got %s with %d and %d pictures and std %v, want cifar10 with 50000 and 10000 pictures and std [1 1 1]", d.Name, d.Train.Len(), d.Test.Len(), d.Std)
	}
	if loc, err := Locate("cifar10", dir); err != nil || loc.Path != dir || loc.Bytes != 6*30730000 {
		t.Errorf("Locate returns %+v, %v; want %d bytes in %s", loc, err, 6*30730000, dir)
	}
	writeFile(t, make([]byte, 3*3073), dir, "data_batch_4.bin")
	_, err = Open("cifar10", dir)
	wantFormatError(t, err, filepath.Join(dir, "data_batch_4.bin"), 3*3073, "30730000 bytes in all (10000 records of 3073)")
}

func TestCIFARFolderErrors(t *testing.T) {
	for _, src := range smallCIFAR() {
		record := src.cifar.recordSize()
		labels := len(src.cifar.labels)
		for _, c := range []struct {
			name   string
			change func([]byte) []byte
			offset int
			want   string
		}{
			{"truncated", func(b []byte) []byte { return b[:len(b)-1] }, 4*record - 1, fmt.Sprintf("(4 records of %d)", record)},
			{"one record more", func(b []byte) []byte { return append(b, b[:record]...) }, 4 * record, fmt.Sprintf("(4 records of %d)", record)},
			{"empty", func([]byte) []byte { return nil }, 0, "got 0"},
			{"label", func(b []byte) []byte { b[2*record+labels-1] = 100; return b }, 2*record + labels - 1, "a label below"},
			{"first label byte", func(b []byte) []byte { b[record] = 20; return b }, record, "a label below"},
		} {
			t.Run(src.name+" "+c.name, func(t *testing.T) {
				dir := t.TempDir()
				_, _, files := cifarFiles(src)
				name := src.cifar.train[0]
				files[name] = c.change(files[name])
				for name, content := range files {
					writeFile(t, content, dir, name)
				}
				_, err := openCIFAR(src, dir)
				wantFormatError(t, err, filepath.Join(dir, name), int64(c.offset), c.want)
			})
		}
	}
}

func TestArchiveErrors(t *testing.T) {
	src := smallCIFAR()[0]
	_, _, files := cifarFiles(src)
	names := src.cifar.fileNames()
	good := archiveOf(t, "d", names, files)
	archiveWith := func(name string, content []byte) []byte {
		changed := map[string][]byte{}
		for k, v := range files {
			changed[k] = v
		}
		changed[name] = content
		return archiveOf(t, "d", names, changed)
	}
	for _, c := range []struct {
		name    string
		content []byte
		file    string // "" for any
		offset  int64  // -1 for any
		want    string
	}{
		{"empty", nil, "a.tgz", 0, "none of these files"},
		{"not tar", bytes.Repeat([]byte("text "), 400), "a.tgz", -1, "a tar header"},
		{"file missing", archiveOf(t, "d", names[1:], files), "a.tgz", -1, "cifar10's data_batch_1.bin"},
		{"file twice", archiveOf(t, "d", append([]string{names[0]}, names...), files), "a.tgz:d/data_batch_1.bin", 0, "once"},
		{"both data sets", archiveOf(t, "d", append(slices.Clone(names), "train.bin"), files), "a.tgz:d/train.bin", 0, "cifar10 once"},
		{"truncated file", archiveWith(names[2], files[names[2]][:5]), "a.tgz:d/data_batch_3.bin", 5, "4 records"},
		{"label", archiveWith(names[2], flipByte(files[names[2]], 3073)), "a.tgz:d/data_batch_3.bin", 3073, "a label below 10"},
		{"truncated in a file", good[:len(good)/2], "", -1, "the end of the file"},
		{"truncated in the trailer", good[:len(good)-1], "a.tgz", -1, "the end of the file"},
		{"checksum", flipByte(good, -8), "a.tgz", -1, "corrupt gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readArchive(bytes.NewReader(c.content), "a.tgz", smallCIFAR())
			var format *FormatError
			if c.file == "" && errors.As(err, &format) {
				c.file = format.File
			}
			wantFormatError(t, err, c.file, c.offset, c.want)
		})
	}
}

func TestOpenPathOfArchive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "my.tar.gz")
	writeFile(t, compress(t, make([]byte, 2048)), file)
	_, err := Open(file, "")
	wantFormatError(t, err, file, 0, "none of these files")
	_, err = Open("cifar10", file) // the archive of a named data set
	wantFormatError(t, err, file, 0, "none of these files")
}

func TestFolderWithSeveralDataSets(t *testing.T) {
	dir := t.TempDir()
	writeIDX(t, dir, "", syntheticSplit(40, 1, 8, 8, 10), syntheticSplit(20, 1, 8, 8, 10))
	writeFile(t, nil, dir, "cifar-10-binary.tar.gz")
	var ambiguous *AmbiguousError
	if _, err := Open(dir, ""); !errors.As(err, &ambiguous) {
		t.Errorf("got error %v, want an *AmbiguousError", err)
	}
}

// FuzzCIFAR reads arbitrary bytes as a file of three records. An accepted file must hold
// exactly these records.
func FuzzCIFAR(f *testing.F) {
	for i, src := range smallCIFAR() {
		_, _, files := cifarFiles(src)
		content := files[src.cifar.test]
		f.Add(i == 1, content)
		f.Add(i == 1, content[:len(content)-1])
		f.Add(i == 1, append(slices.Clone(content), 0))
		f.Add(i == 1, flipByte(content, src.cifar.recordSize()))
	}
	f.Fuzz(func(t *testing.T, cifar100 bool, content []byte) {
		src := smallCIFAR()[0]
		if cifar100 {
			src = smallCIFAR()[1]
		}
		images, labels := make([]uint8, 3*cifarPixels), make([]uint8, 3)
		var err error
		alloctest.AtMost(t, maxRead(content), func() { err = src.cifar.read(bytes.NewReader(content), "fuzz", images, labels) })
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) || format.Offset > int64(len(content)) {
				t.Fatalf("got error %v, want a FormatError at an offset in the content", err)
			}
			return
		}
		if len(content) != 3*src.cifar.recordSize() {
			t.Fatalf("%d bytes were accepted, want only %d", len(content), 3*src.cifar.recordSize())
		}
		for i, label := range labels {
			end := (i + 1) * src.cifar.recordSize()
			if written := content[end-cifarPixels-1]; label != written || int(label) >= len(src.classes) {
				t.Fatalf("record %d: got label %d, want %d, which must be below %d", i, label, written, len(src.classes))
			}
			if !bytes.Equal(images[i*cifarPixels:(i+1)*cifarPixels], content[end-cifarPixels:end]) {
				t.Fatalf("record %d: the pixels differ from those in the content", i)
			}
		}
	})
}

// FuzzArchive reads arbitrary bytes as an archive. An accepted archive must have all pictures.
func FuzzArchive(f *testing.F) {
	src := smallCIFAR()[0]
	_, _, files := cifarFiles(src)
	for name := range files {
		files[name] = bytes.Repeat([]byte{3}, len(files[name])) // compresses well
	}
	good := archiveOf(f, "d", src.cifar.fileNames(), files)
	f.Add(good)
	f.Add(good[:len(good)/2])
	// Without gzip, mutations reach the tar reader instead of failing the checksum.
	plain := tarOf(f, "d", src.cifar.fileNames(), files)
	f.Add(plain)
	f.Add(plain[:len(plain)-2048])
	f.Add(archiveOf(f, "d", src.cifar.fileNames()[1:], files))
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, content []byte) {
		var d *Data
		var err error
		alloctest.AtMost(t, maxRead(content), func() { d, err = readArchive(bytes.NewReader(content), "fuzz", smallCIFAR()) })
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got error %v, want a FormatError", err)
			}
			return
		}
		if n := d.Train.Len(); n != 20 && n != 4 || d.Test.Len() != 3 {
			t.Fatalf("got %d training and %d test pictures, want 20 or 4, and 3", d.Train.Len(), d.Test.Len())
		}
	})
}
