package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"bnkit/engine"
	"bnkit/engine/dataset"
	"bnkit/engine/presets"
	"bnkit/engine/rundir"
	"bnkit/prune"
)

// maxHostile is the largest size of the files in TestBombs.
const maxHostile = 1 << 20

// mostAllocated is the number of bytes that reading a file of up to maxHostile bytes may
// allocate, including memory that is freed while reading.
const mostAllocated = 512 << 20

// hostileFile is a file that contradicts itself, or that makes a reader that trusts it take too
// much memory, write outside its folder or run a command.
type hostileFile struct {
	what    string
	name    string // of the file, which decides how it is read
	content []byte
	valid   bool // whether the file is unusual but can be read
}

// hostileFiles returns files of the kinds that bnkit reads.
func hostileFiles(t *testing.T) []hostileFile {
	var files []hostileFile
	add := func(name, what string, content []byte) {
		files = append(files, hostileFile{what: what, name: name, content: content})
	}
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	const n = maxHostile / 2

	// Checkpoints.
	network := `"arch":"resnet-8","shortcut":"B","input":[3,32,32],"classes":10,"seed":1,"trainable":"bn","initialisers":{"generator":"philox4x32-10","weights":"he-normal","gamma":"uniform","beta":"zero"},"normalisation":{"bn_eps":1e-5}`
	tensors := func(section string, required bool, list string) string {
		return fmt.Sprintf(`{%s,"sections":[{"name":%q,"required":%v,"tensors":[%s]}]}`, network, section, required, list)
	}
	gigabyte := `{"name":"a","type":"f32","shape":[268435456],"crc32c":0}`
	add("m.bnz", "a zstd bomb of 1 GB", bnzFile(t, tensors("weights", true, gigabyte), zstdZeros(1<<30), 1<<30))
	add("m.bnz", "a zstd bomb of 1 GB in a section to skip", bnzFile(t, tensors("future", false, gigabyte), zstdZeros(1<<30), 1<<30))
	add("m.bnz", "a header of 2.6 MB of nulls", bnzFile(t, tensors("bn", true, strings.Repeat("null,", 1<<19)+"null"), nil, 0))
	add("m.bnz", "a header of 8 MB that nests", bnzFile(t, nested(4<<20), nil, 0))
	add("m.bnz", "a header beyond its limit", bnzFile(t, `{"arch":"`+strings.Repeat("x", 64<<20)+`"}`, nil, 0))
	add("m.bnz", "a shape whose product overflows", bnzFile(t, tensors("bn", true, `{"name":"a","type":"f32","shape":[4294967296,4294967296],"crc32c":0}`), nil, 0))
	add("m.bnz", "a key twice", bnzFile(t, strings.Replace(tensors("bn", true, ""), `"seed":1`, `"seed":1,"seed":2`, 1), nil, 0))
	for _, arch := range []string{"resnet-999999998", "wrn-14-1000000", "resnet6002", "wrn-6004-64", "resnet250-250-250-250-bottleneck"} {
		add("m.bnz", "a file of "+arch, bnzFile(t, strings.Replace(tensors("bn", true, ""), "resnet-8", arch, 1), nil, 0))
	}
	add("m.bnz", "262,145 units", bnzFile(t, `{"input":[3,32,32],"classes":10,"trainable":"all","network":{"name":"x","units":[`+strings.Repeat("{},", 1<<18)+`{}]},"sections":[]}`, nil, 0))

	// Other programs' files.
	add("m.safetensors", "a header of 2^63 bytes", binary.LittleEndian.AppendUint64(nil, 1<<63))
	add("m.safetensors", "a shape whose product overflows", safetensorsFile(`{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}}`, 4))
	add("m.safetensors", "offsets beyond the file", safetensorsFile(`{"a":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}`, 4))
	add("m.safetensors", "tensors that overlap", safetensorsFile(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 4))
	add("m.safetensors", "a tensor twice", safetensorsFile(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0))
	add("m.safetensors", "a header that nests", safetensorsFile(`{"a":`+nested(n-100)+`}`, 0))
	many := &strings.Builder{}
	for i := range 15000 {
		fmt.Fprintf(many, `,"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
	}
	add("m.safetensors", "15,000 empty tensors", safetensorsFile("{"+many.String()[1:]+"}", 0))
	add("m.pt", "a pickle that runs a command", zipFile(t, zip.Store, "m/data.pkl", []byte("\x80\x02cos\nsystem\nX\x0b\x00\x00\x00touch owned\x85R."), "m/version", []byte("3\n")))
	add("m.pt", "a zip bomb of 512 MB", zipFile(t, zip.Deflate, "m/data.pkl", make([]byte, 512<<20), "m/version", []byte("3\n")))
	add("m.pt", "a path out of the archive", zipFile(t, zip.Store, "../../m/data.pkl", []byte("\x80\x02}."), "../../m/version", []byte("3\n")))
	add("m.pt", "a pickle of empty lists", zipFile(t, zip.Store, "m/data.pkl", []byte("\x80\x02"+strings.Repeat("]", maxHostile-1000)+"."), "m/version", []byte("3\n")))

	// Data sets.
	idx := append([]byte{0, 0, 8, 3, 0, 3, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0}, make([]byte, 100)...)
	add("train-images-idx3-ubyte", "a header that claims 192 GB", idx)
	add("train-images-idx3-ubyte", "dimensions whose product overflows", bytes.Repeat([]byte{0, 0, 8, 3, 255, 255, 255, 255}, 4))
	add("train-images-idx3-ubyte.gz", "a gzip bomb of 192 MB", gzipped(t, append([]byte{0, 0, 8, 3, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0}, make([]byte, 192<<20)...)))
	add("cifar-10-binary.tar.gz", "a gzip bomb of 512 MB", gzipped(t, tarFile(t, "other", 512<<20, make([]byte, 512<<20))))
	add("cifar-10-binary.tar.gz", "a member of 4 EiB", gzipped(t, tarFile(t, "d/data_batch_1.bin", 1<<62, nil)))
	add("cifar-10-binary.tar.gz", "a path out of the archive", gzipped(t, tarFile(t, "../../data_batch_1.bin", 10000*3073, make([]byte, 10000*3073))))
	add("cifar-10-binary.tar.gz", "an absolute path", gzipped(t, tarFile(t, "/etc/passwd", 5, []byte("owned"))))
	add("train/a/1.png", "a header that claims 4.6 exapixels", pngFile(t, 1<<31-1, 1<<31-1, 8, 6, 0, 0))
	add("train/a/1.png", "a header that claims 190 megapixels", append(pngFile(t, 13000, 14600, 8, 0, 0, 0), make([]byte, maxHostile-1000)...))
	add("train/a/1.png", "a header that claims 190 interlaced megapixels", append(pngFile(t, 13000, 14600, 8, 0, 1, 0), make([]byte, maxHostile-1000)...))
	for _, c := range []struct {
		what      string
		w, h      uint32
		interlace byte
		rows      uint32 // of all passes; each begins with the number of its filter
	}{
		{"190 blank megapixels", 13000, 14600, 0, 14600},
		{"190 blank megapixels, tall", 6900, 27600, 0, 27600},
		{"95 blank interlaced megapixels, tall", 4880, 19520, 1, 19520 * 15 / 8},
	} {
		files = append(files, hostileFile{c.what, "train/a/1.png", pngFile(t, c.w, c.h, 8, 0, c.interlace, int(c.w*c.h+c.rows)), true})
	}
	for _, c := range []struct {
		what             string
		marker           byte
		w, h, components int
	}{
		{"a JPEG of 64 megapixels", 0xc0, 8000, 8000, 3},
		{"a progressive JPEG of 12 megapixels", 0xc2, 4000, 3000, 3},
		{"a JPEG of 4 gigapixels", 0xc0, 65535, 65535, 3},
	} {
		add("train/a/1.jpg", c.what, jpegFile(c.w, c.h, c.marker, c.components))
	}

	// Settings, plans, runs.
	aliases := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'k'; c++ {
		aliases += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	add("s.yaml", "aliases of 31 billion values", []byte(aliases+"lr_drops: *k\n"))
	add("s.yaml", "an alias of itself", []byte("lr_drops: &a [*a]\n"))
	add("s.yaml", "lists that nest", []byte("lr_drops: "+nested(n-100)))
	add("s.yaml", "blocks that nest", []byte("lr_drops:\n"+strings.Repeat("- ", n-100)))
	add("s.yaml", "a list of a million bytes", []byte("lr_drops: ["+strings.Repeat("1,", n-100)+"1]"))
	add("s.yaml", "many anchors", []byte("lr_drops: ["+strings.Repeat("&a 1,", n/3)+"1]"))
	add("s.yaml", "a setting twice", []byte("lr: 1\nlr: 2\n"))
	for _, c := range []struct {
		what, text string
		valid      []string // files for which the text is valid: they may have unknown keys, and null for a layer
	}{
		{"a list that nests", nested(n - 100), nil},
		{"objects that nest", strings.Repeat(`{"a":`, maxHostile/6) + "1" + strings.Repeat("}", maxHostile/6), nil},
		{"a key twice", `{"arch":"resnet-8","arch":"resnet-14"}`, nil},
		{"half a million numbers", `{"lr_drops":[` + strings.Repeat("1,", n-100) + `1],"layers":[` + "1]}", []string{"data.json"}},
		{"many nulls", `{"layers":[` + strings.Repeat("null,", maxHostile/5-10) + `null]}`, []string{"data.json", "analysis.json"}},
		{"many keys", manyKeys(), []string{"data.json", "analysis.json"}},
	} {
		for _, name := range []string{"config.json", "data.json", "plan.json", "analysis.json", "metrics.jsonl"} {
			files = append(files, hostileFile{c.what, name, []byte(c.text + "\n"), slices.Contains(c.valid, name)})
		}
	}
	var rows strings.Builder
	for epoch := 1; rows.Len() < maxHostile-20; epoch++ {
		fmt.Fprintf(&rows, "{\"epoch\":%d}\n", epoch)
	}
	files = append(files, hostileFile{"as many rows as possible", "metrics.jsonl", []byte(rows.String()), true})
	add("metrics.jsonl", "only newlines", bytes.Repeat([]byte{'\n'}, maxHostile))
	add("SHA256SUMS", "a path out of the folder", []byte(strings.Repeat("0", 64)+"  ../../etc/passwd\n"))
	add("SHA256SUMS", "one long line", bytes.Repeat([]byte{'0'}, maxHostile))
	return files
}

// readHostile reads a file as a command would.
func readHostile(dir string, f *hostileFile) error {
	path := filepath.Join(dir, f.name)
	switch name := filepath.Base(f.name); {
	case name == "m.bnz":
		_, err := engine.LoadModelContext(context.Background(), path, 2<<30)
		return err
	case name == "m.safetensors" || name == "m.pt":
		_, err := engine.Import(path, engine.ImportOptions{})
		return err
	case strings.Contains(name, "idx3"):
		_, err := dataset.Open("mnist", dir)
		return err
	case strings.Contains(name, ".tar"):
		_, err := dataset.Open("cifar10", path)
		return err
	case strings.Contains(f.name, "train/"):
		data, err := dataset.Open(dir, "")
		if err != nil {
			return err
		}
		selected, err := data.Select(dataset.Selection{ImageSize: 224, Crop: dataset.RandomResized})
		if err != nil {
			return err
		}
		_, err = selected.Train.Picture(0)
		return err
	case name == "s.yaml":
		_, err := presets.ReadFile(context.Background(), path)
		return err
	case name == "config.json":
		_, err := engine.ReadConfig(path)
		return err
	case name == "data.json":
		_, err := rundir.ReadDataPath(dir)
		return err
	case name == "plan.json":
		_, err := prune.ReadPlan(context.Background(), path)
		return pruneError(newPruneCommand(&globalOptions{}), err)
	case name == "metrics.jsonl":
		_, err := rundir.ReadMetrics(path)
		return err
	case name == "SHA256SUMS":
		_, err := rundir.ReadManifest(dir)
		return err
	}
	_, err := readReport(path, "r")
	return err
}

// TestBombs reads files of at most maxHostile bytes. Reading must not allocate more than
// mostAllocated bytes and must not change the number of files. Unless the file is valid, it must fail
// with an error that a command turns into the exit code of bad input or wrong usage. With -v, the
// test prints how much memory and time reading takes; the time depends on the machine and has no
// limit.
func TestBombs(t *testing.T) {
	// By the name of the file: the most bytes that were allocated, the longest time that reading took,
	// and the file for which it took this time.
	most, longest, slowest := map[string]uint64{}, map[string]time.Duration{}, map[string]string{}
	tried := 0
	for _, f := range hostileFiles(t) {
		if len(f.content) > maxHostile {
			t.Fatalf("%s, %s: the file has %d bytes, want at most %d", f.name, f.what, len(f.content), maxHostile)
		}
		root := t.TempDir()
		dir := filepath.Join(root, "a", "b")
		write := func(name string, content []byte) {
			t.Helper()
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		write(f.name, f.content)
		if strings.HasPrefix(f.name, "train/") {
			write("train/b/1.png", nil)
			write("test/a/1.png", nil)
		}
		if strings.Contains(f.name, "idx3") {
			for _, name := range []string{"train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"} {
				write(name, nil)
			}
		}
		t.Chdir(root) // where a command of a pickle would write
		filesBefore := countFiles(t, root)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		err := readHostile(dir, &f)
		elapsed := time.Since(begin)
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		tried++
		most[f.name] = max(most[f.name], allocated)
		if elapsed >= longest[f.name] {
			longest[f.name], slowest[f.name] = elapsed, f.what
		}
		t.Logf("%s, %s: %d bytes, %.1f MB allocated, %.2f s, %.150v", f.name, f.what, len(f.content), float64(allocated)/1e6, elapsed.Seconds(), err)
		if allocated > mostAllocated {
			t.Errorf("%s, %s: %d bytes were allocated, want at most %d", f.name, f.what, allocated, mostAllocated)
		}
		want := "an error with exit code 2 or 3"
		if f.valid {
			want = "no error"
		}
		if code := exitCode(err); f.valid != (err == nil) || err != nil && code != 3 && code != 2 {
			t.Errorf("%s, %s: got error %v with exit code %d, want %s", f.name, f.what, err, code, want)
		}
		if n := countFiles(t, root); n != filesBefore {
			t.Errorf("%s, %s: there are %d files and folders after reading, want %d", f.name, f.what, n, filesBefore)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(longest), func(a, b string) int { return cmp.Compare(longest[b], longest[a]) }) {
		t.Logf("%s: at most %.0f MB, at most %.2f s (%s)", name, float64(most[name])/1e6, longest[name].Seconds(), slowest[name])
	}
	t.Logf("all: %d files tried", tried)
}

// countFiles returns the number of files and folders below root, including root.
func countFiles(t *testing.T, root string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(root, func(string, os.DirEntry, error) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// bnzFile returns a .bnz file with correct checksums (checkpoint/FORMAT.md). frame holds the
// tensors, and nil stands for an empty frame. The file claims that the tensors have size bytes.
func bnzFile(t *testing.T, header string, frame []byte, size uint64) []byte {
	t.Helper()
	c, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true), zstd.WithWindowSize(1<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	compressedHeader := c.EncodeAll([]byte(header), nil)
	if frame == nil {
		frame = c.EncodeAll(nil, nil)
	}
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("\x89BNZ\r\n\x1a\n"), 1)
	b = le.AppendUint32(b, uint32(len(compressedHeader)))
	b = le.AppendUint32(b, uint32(len(header)))
	b = le.AppendUint32(b, crc32.Checksum(compressedHeader, castagnoli))
	b = le.AppendUint64(b, uint64(len(frame)))
	b = le.AppendUint64(b, size)
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = append(append(b, compressedHeader...), frame...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// zstdZeros returns a zstd frame of n zeros, a multiple of 128 KB. Six blocks are stored
// without compression, because a checkpoint may claim a gigabyte only for a frame of at least 768 KB.
func zstdZeros(n int) []byte {
	const block, rawBlocks = 128 << 10, 6
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58} // no size, window of 2 MB
	for i := range n / block {
		kind := uint32(2) // one byte, repeated
		content := []byte{0}
		if i < rawBlocks {
			kind, content = 0, make([]byte, block)
		}
		head := binary.LittleEndian.AppendUint32(nil, kind|block<<3)
		b = append(append(b, head[:3]...), content...)
	}
	return append(b, 1, 0, 0) // an empty last block
}

// safetensorsFile returns a safetensors file with size bytes of tensors.
func safetensorsFile(header string, size int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, size)...)
}

// zipFile returns a zip file of two files.
func zipFile(t *testing.T, method uint16, name1 string, content1 []byte, name2 string, content2 []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range []struct {
		name    string
		content []byte
	}{{name1, content1}, {name2, content2}} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: method})
		if err == nil {
			_, err = w.Write(f.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarFile returns a tar archive of one file that claims to have size bytes.
func tarFile(t *testing.T, name string, size int64, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if int64(len(content)) == size {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// pngFile returns a PNG picture whose uncompressed data is n zeros.
func pngFile(t *testing.T, w, h uint32, depth, colours, interlace byte, n int) []byte {
	t.Helper()
	var pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	if _, err := z.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, content []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
		start := len(b)
		b = append(append(b, kind...), content...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	chunk("IHDR", append(head, depth, colours, 0, 0, interlace))
	chunk("IDAT", pixels.Bytes())
	chunk("IEND", nil)
	return b
}

// jpegFile returns a JPEG picture that ends after the header of its scan. Comments before its
// other headers make it almost maxHostile bytes long.
func jpegFile(w, h int, marker byte, components int) []byte {
	b := []byte{0xff, 0xd8}
	for len(b) < maxHostile-70_000 {
		b = append(append(b, 0xff, 0xfe, 0xff, 0xff), make([]byte, 0xfffd)...)
	}
	b = append(b, 0xff, marker, 0, byte(8+3*components), 8, byte(h>>8), byte(h), byte(w>>8), byte(w), byte(components))
	for id := range components {
		b = append(b, byte(id+1), 0x11, 0)
	}
	b = append(b, 0xff, 0xda, 0, byte(6+2*components), byte(components))
	for id := range components {
		b = append(b, byte(id+1), 0)
	}
	return append(b, 0, 63, 0)
}

// manyKeys returns an object of as many different keys as fit into maxHostile bytes.
func manyKeys() string {
	var b strings.Builder
	for i := 0; b.Len() < maxHostile-20; i++ {
		key, _ := json.Marshal(fmt.Sprint(i))
		fmt.Fprintf(&b, ",%s:0", key)
	}
	return "{" + b.String()[1:] + "}"
}
