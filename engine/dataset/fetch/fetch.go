// Package fetch downloads data sets from their publishers, or from mirrors. It is
// a package of its own so that package dataset does not need net/http.
package fetch

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bnkit/checkpoint/durable"
	"bnkit/engine/dataset"
)

// Options describes where to download from and to. The zero value downloads from the
// publisher to [dataset.CacheDir].
type Options struct {
	// Dir is the data folder; the files go to its subfolder named after the data set.
	Dir string
	// Mirror is the address of a folder that holds the published files under their
	// published names; "" for the publisher's.
	Mirror string
	// Progress, if not nil, is called as a file arrives, with the number of bytes that have
	// been downloaded and the size of the file.
	Progress func(file string, done, total int64)
	// Retry, if not nil, is called with the error of a request that is going to be
	// repeated.
	Retry func(error)
	// StallTimeout is the longest time that an attempt waits for MinRate·StallTimeout
	// bytes; 0 means 30 seconds.
	StallTimeout time.Duration
	// MinRate is the lowest average rate, in bytes per second, at which data must arrive
	// during each StallTimeout; 0 means 1024.
	MinRate int64
	// Attempts is the number of consecutive failed requests for a file after which Fetch
	// gives up; 0 means 5. A request fails if it stalls or brings no new data.
	Attempts int
	// Backoff is the time to wait before a request is repeated. It doubles each time, and
	// starts again from Backoff after a request that brought new data without stalling. 0
	// means 1 second.
	Backoff time.Duration
}

// DigestError reports a downloaded file whose digest differs from the published one. If Fetch
// returns it, the download has been deleted.
type DigestError struct {
	// File is the address of the file.
	File string
	// Algorithm is SHA-256 or MD5; Want and Got are in hex.
	Algorithm, Want, Got string
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: want %s %s, got %s: the download was deleted", e.File, e.Algorithm, e.Want, e.Got)
}

// BadInput reports that the file, not the caller, is at fault.
func (e *DigestError) BadInput() bool { return true }

// SizeError reports a server whose file does not have the published size.
type SizeError struct {
	URL  string
	Want int64  // bytes
	Got  string // what the server announces or sends
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s: want a file of %d bytes, but the server %s", e.URL, e.Want, e.Got)
}

// StatusError reports the HTTP status of a response that does not hold the file, such as
// "404 Not Found".
type StatusError struct {
	URL, Status string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: server answers %s", e.URL, e.Status)
}

// Fetch downloads a data set's published files and returns the folder that holds them. It
// keeps existing files that have the published digest, and resumes a partial download. The
// digest is SHA-256, or MD5 for CIFAR, because its page publishes no other. A file gets its
// name only when it is complete, on disk and verified. Fetch does nothing for the sample,
// which is built in.
//
// The error wraps a [*dataset.UnknownError], a [*StatusError], a [*SizeError], a
// [*DigestError], the cause of ctx's cancellation, or an error of the network or the file
// system. Errors of no exported type report a Mirror that is not an address, a redirect that is
// not followed, and a partial file that another process has locked or that is not a regular
// file.
func Fetch(ctx context.Context, name string, opts Options) (dir string, err error) {
	p, err := dataset.Published(name)
	if err != nil || len(p.Files) == 0 {
		return "", err
	}
	if opts.Dir == "" {
		if opts.Dir, err = dataset.CacheDir(); err != nil {
			return "", err
		}
	}
	return fetch(ctx, p, opts)
}

// fetch downloads the files of p that are missing. opts.Dir is set.
func fetch(ctx context.Context, p dataset.Publication, opts Options) (dir string, err error) {
	base := p.Base
	if opts.Mirror != "" {
		base = opts.Mirror
	}
	address, err := url.Parse(base)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return "", fmt.Errorf("mirror %q: want an address like https://host/folder", base)
	}
	if opts.StallTimeout == 0 {
		opts.StallTimeout = 30 * time.Second
	}
	if opts.MinRate == 0 {
		opts.MinRate = 1 << 10
	}
	if opts.Attempts == 0 {
		opts.Attempts = 5
	}
	if opts.Backoff == 0 {
		opts.Backoff = time.Second
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int64, int64) {}
	}
	dir = filepath.Join(opts.Dir, p.Name)
	if err := durable.MkdirAll(dir); err != nil {
		return "", fmt.Errorf("fetch %s: %w", p.Name, err)
	}
	for _, file := range p.Files {
		d := &download{
			remote: file,
			url:    address.JoinPath(file.Name).String(),
			path:   filepath.Join(dir, file.Name),
			opts:   opts,
		}
		if err := d.run(ctx); err != nil {
			return "", fmt.Errorf("fetch %s: %w", p.Name, err)
		}
	}
	return dir, nil
}

