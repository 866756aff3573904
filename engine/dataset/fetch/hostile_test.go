package fetch

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bnkit/checkpoint/durable"
)

// TestFetchRefusesSpecialPartialFile checks that a link, or another special file, in place of the
// partial file is refused, and that the file to which the link leads is not changed.
func TestFetchRefusesSpecialPartialFile(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	for _, to := range []string{"precious", "missing", "."} {
		dir := t.TempDir()
		writeFile(t, []byte("precious"), dir, "precious")
		writeFile(t, nil, dir, "test-set", "x")
		part := filepath.Join(dir, "test-set", "big.bin.part")
		if err := os.Symlink(filepath.Join(dir, to), part); err != nil {
			if runtime.GOOS == "windows" {
				t.Skip("Windows lets few users make symbolic links: ", err)
			}
			t.Fatal(err)
		}
		if _, err := fetch(context.Background(), src, p.options(dir)); err == nil || !strings.Contains(err.Error(), "is not a regular file; remove it") {
			t.Errorf("link to %s: got error %v", to, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "precious")); err != nil || string(b) != "precious" {
			t.Errorf("link to %s: the file holds %q, %v", to, b, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "missing")); err == nil {
			t.Errorf("link to %s: a file was created", to)
		}
	}
	if p.requests != 0 {
		t.Errorf("%d requests were made, want none", p.requests)
	}
}

// TestConcurrentDownloads checks that a locked partial file is not written, and that each of
// several concurrent downloads succeeds or reports another one.
func TestConcurrentDownloads(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	dir := t.TempDir()
	writeFile(t, files["big.bin"][:1000], dir, "test-set", "big.bin.part")
	locked, err := os.OpenFile(filepath.Join(dir, "test-set", "big.bin.part"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.Lock(locked); err != nil {
		t.Fatal(err)
	}
	const busy = "another process is downloading"
	if _, err := fetch(context.Background(), src, p.options(dir)); err == nil || !strings.Contains(err.Error(), busy) {
		t.Errorf("while the file is locked: got error %v", err)
	}
	locked.Close()
	for range 20 {
		dir := t.TempDir()
		errs := make(chan error)
		const n = 4
		for range n {
			go func() {
				_, err := fetch(context.Background(), src, p.options(dir))
				errs <- err
			}()
		}
		done := 0
		for range n {
			if err := <-errs; err == nil {
				done++
			} else if !strings.Contains(err.Error(), busy) {
				t.Errorf("got error %v", err)
			}
		}
		if done == 0 {
			t.Error("no download succeeded")
			continue
		}
		if b, err := os.ReadFile(filepath.Join(dir, "test-set", "big.bin")); err != nil || !bytes.Equal(b, files["big.bin"]) {
			t.Errorf("%d bytes, %v; want the published ones", len(b), err)
		}
	}
}

// TestRedirects checks that redirects within HTTP are followed, and that other redirects end
// the download at the first request.
func TestRedirects(t *testing.T) {
	src, files := testPublication()
	for _, to := range []string{"ftp://host/big.bin", "file:///etc/passwd", "javascript:x", ""} {
		p := newPublisher(t, files)
		p.misbehave = func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			if r.URL.RawQuery != "" {
				return false
			}
			target := to
			if to == "" {
				target = p.URL + "/data/big.bin?again"
			}
			http.Redirect(w, r, target, http.StatusFound)
			return true
		}
		dir := t.TempDir()
		got, err := fetch(context.Background(), src, p.options(dir))
		if to == "" {
			if err != nil {
				t.Fatal(err)
			}
			checkFetched(t, got, files)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "which is not followed") || p.requests != 1 {
			t.Errorf("redirect to %s: got error %v after %d requests, want one request", to, err, p.requests)
		}
	}
}

// TestFetchGivesUpOnSlowServer checks that Fetch gives up on a server that sends data below
// the minimum rate.
func TestFetchGivesUpOnSlowServer(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	p.misbehave = func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
		for i := 0; r.Context().Err() == nil; i++ {
			w.Write(content[i : i+1])
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
		return true
	}
	opts := p.options(t.TempDir())
	opts.StallTimeout, opts.MinRate = 200*time.Millisecond, 100_000
	if _, err := fetch(context.Background(), src, opts); err == nil || !strings.Contains(err.Error(), "3 attempts") || !strings.Contains(err.Error(), "fewer than 20000 bytes arrived in 200ms") {
		t.Errorf("got error %v", err)
	}
}
