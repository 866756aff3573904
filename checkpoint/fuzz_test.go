package checkpoint

import (
	"os"
	"testing"

	"bnkit/checkpoint/alloctest"
)

// maxFuzz bounds the size of inputs in bytes. Larger inputs would only make fuzzing slower.
const maxFuzz = 1 << 16

// addSeeds adds the golden files and small files to the corpus.
func addSeeds(f *testing.F) {
	for _, path := range []string{golden, "testdata/golden-unknown-optional.bnz", "testdata/golden-unknown-required.bnz"} {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(encoded(f, &File{}))
	f.Add([]byte(magic))
	f.Add(fileWithHeader(`{"sections":[{"name":"bn","tensors":[{"name":"a","type":"f64","shape":[1]}]}]}`, make([]byte, 8), 8))
}

// FuzzDecode decodes arbitrary bytes. A file that is accepted must stay the same when it is
// written and read again.
func FuzzDecode(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) <= maxFuzz {
			checkRoundTrip(t, b)
		}
	})
}

// FuzzDecodeFixed corrects checksums and lengths first, so that damaged zstd frames are
// decompressed.
func FuzzDecodeFixed(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= preludeSize+digestSize && len(b) <= maxFuzz {
			fixContainer(b)
			checkRoundTrip(t, b)
		}
	})
}

// FuzzHeader puts arbitrary JSON and arbitrary tensor bytes into an intact container, so
// that only their content can be wrong.
func FuzzHeader(f *testing.F) {
	data := make([]byte, 24)
	for _, header := range []string{
		headerWithTensors("bn", `{"name":"a","type":"f32","shape":[2,3],"crc32c":2231102702}`),
		headerWithTensors("stats", `{"name":"a","type":"f64","shape":[3],"crc32c":2231102702}`),
		headerWithTensors("bn", `{"name":"a","type":"f32","shape":[1],"crc32c":1214729159},{"name":"b","type":"f32","shape":[5],"crc32c":3167049278}`),
		`{"arch":"resnet-20","seed":18446744073709551615,"input":[3,32,32],"config":{"lr":0.1},"provenance":[{"action":"train"}],"sections":[]}`,
		`{"seed":1,"sections":[],"SEED":2}`,
		`{"sections":[{"name":"future","required":false,"tensors":[]},{"name":"bn"}]}`,
	} {
		f.Add([]byte(header), data)
		f.Add([]byte(header), []byte{})
	}
	f.Fuzz(func(t *testing.T, header, data []byte) {
		if len(header)+len(data) <= maxFuzz {
			checkRoundTrip(t, fileWithHeader(string(header), data, uint64(len(data))))
		}
	})
}

// maxDecoded returns the number of bytes that decoding b may allocate: 16 MB plus 300 times the
// size of the header and 4 times the size of the tensors, both uncompressed, or 1 MB if the
// prelude is wrong. The prelude bounds these sizes.
func maxDecoded(b []byte) int {
	p, err := parsePrelude(b, int64(len(b)))
	if err != nil {
		return 1 << 20
	}
	return 16<<20 + 300*int(p.headerSize) + 4*int(p.dataSize)
}

// checkRoundTrip decodes b and checks that this allocates at most maxDecoded(b) bytes. If b
// can be decoded, the file must not change when it is encoded and decoded again.
func checkRoundTrip(t *testing.T, b []byte) {
	var file *File
	var err error
	alloctest.AtMost(t, maxDecoded(b), func() { file, err = Decode(b) })
	if err != nil {
		return
	}
	again, err := Decode(encoded(t, file))
	if err != nil || !equalFiles(again, file) {
		t.Errorf("the file was read as %+v, and after encoding as %+v, error %v; want no change", file, again, err)
	}
}