// download is the download of one file.
type download struct {
	remote dataset.PublishedFile
	url    string
	path   string
	opts   Options
}

// partial returns the path of the partial file. It is in the folder of the complete file, so
// that a rename completes the download.
func (d *download) partial() string { return d.path + ".part" }

// permanentError wraps an error that further attempts would repeat.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// run downloads the file, verifies it and renames it. It does nothing if the file is there and has
// the published digest.
func (d *download) run(ctx context.Context) error {
	switch err := verify(d.remote, d.path); {
	case err == nil:
		d.opts.Progress(d.remote.Name, d.remote.Size, d.remote.Size)
		return nil
	case !errors.Is(err, os.ErrNotExist) && !errors.As(err, new(*DigestError)):
		return err
	}
	for resumed := d.partialSize() > 0; ; resumed = false {
		if err := d.complete(ctx); err != nil {
			return err
		}
		err := verify(d.remote, d.partial())
		if err == nil {
			err = durable.Rename(d.partial(), d.path)
		}
		if err == nil || errors.Is(err, os.ErrNotExist) && verify(d.remote, d.path) == nil {
			return nil // this process, or another one, has completed the file
		}
		var wrong *DigestError
		if !errors.As(err, &wrong) {
			return err
		}
		wrong.File = d.url
		if err := durable.RemoveAll(d.partial()); err != nil {
			return fmt.Errorf("delete a download with a wrong %s: %w", wrong.Algorithm, err)
		}
		// A loss of power can damage what an earlier process has downloaded.
		if !resumed {
			return wrong
		}
		d.retry(wrong)
	}
}

// retry reports an error after which a request is repeated.
func (d *download) retry(err error) {
	if d.opts.Retry != nil {
		d.opts.Retry(err)
	}
}

