package fetch

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bnkit/engine/dataset"
	"bnkit/engine/rng"
)

// testPublication returns a data set of two files, one with each kind of digest.
func testPublication() (dataset.Publication, map[string][]byte) {
	files := map[string][]byte{"big.bin": noise(200_000), "small.bin": []byte("small")}
	sum := md5.Sum(files["small.bin"])
	return dataset.Publication{Name: "test-set", Base: "http://publisher.invalid/", Files: []dataset.PublishedFile{
		{Name: "big.bin", Size: int64(len(files["big.bin"])), SHA256: sha256Hex(files["big.bin"])},
		{Name: "small.bin", Size: int64(len(files["small.bin"])), MD5: hex.EncodeToString(sum[:])},
	}}, files
}

// noise returns n random bytes, the same ones in every call.
func noise(n int) []byte {
	stream := rng.NewStream(11, "test/bytes")
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(stream.Uint32(uint64(i)))
	}
	return b
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// flipByte returns a copy of b with byte i inverted.
func flipByte(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0xff
	return b
}

// writeFile writes a file and the folders above it.
func writeFile(t testing.TB, content []byte, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// publisher serves files. For each request for big.bin, it first calls misbehave with the
// number of the request, counted from 1. misbehave reports whether it has answered. ranges holds
// the header Range of each request.
type publisher struct {
	*httptest.Server
	mu        sync.Mutex
	requests  int
	ranges    []string
	misbehave func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool
}

// newPublisher starts a publisher of files, which it offers below /data.
func newPublisher(t *testing.T, files map[string][]byte) *publisher {
	t.Helper()
	p := &publisher{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := filepath.Base(r.URL.Path)
		content, ok := files[name]
		if !ok || r.URL.Path != "/data/"+name {
			http.NotFound(w, r)
			return
		}
		p.mu.Lock()
		p.requests++
		n := p.requests
		p.ranges = append(p.ranges, r.Header.Get("Range"))
		p.mu.Unlock()
		if name == "big.bin" && p.misbehave != nil && p.misbehave(n, w, r, content) {
			return
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(p.Close)
	return p
}

// options returns options that download from p to dir and wait only milliseconds between requests.
func (p *publisher) options(dir string) Options {
	return Options{Dir: dir, Mirror: p.URL + "/data", StallTimeout: 10 * time.Second, Attempts: 3, Backoff: time.Millisecond}
}

// breakConnection closes the connection in the middle of a response.
func breakConnection(w http.ResponseWriter) {
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// checkFetched checks that the folder holds the files and nothing else.
func checkFetched(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(files) {
		t.Errorf("the folder holds %v, want %d files", entries, len(files))
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes (error %v), want the %d published ones", name, len(got), err, len(want))
		}
	}
}

// checkAbsent checks that big.bin does not exist, and that its partial file exists if and
// only if partial is set.
func checkAbsent(t *testing.T, dir string, partial bool) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "test-set", "big.bin")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat of big.bin: got error %v, want os.ErrNotExist", err)
	}
	_, err := os.Stat(filepath.Join(dir, "test-set", "big.bin.part"))
	if kept := err == nil; kept != partial {
		t.Errorf("partial file exists: %v, want %v", kept, partial)
	}
}

func TestFetch(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	dir := t.TempDir()
	opts := p.options(dir)
	last := map[string]int64{}
	opts.Progress = func(file string, done, total int64) {
		if done < last[file] || total != int64(len(files[file])) {
			t.Errorf("the progress of %s is %d of %d bytes, want at least %d of %d", file, done, total, last[file], len(files[file]))
		}
		last[file] = done
	}
	for range 2 { // the second time, both files are there
		got, err := fetch(context.Background(), src, opts)
		if err != nil {
			t.Fatal(err)
		}
		if got != filepath.Join(dir, "test-set") {
			t.Errorf("fetched to %s, want the folder test-set in %s", got, dir)
		}
		checkFetched(t, got, files)
		for name, content := range files {
			if last[name] != int64(len(content)) {
				t.Errorf("progress of %s ended at %d, want %d", name, last[name], len(content))
			}
		}
	}
	if p.requests != 2 {
		t.Errorf("%d requests, want 2", p.requests)
	}
}

