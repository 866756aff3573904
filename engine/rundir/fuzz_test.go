package rundir

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"bnkit/checkpoint/alloctest"
)

// FuzzMetrics parses arbitrary bytes as a metrics.jsonl. Parsing must allocate at most 4 MiB plus
// 800 times their size. The epochs of accepted rows must ascend, and the rows must not change when
// they are written and read again.
func FuzzMetrics(f *testing.F) {
	for _, text := range []string{
		`{"epoch":1,"learning_rate":0.1,"train_loss":2,"test_loss":2.3,"test_examples":7,"test_statistics":"running","gamma_near_zero":0.5}` + "\n" +
			`{"epoch":3,"validation_loss":1,"validation_accuracy":0.5,"validation_examples":9}` + "\n" + `{"epoch":`,
		`{"epoch":1,"gradients":{"batches":2,"examples":64,"statistics":"batch","kinds":{"gamma":{"mean":0.1,"parameters":3,"trained":3,"layers":{"bn":0.1}}}}}` + "\n",
		"{\"epoch\":1}\n{\"epoch\":1}\n", "\n", "null\n", "{\"epoch\":1,\"validation_examples\":-1}\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var rows []EpochMetrics
		var err error
		alloctest.AtMost(t, 4<<20+800*len(b), func() { rows, err = parseMetrics("fuzz", b) })
		if err != nil {
			mustBeDamaged(t, err)
			return
		}
		text, previous := []byte(nil), 0
		for i := range rows {
			if rows[i].Epoch <= previous {
				t.Fatalf("%q was accepted with epoch %d after epoch %d, want ascending epochs", b, rows[i].Epoch, previous)
			}
			previous = rows[i].Epoch
			row, err := json.Marshal(rows[i])
			if err != nil {
				t.Fatal(err)
			}
			text = append(append(text, row...), '\n')
		}
		again, err := parseMetrics("fuzz", text)
		if err != nil || len(again) != len(rows) {
			t.Fatalf("%q is read as %d rows and, written again, as %d (error %v), want no change", b, len(rows), len(again), err)
		}
		for i := range again {
			// NaN, which stands for a missing value, differs from itself.
			want, _ := json.Marshal(rows[i])
			if got, err := json.Marshal(again[i]); err != nil || string(got) != string(want) {
				t.Errorf("row %d is %s (error %v) after it was written and read again, want %s", i, got, err, want)
			}
		}
	})
}

// FuzzManifest parses arbitrary bytes as a SHA256SUMS. Parsing must allocate at most 1 MiB plus 100
// times their size. The names in an accepted one must not lead out of its folder.
func FuzzManifest(f *testing.F) {
	const digest = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"
	for _, text := range []string{digest + "  a\n" + digest + "  b c", digest + "  ../a", digest + "  .", digest + "  /", digest + " *a\n", "\r\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var entries []ManifestEntry
		var err error
		alloctest.AtMost(t, 1<<20+100*len(b), func() { entries, err = parseManifest("fuzz", b) })
		if err != nil {
			mustBeDamaged(t, err)
			return
		}
		for _, e := range entries {
			if filepath.Dir(filepath.Join("dir", e.Name)) != "dir" || len(e.SHA256) != 64 {
				t.Errorf("%q was accepted with the entry %+v, want a name in the folder and 64 digits", b, e)
			}
		}
	})
}

// FuzzDataPath parses arbitrary bytes as a data.json. Parsing must allocate at most 1 MiB plus 400
// times their size. An accepted path must not change when it is written and read again.
func FuzzDataPath(f *testing.F) {
	for _, text := range []string{`{}`, `{"path":"/data"}`, `{"path":"\u0000","path":"b"}`, `{"Path":"a"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var path string
		var err error
		alloctest.AtMost(t, 1<<20+400*len(b), func() { path, err = parseDataPath("fuzz", b) })
		if err != nil {
			mustBeDamaged(t, err)
			return
		}
		text, err := json.Marshal(dataLocation{path})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseDataPath("fuzz", text); err != nil || again != path {
			t.Errorf("%q is read as %q and, written again, as %q (error %v), want no change", b, path, again, err)
		}
	})
}

// FuzzHolder reads arbitrary bytes as the text of a lock file. Reading must allocate at most 1 MiB
// plus 100 times their size. The result must be one line of valid UTF-8 that is not longer, and that
// stays the same when it is read again.
func FuzzHolder(f *testing.F) {
	for _, text := range []string{"process 12 on host (bnkit train --out r)\n", "", "process 12", "\x00\x00", "a\r\nb\u2028c\u0085", "\xff\xfe\x1b[2J"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var text string
		alloctest.AtMost(t, 1<<20+100*len(b), func() { text = holderText(b) })
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r") || len(text) > len(b) {
			t.Errorf("%q was read as %q, want one line of valid UTF-8 that is not longer", b, text)
		}
		if again := holderText([]byte(text)); again != text {
			t.Errorf("%q is read as %q, and that as %q, want no change", b, text, again)
		}
	})
}

// mustBeDamaged checks that err is a *DamagedError.
func mustBeDamaged(t *testing.T, err error) {
	t.Helper()
	var damaged *DamagedError
	if !errors.As(err, &damaged) {
		t.Fatalf("got error %v, want a *DamagedError", err)
	}
}
