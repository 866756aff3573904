package fetch

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/durable/crashfs"
)

// crashCase is a download that a test disturbs: the content of the data folder before it, and how
// the publisher misbehaves, as in publisher.misbehave.
type crashCase struct {
	before    crashfs.State
	misbehave func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool
}

// crashCases returns downloads that together create, extend, empty, rename and remove files.
func crashCases(files map[string][]byte) map[string]crashCase {
	big := files["big.bin"]
	folder := func(name string, content []byte) crashfs.State {
		return crashfs.State{"test-set/": nil, "test-set/" + name: content}
	}
	return map[string]crashCase{
		"a new download":          {},
		"a resumed download":      {before: folder("big.bin.part", big[:50_000])},
		"a partial file too long": {before: folder("big.bin.part", append(bytes.Clone(big), 1))},
		"a whole partial file":    {before: folder("big.bin.part", big)},
		"a damaged partial file":  {before: folder("big.bin.part", flipByte(big[:50_000], 7))},
		"a damaged file":          {before: folder("big.bin", flipByte(big, 7))},
		"a server that ignores ranges": {folder("big.bin.part", big[:50_000]), func(_ int, w http.ResponseWriter, _ *http.Request, content []byte) bool {
			w.Write(content)
			return true
		}},
		"a server that closes twice": {misbehave: func(n int, w http.ResponseWriter, _ *http.Request, content []byte) bool {
			return n <= 2 && sendHalf(w, content)
		}},
	}
}

// sendHalf sends half of a file without its length. It returns true, because it has answered the
// request.
func sendHalf(w http.ResponseWriter, content []byte) bool {
	w.Write(content[:len(content)/2])
	return true
}

// checkWhole checks that each file in s with the name of a published file has the published content
// or the content from before the download, and returns the result.
func (c crashCase) checkWhole(t *testing.T, label string, s crashfs.State, files map[string][]byte) (whole bool) {
	t.Helper()
	whole = true
	for name, want := range files {
		path := "test-set/" + name
		if got, there := s[path]; there && !bytes.Equal(got, want) && !bytes.Equal(got, c.before[path]) {
			t.Errorf("%s: %s (%d bytes) is neither the published file (%d bytes) nor the one from before (%d bytes)", label, name, len(got), len(want), len(c.before[path]))
			whole = false
		}
	}
	return whole
}

// finish fetches from a server that does not misbehave to a folder that holds s, checks that the
// folder then holds exactly the published files, and returns the result.
func finish(t *testing.T, label string, s crashfs.State, files map[string][]byte) bool {
	t.Helper()
	src, _ := testPublication()
	dir := t.TempDir()
	if err := s.Write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(context.Background(), src, newPublisher(t, files).options(dir)); err != nil {
		t.Errorf("%s: the next fetch: got error %v, want none", label, err)
		return false
	}
	got, err := crashfs.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := crashfs.State{"test-set/": nil}
	for name, content := range files {
		want["test-set/"+name] = content
	}
	if changed := want.Changed(got); changed != nil {
		t.Errorf("%s: after the next fetch, the folder differs from the published files at %v, want no difference", label, changed)
		return false
	}
	return true
}

// TestPowerCuts cuts the power after each operation of a download on a file or a directory. A
// file that has the name of a published one must be whole, and the next fetch must end with the
// published files.
func TestPowerCuts(t *testing.T) {
	src, files := testPublication()
	for name, c := range crashCases(files) {
		p := newPublisher(t, files)
		p.misbehave = c.misbehave
		dir := t.TempDir()
		if err := c.before.Write(dir); err != nil {
			t.Fatal(err)
		}
		disk, err := crashfs.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		end := durable.Intercept(disk.Follow)
		_, err = fetch(context.Background(), src, p.options(dir))
		end()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if missed, err := disk.Missed(); err != nil || len(missed) > 0 {
			t.Errorf("%s: %v were written without package durable (error %v), want no such files", name, missed, err)
		}
		end = durable.Intercept((&crashfs.Fault{}).Inject) // skips syncs, which take long
		seen, survived := map[string]bool{}, 0
		for _, cut := range disk.Cuts {
			whole := true
			for _, s := range cut.States {
				if seen[s.Key()] {
					continue
				}
				seen[s.Key()] = true
				label := name + ", cut after " + cut.After
				whole = c.checkWhole(t, label, s, files) && finish(t, label, s, files) && whole
			}
			if whole {
				survived++
			}
		}
		end()
		last := disk.Cuts[len(disk.Cuts)-1].States
		if names := slices.Sorted(maps.Keys(last[0])); len(last) != 1 || !slices.Equal(names, []string{"test-set/", "test-set/big.bin", "test-set/small.bin"}) {
			t.Errorf("%s: a cut after the end leaves %d states, the first with %v; want 1 state with the two published files", name, len(last), names)
		}
		t.Logf("data fetch, %s: cuts tried %d, survived %d (%d states)", name, len(disk.Cuts), survived, len(seen))
	}
}

// TestFailingOperations makes each operation of a download on a file or a directory fail, every
// second one together with all later operations. The error must name the file and the cause in one
// line, a file that has the name of a published one must be whole, and the next fetch must end with
// the published files.
func TestFailingOperations(t *testing.T) {
	causes := []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.EIO, syscall.EACCES}
	src, files := testPublication()
	for name, c := range crashCases(files) {
		tried, survived := 0, 0
		for failing := 1; ; failing++ { // the number of an operation
			p := newPublisher(t, files)
			p.misbehave = c.misbehave
			dir := t.TempDir()
			if err := c.before.Write(dir); err != nil {
				t.Fatal(err)
			}
			fault := crashfs.Fault{At: failing, Lasting: failing%2 == 0, Err: causes[failing%len(causes)]}
			end := durable.Intercept(fault.Inject)
			_, err := fetch(context.Background(), src, p.options(dir))
			end()
			if fault.Operations < failing {
				break
			}
			tried++
			label := name + ", " + fault.Failed + " fails"
			if !errors.Is(err, fault.Err) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: error %q, want one line with the path and %q", label, err, fault.Err)
			}
			s, err := crashfs.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			if c.checkWhole(t, label, s, files) && finish(t, label, s, files) {
				survived++
			}
		}
		t.Logf("data fetch, %s: failures tried %d, survived %d", name, tried, survived)
	}
}