func TestFetchReplacesDamagedFile(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	dir := t.TempDir()
	writeFile(t, flipByte(files["big.bin"], 5), dir, "test-set", "big.bin")
	got, err := fetch(context.Background(), src, p.options(dir))
	if err != nil {
		t.Fatal(err)
	}
	checkFetched(t, got, files)
}

func TestFetchRecovers(t *testing.T) {
	src, files := testPublication()
	size := len(files["big.bin"])
	for _, c := range []struct {
		name      string
		partial   []byte // of big.bin, from an earlier run
		misbehave func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool
		ranges    []string // the ranges of big.bin that are requested
	}{
		{"resume", files["big.bin"][:1000], nil, []string{"bytes=1000-"}},
		{"partial file is complete", files["big.bin"], nil, nil},
		{"partial file is too long", append(bytes.Clone(files["big.bin"]), 1), nil, []string{""}},
		{"truncated", nil, func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			if n > 1 {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Write(content[:70000])
			breakConnection(w)
			return true
		}, []string{"", "bytes=70000-"}},
		{"truncated without length", nil, func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			if n > 1 {
				return false
			}
			w.Write(content[:70000])
			w.(http.Flusher).Flush() // chunked: the end looks regular
			return true
		}, []string{"", "bytes=70000-"}},
		{"many breaks, each with progress", nil, func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			if n > 6 {
				return false
			}
			from := (n - 1) * 10000
			if from > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
				w.WriteHeader(http.StatusPartialContent)
			}
			w.Write(content[from : from+10000])
			breakConnection(w)
			return true
		}, []string{"", "bytes=10000-", "bytes=20000-", "bytes=30000-", "bytes=40000-", "bytes=50000-", "bytes=60000-"}},
		{"range ignored", files["big.bin"][:1000], func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			w.Write(content)
			return true
		}, []string{"bytes=1000-"}},
		{"another range sent", files["big.bin"][:1000], func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			if n > 1 {
				return false
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 10-%d/%d", size-1, size))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content[10:])
			return true
		}, []string{"bytes=1000-", ""}},
		{"range refused", files["big.bin"][:1000], func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			if n > 1 {
				return false
			}
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}, []string{"bytes=1000-", ""}},
		{"server errors", nil, func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			if n > 2 {
				return false
			}
			w.WriteHeader([]int{500, 429}[n-1])
			return true
		}, []string{"", "", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPublisher(t, files)
			p.misbehave = c.misbehave
			dir := t.TempDir()
			if c.partial != nil {
				writeFile(t, c.partial, dir, "test-set", "big.bin.part")
			}
			got, err := fetch(context.Background(), src, p.options(dir))
			if err != nil {
				t.Fatal(err)
			}
			checkFetched(t, got, files)
			// The last request is for small.bin.
			if asked := p.ranges[:len(p.ranges)-1]; strings.Join(asked, ",") != strings.Join(c.ranges, ",") || len(asked) != len(c.ranges) {
				t.Errorf("requested ranges %q, want %q", asked, c.ranges)
			}
		})
	}
}

func TestFetchRecoversFromStall(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	p.misbehave = func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
		if n > 2 {
			return false
		}
		if n == 1 { // headers and a part, then silence; at n == 2 not even headers
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:70000])
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		return true
	}
	opts := p.options(t.TempDir())
	opts.StallTimeout = time.Second
	got, err := fetch(context.Background(), src, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkFetched(t, got, files)
	if asked := strings.Join(p.ranges[:3], ","); asked != ",bytes=70000-,bytes=70000-" {
		t.Errorf("requested ranges %q, want %q", asked, ",bytes=70000-,bytes=70000-")
	}
}

