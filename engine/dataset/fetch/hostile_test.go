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

// TestFetchRefusesSpecialPartialFile checks that a link in place of the partial file is refused,
// whether it leads to a file, to a folder or nowhere, and that it is not written through.
func TestFetchRefusesSpecialPartialFile(t *testing.T) {
	src, files := testPublication()
	p := newPublisher(t, files)
	for _, linked := range []string{"precious", "missing", "."} {
		dir := t.TempDir()
		writeFile(t, []byte("precious"), dir, "precious")
		writeFile(t, nil, dir, "test-set", "x")
		part := filepath.Join(dir, "test-set", "big.bin.part")
		if err := os.Symlink(filepath.Join(dir, linked), part); err != nil {
			if runtime.GOOS == "windows" {
				t.Skip("Windows lets few users make symbolic links: ", err)
			}
			t.Fatal(err)
		}
		if _, err := fetch(context.Background(), src, p.options(dir)); err == nil || !strings.Contains(err.Error(), "is not a regular file; remove it") {
			t.Errorf("link to %s: got error %v, want one that says to remove the file", linked, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "precious")); err != nil || string(b) != "precious" {
			t.Errorf("link to %s: the file precious holds %q (error %v), want it unchanged", linked, b, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "missing")); err == nil {
			t.Errorf("link to %s: the file missing was created, want it not to exist", linked)
		}
	}
	if p.requests != 0 {
		t.Errorf("%d requests were made, want none", p.requests)
	}
}

// TestConcurrentDownloads checks that a download fails while another process has locked the
// partial file, and that of several concurrent downloads at least one succeeds and each of
// the others reports that another process is downloading.
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
		t.Errorf("while the file is locked: got error %v, want one that says %q", err, busy)
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
				t.Errorf("got error %v, want none or one that says %q", err, busy)
			}
		}
		if done == 0 {
			t.Error("no download succeeded, want at least one")
			continue
		}
		if b, err := os.ReadFile(filepath.Join(dir, "test-set", "big.bin")); err != nil || !bytes.Equal(b, files["big.bin"]) {
			t.Errorf("big.bin has %d bytes (error %v), want the %d published ones", len(b), err, len(files["big.bin"]))
		}
	}
}

// TestRedirects checks that a redirect to an HTTP address is followed, and that a redirect to
// another scheme ends the download at the first request.
func TestRedirects(t *testing.T) {
	src, files := testPublication()
	const self = "" // stands for an address of the publisher
	for _, target := range []string{"ftp://host/big.bin", "file:///etc/passwd", "javascript:x", self} {
		p := newPublisher(t, files)
		p.misbehave = func(n int, w http.ResponseWriter, r *http.Request, content []byte) bool {
			if r.URL.RawQuery != "" {
				return false
			}
			address := target
			if target == self {
				address = p.URL + "/data/big.bin?again"
			}
			http.Redirect(w, r, address, http.StatusFound)
			return true
		}
		dir := t.TempDir()
		got, err := fetch(context.Background(), src, p.options(dir))
		if target == self {
			if err != nil {
				t.Fatal(err)
			}
			checkFetched(t, got, files)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "which is not followed") || p.requests != 1 {
			t.Errorf("redirect to %s: got error %v after %d requests, want one that says %q after 1", target, err, p.requests, "which is not followed")
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
		t.Errorf("got error %v, want one about 3 attempts and fewer than 20000 bytes in 200ms", err)
	}
}
