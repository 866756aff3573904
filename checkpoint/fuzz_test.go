package checkpoint

import (
	"os"
	"testing"
)

// maxFuzz keeps inputs small: size is no path through the code.
const maxFuzz = 1 << 16

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
	f.Add(withTable(f, `{"sections":[{"name":"bn","tensors":[{"name":"a","type":"f64","shape":[1]}]}]}`, make([]byte, 8), 8))
}

// FuzzDecode reads anything: what is accepted is written and read as the same.
func FuzzDecode(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) <= maxFuzz {
			decodeAgain(t, b)
		}
	})
}

// FuzzDecodeFixed makes checksums and lengths right first, so that damage
// reaches the header and the tensors.
func FuzzDecodeFixed(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= preludeSize+digestSize && len(b) <= maxFuzz {
			fix(b)
			decodeAgain(t, b)
		}
	})
}

func decodeAgain(t *testing.T, b []byte) {
	file, err := Decode(b)
	if err != nil {
		return
	}
	again, err := Decode(encoded(t, file))
	if err != nil || !same(again, file) {
		t.Errorf("read as %+v, then as %+v, %v", file, again, err)
	}
}