func TestFetchGivesUp(t *testing.T) {
	src, files := testPublication()
	size := len(files["big.bin"])
	for _, c := range []struct {
		name      string
		misbehave func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool
		want      string
		requests  int
		partial   bool // whether the partial file is kept
		target    any  // for errors.As; nil for an error of any type
	}{
		{"wrong bytes", func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			w.Write(flipByte(content, 17))
			return true
		}, "want SHA-256 " + sha256Hex(files["big.bin"]), 1, false, new(*DigestError)},
		{"announces another size", func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			w.Header().Set("Content-Length", fmt.Sprint(size+5))
			w.Write(content)
			return true
		}, fmt.Sprintf("want a file of %d bytes, but the server announces %d", size, size+5), 1, true, nil},
		{"sends more", func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			w.(http.Flusher).Flush()
			w.Write(append(bytes.Clone(content), "more"...))
			return true
		}, "server sends more", 1, true, nil},
		{"announces more than it sends", func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Write(content[:50])
			breakConnection(w)
			return true
		}, "after 50 of", 4, true, nil}, // the first brings 50 bytes, three more bring none
		{"404", func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			http.NotFound(w, r)
			return true
		}, "404 Not Found", 1, true, new(*StatusError)},
		{"500", func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			w.WriteHeader(500)
			return true
		}, "3 attempts", 3, true, new(*StatusError)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPublisher(t, files)
			p.misbehave = c.misbehave
			dir := t.TempDir()
			_, err := fetch(context.Background(), src, p.options(dir))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one that says %q", err, c.want)
			}
			if c.target != nil && !errors.As(err, c.target) {
				t.Errorf("got error %v, want a %s", err, strings.TrimPrefix(fmt.Sprintf("%T", c.target), "*"))
			}
			if p.requests != c.requests {
				t.Errorf("%d requests, want %d", p.requests, c.requests)
			}
			checkAbsent(t, dir, c.partial)
		})
	}
}

func TestFetchCancelledKeepsPart(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	p.misbehave = func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
		if n > 1 {
			return false
		}
		w.Write(content[:70000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	opts := p.options(dir)
	opts.Progress = func(file string, done, total int64) {
		if done == 70000 {
			cancel()
		}
	}
	if _, err := fetch(ctx, src, opts); !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v, want %v", err, context.Canceled)
	}
	checkAbsent(t, dir, true)
	got, err := fetch(context.Background(), src, p.options(dir))
	if err != nil {
		t.Fatal(err)
	}
	checkFetched(t, got, files)
	if p.ranges[1] != "bytes=70000-" {
		t.Errorf("resumed with range %q, want bytes=70000-", p.ranges[1])
	}
}

func TestFetchRefuses(t *testing.T) {
	if _, err := Fetch(context.Background(), "imagenet", Options{}); !errors.As(err, new(*dataset.UnknownError)) {
		t.Errorf("unknown name: got error %v, want a *dataset.UnknownError", err)
	}
	for _, mirror := range []string{"ftp://host/x", "not an address", "/folder", "http://%zz"} {
		if _, err := Fetch(context.Background(), "mnist", Options{Dir: t.TempDir(), Mirror: mirror}); err == nil || !strings.Contains(err.Error(), "mirror") {
			t.Errorf("mirror %q: got error %v, want one about the mirror", mirror, err)
		}
	}
	if _, err := Fetch(context.Background(), "sample", Options{}); err != nil {
		t.Errorf("the sample: got error %v, want none", err)
	}
}

func TestFetchReportsUnwritableFolder(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	dir := t.TempDir()
	writeFile(t, nil, dir, "test-set") // a file where the folder should be
	if _, err := fetch(context.Background(), src, p.options(dir)); err == nil || !strings.Contains(err.Error(), "fetch test-set") {
		t.Errorf("got error %v, want one that says %q", err, "fetch test-set")
	}
	if p.requests != 0 {
		t.Errorf("%d requests were made, want none", p.requests)
	}
}
