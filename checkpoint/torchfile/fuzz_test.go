package torchfile

import (
	"os"
	"testing"
)

// maxFuzz bounds the length of inputs in bytes. Longer inputs would only make fuzzing slower.
const maxFuzz = 1 << 16

// FuzzRead reads arbitrary bytes. Every error must be a bad-input error. Function read checks
// the memory and the tensors.
func FuzzRead(f *testing.F) {
	for path := range fixtures(f) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, kind := range forms {
		f.Add(kind.file(kind.withExtra(kind.state())))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		if _, err := read(t, b); err != nil {
			checkBadInput(t, err)
		}
	})
}

// FuzzPickle puts arbitrary bytes as the pickle into an otherwise intact file of either
// form.
func FuzzPickle(f *testing.F) {
	for _, kind := range forms {
		for _, c := range hostile(kind) {
			if len(c.pickle) < 1<<12 {
				f.Add(c.pickle, kind == "legacy")
			}
		}
		f.Add(kind.withExtra(kind.state()), kind == "legacy")
		f.Add(kind.withExtra("cnumpy.core.multiarray\nscalar\n"+tupleOf("cnumpy\ndtype\n"+tupleOf(str("f8"), "\x89", "\x88")+"R"+tupleOf(integer(3), str("<"), "N")+"b", "C\x0812345678")+"R"), kind == "legacy")
	}
	f.Fuzz(func(t *testing.T, pickle string, legacy bool) {
		if len(pickle) > maxFuzz {
			return
		}
		kind := form("zip")
		if legacy {
			kind = "legacy"
		}
		if _, err := read(t, kind.file(pickle)); err != nil {
			checkBadInput(t, err)
		}
	})
}