// complete makes attempts until the partial file has its full size and is on disk.
func (d *download) complete(ctx context.Context) error {
	// Only bytes beyond the longest download so far count as progress, so that Fetch
	// gives up on a server that ignores ranges and keeps closing connections.
	longest := d.partialSize()
	wait := d.opts.Backoff
	for failures := 0; ; {
		err := d.attempt(ctx)
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		var permanent permanentError
		if errors.As(err, &permanent) {
			return permanent.error
		}
		size := d.partialSize()
		if size > longest && !errors.Is(err, errStalled) {
			failures, wait = 0, d.opts.Backoff
		} else if failures++; failures >= d.opts.Attempts {
			return fmt.Errorf("%d attempts brought no new data, or stalled: %w; fetch again to resume", failures, err)
		}
		longest = max(longest, size)
		d.retry(err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// partialSize returns the size of the partial file, or 0 if there is none.
func (d *download) partialSize() int64 {
	info, err := os.Stat(d.partial())
	if err != nil {
		return 0
	}
	return info.Size()
}

// attempt sends one request, unless the partial file has its full size already, and appends
// the response to the file. It returns nil if the file has its full size and is on disk.
func (d *download) attempt(parent context.Context) (err error) {
	f, err := d.openPartial()
	if err != nil {
		return permanentError{err}
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = permanentError{closeErr}
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return permanentError{err}
	}
	offset := info.Size()
	if offset > d.remote.Size {
		if offset, err = restart(f); err != nil {
			return err
		}
	}
	d.opts.Progress(d.remote.Name, offset, d.remote.Size)
	if offset < d.remote.Size {
		if err := d.append(parent, f, offset); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		restart(f) // its error is ignored, because the disk is at fault anyway
		return permanentError{err}
	}
	return nil
}

// append requests the bytes of the file from offset on and appends them to the partial file.
func (d *download) append(parent context.Context, f *durable.File, offset int64) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	minBytes := int64(float64(d.opts.MinRate) * d.opts.StallTimeout.Seconds())
	stalled := fmt.Errorf("%s: %w: fewer than %d bytes arrived in %v", d.url, errStalled, minBytes, d.opts.StallTimeout)
	timer := time.AfterFunc(d.opts.StallTimeout, func() { cancel(stalled) })
	defer timer.Stop()

	body, offset, err := d.request(ctx, f, offset)
	if err == nil {
		defer body.Close()
		arrived := int64(0) // since the timer was set
		err = d.receive(body, f, offset, func(n int) {
			if arrived += int64(n); arrived >= minBytes {
				arrived = 0
				timer.Reset(d.opts.StallTimeout)
			}
		})
	}
	if err != nil && context.Cause(ctx) == stalled {
		return stalled
	}
	return err
}

// errStalled reports that data arrives too slowly, or not at all.
var errStalled = errors.New("stalled")

// openPartial opens the partial file and locks it, so that two processes do not write it at
// the same time.
func (d *download) openPartial() (*durable.File, error) {
	path := d.partial()
	for {
		// Opening would follow a link, and would wait for the reader of a pipe.
		if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file; remove it", path)
		}
		f, err := durable.OpenFile(path)
		if err != nil {
			return nil, err
		}
		if err := f.Lock(); err != nil && !errors.Is(err, durable.ErrNoLocks) {
			f.Close()
			if errors.Is(err, durable.ErrLocked) {
				return nil, fmt.Errorf("another process is downloading %s; wait until it ends", d.path)
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Another process may have completed the file, or replaced it with a link, in the
		// meantime.
		locked, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if current, err := os.Lstat(path); err == nil && os.SameFile(locked, current) {
			return f, nil
		}
		f.Close()
	}
}

// client follows redirects within HTTP, but not from HTTPS to HTTP or to another scheme.
var client = &http.Client{CheckRedirect: func(req *http.Request, via []*http.Request) error {
	from, to := via[len(via)-1].URL, req.URL
	switch {
	case to.Scheme != "https" && (to.Scheme != "http" || from.Scheme == "https"):
		return permanentError{fmt.Errorf("the server redirects from %s to %s, which is not followed", from.Scheme, to.Scheme)}
	case len(via) >= 10:
		return permanentError{errors.New("the server redirects at least 10 times")}
	}
	return nil
}}

// request requests the bytes from offset on. It returns the body of the response and the
// offset at which the body begins, which is also the size of f.
func (d *download) request(ctx context.Context, f *durable.File, offset int64) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return nil, 0, permanentError{err}
	}
	// The digest is that of the published bytes, so the server must not compress them.
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	if offset, err = d.accept(resp, f, offset); err != nil {
		resp.Body.Close()
		return nil, 0, err
	}
	if n := resp.ContentLength; n >= 0 && offset+n != d.remote.Size {
		resp.Body.Close()
		return nil, 0, permanentError{&SizeError{d.url, d.remote.Size, fmt.Sprintf("announces %d", offset+n)}}
	}
	return resp.Body, offset, nil
}

// accept checks the status of the response to a request for the bytes from offset on, and
// returns the offset at which its body begins.
func (d *download) accept(resp *http.Response, f *durable.File, offset int64) (int64, error) {
	switch status := resp.StatusCode; {
	case status == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
		return offset, nil
	case status == http.StatusOK:
		if offset == 0 {
			return 0, nil
		}
		return restart(f) // the server ignores ranges
	case status == http.StatusPartialContent, status == http.StatusRequestedRangeNotSatisfiable:
		// The server sent another range, or its file does not have this one.
		if _, err := restart(f); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%s: cannot resume at byte %d (%s)", d.url, offset, resp.Status)
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return 0, &StatusError{URL: d.url, Status: resp.Status}
	}
	return 0, permanentError{&StatusError{URL: d.url, Status: resp.Status}}
}

// receive appends the body to the file and calls arrived with the number of bytes whenever
// data arrives.
func (d *download) receive(body io.Reader, f *durable.File, offset int64, arrived func(n int)) error {
	buf := make([]byte, 1<<16)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			arrived(n)
			if offset+int64(n) > d.remote.Size {
				if _, err := restart(f); err != nil {
					return err
				}
				return permanentError{&SizeError{d.url, d.remote.Size, "sends more"}}
			}
			if _, err := f.Write(buf[:n]); err != nil {
				return permanentError{err}
			}
			offset += int64(n)
			d.opts.Progress(d.remote.Name, offset, d.remote.Size)
		}
		switch {
		case err == io.EOF && offset < d.remote.Size:
			return fmt.Errorf("%s: connection ended after %d of %d bytes", d.url, offset, d.remote.Size)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s: after %d of %d bytes: %w", d.url, offset, d.remote.Size, err)
		}
	}
}

// restart empties the partial file and returns its new size, 0.
func restart(f *durable.File) (int64, error) {
	if err := f.Empty(); err != nil {
		return 0, permanentError{err}
	}
	return 0, nil
}

// verify checks that the file at path has the published digest. The error is a *DigestError if it
// does not, or an error of the file system.
func verify(r dataset.PublishedFile, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var h hash.Hash = sha256.New()
	algorithm, want := "SHA-256", r.SHA256
	if r.MD5 != "" {
		h, algorithm, want = md5.New(), "MD5", r.MD5
	}
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return &DigestError{File: path, Algorithm: algorithm, Want: want, Got: got}
	}
	return nil
}
