package dataset

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
	"runtime"
	"strings"
	"time"
)

// FetchOptions says where to download from and to. The zero value downloads from the
// publisher to [CacheDir].
type FetchOptions struct {
	// Dir is the data folder; the files go to its subfolder named after the data set.
	Dir string
	// Mirror is the address of a folder that holds the published files under their
	// published names.
	Mirror string
	// Progress, if set, is called as a file arrives, with the bytes of it that are there.
	Progress func(file string, done, total int64)
	// StallTimeout is how long a server may send nothing before the attempt is given
	// up; 0 means 30 seconds.
	StallTimeout time.Duration
	// Attempts is the number of requests for a file in a row that bring nothing more
	// before Fetch gives up; 0 means 5.
	Attempts int
	// Backoff is the wait before the second of those, doubled for each further one; 0
	// means 1 second.
	Backoff time.Duration
}

// DigestError reports a downloaded file that is not the published one. It has been
// deleted.
type DigestError struct {
	// File is the address it came from.
	File string
	// Algorithm is SHA-256 or MD5; Want and Got are in hex.
	Algorithm, Want, Got string
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: want %s %s, got %s: deleted the download; fetch again, or from another place with --mirror",
		e.File, e.Algorithm, e.Want, e.Got)
}

// StatusError reports an HTTP status that brings no data, such as "404 Not Found".
type StatusError struct {
	URL, Status string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: server answers %s", e.URL, e.Status)
}

// Fetch downloads a data set's published files and returns the folder they are in.
// What is there already is kept if it has the published digest (SHA-256; for CIFAR
// the MD5 its page lists) and a partial download is resumed. A file appears under its name only
// when it is whole, verified and on disk. For the sample it does nothing.
//
// Errors: [*UnknownError], [*StatusError], [*DigestError], the context's, or one of the
// network or file system.
func Fetch(ctx context.Context, name string, opts FetchOptions) (dir string, err error) {
	if canonicalName(name) == sampleName {
		return "", nil
	}
	src := sourceByName(name)
	if src == nil {
		return "", &UnknownError{Name: name}
	}
	if opts.Dir == "" {
		if opts.Dir, err = CacheDir(); err != nil {
			return "", err
		}
	}
	return src.fetch(ctx, opts)
}

// fetch downloads the source's files that are not there. opts.Dir is set.
func (s *source) fetch(ctx context.Context, opts FetchOptions) (dir string, err error) {
	base := s.base
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
	if opts.Attempts == 0 {
		opts.Attempts = 5
	}
	if opts.Backoff == 0 {
		opts.Backoff = time.Second
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int64, int64) {}
	}
	dir = filepath.Join(opts.Dir, s.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("fetch %s: %w", s.name, err)
	}
	for _, file := range s.files {
		d := &download{
			remote: file,
			url:    address.JoinPath(file.name).String(),
			path:   filepath.Join(dir, file.name),
			opts:   opts,
		}
		if err := d.run(ctx); err != nil {
			return "", fmt.Errorf("fetch %s: %w", s.name, err)
		}
	}
	return dir, nil
}

// download is the download of one file.
type download struct {
	remote remoteFile
	url    string
	path   string
	opts   FetchOptions
}

// partial is where the file grows, in the same folder, so that a rename completes it.
func (d *download) partial() string { return d.path + ".part" }

// permanentError marks an error that another attempt would meet again.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// run makes attempts until the file is whole, verifies it and moves it into place.
func (d *download) run(ctx context.Context) error {
	switch err := d.remote.verify(d.path); {
	case err == nil:
		d.opts.Progress(d.remote.name, d.remote.size, d.remote.size)
		return nil
	case !errors.Is(err, os.ErrNotExist) && !errors.As(err, new(*DigestError)):
		return err
	}
	// Only more than was ever there counts as progress, so that a server that ignores
	// ranges and keeps breaking off is given up.
	most := d.have()
	wait := d.opts.Backoff
	for fruitless := 0; ; {
		err := d.attempt(ctx)
		if err == nil {
			break
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		var permanent permanentError
		if errors.As(err, &permanent) {
			return permanent.error
		}
		if have := d.have(); have > most {
			most, fruitless, wait = have, 0, d.opts.Backoff
		} else if fruitless++; fruitless >= d.opts.Attempts {
			return fmt.Errorf("%d attempts brought nothing more: %w; type the command again to resume", fruitless, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait *= 2
	}
	if err := d.remote.verify(d.partial()); err != nil {
		var wrong *DigestError
		if errors.As(err, &wrong) {
			wrong.File = d.url
			return errors.Join(wrong, os.Remove(d.partial()))
		}
		return err
	}
	return d.place()
}

// have returns the size of the partial file.
func (d *download) have() int64 {
	info, err := os.Stat(d.partial())
	if err != nil {
		return 0
	}
	return info.Size()
}

// attempt sends one request and appends what it brings to the partial file. It
// returns nil when the file has its full size.
func (d *download) attempt(parent context.Context) (err error) {
	f, err := os.OpenFile(d.partial(), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return permanentError{err}
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = permanentError{closeErr}
		}
	}()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return permanentError{err}
	}
	if have > d.remote.size {
		if have, err = restart(f); err != nil {
			return err
		}
	}
	d.opts.Progress(d.remote.name, have, d.remote.size)
	if have == d.remote.size {
		return nil
	}

	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	stalled := fmt.Errorf("%s: nothing arrived for %v", d.url, d.opts.StallTimeout)
	timer := time.AfterFunc(d.opts.StallTimeout, func() { cancel(stalled) })
	defer timer.Stop()

	body, have, err := d.request(ctx, f, have)
	if err == nil {
		defer body.Close()
		err = d.receive(body, f, have, func() { timer.Reset(d.opts.StallTimeout) })
	}
	if err != nil && context.Cause(ctx) == stalled {
		return stalled
	}
	return err
}

// request asks for the bytes from have on, and returns the body and the offset at
// which it begins, to which the file is set.
func (d *download) request(ctx context.Context, f *os.File, have int64) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return nil, 0, permanentError{err}
	}
	// The digest is that of the bytes as published: no compression on the way.
	req.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	if have, err = d.accept(resp, f, have); err != nil {
		resp.Body.Close()
		return nil, 0, err
	}
	if n := resp.ContentLength; n >= 0 && have+n != d.remote.size {
		resp.Body.Close()
		return nil, 0, permanentError{fmt.Errorf("%s: want a file of %d bytes, server announces %d; try another place with --mirror", d.url, d.remote.size, have+n)}
	}
	return resp.Body, have, nil
}

// accept judges a response's status to a request from have on, and returns the
// offset at which its body begins.
func (d *download) accept(resp *http.Response, f *os.File, have int64) (int64, error) {
	switch status := resp.StatusCode; {
	case status == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)):
		return have, nil
	case status == http.StatusOK:
		if have == 0 {
			return 0, nil
		}
		return restart(f) // the server ignores ranges
	case status == http.StatusPartialContent, status == http.StatusRequestedRangeNotSatisfiable:
		// Not the range asked for, or none that the server's file has.
		if _, err := restart(f); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%s: cannot resume at byte %d (%s)", d.url, have, resp.Status)
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return 0, &StatusError{URL: d.url, Status: resp.Status}
	}
	return 0, permanentError{fmt.Errorf("%w; try another place with --mirror", &StatusError{URL: d.url, Status: resp.Status})}
}

// receive appends the body to the file, calling alive at each arrival.
func (d *download) receive(body io.Reader, f *os.File, have int64, alive func()) error {
	buf := make([]byte, 1<<16)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			alive()
			if have+int64(n) > d.remote.size {
				if _, err := restart(f); err != nil {
					return err
				}
				return permanentError{fmt.Errorf("%s: want a file of %d bytes, server sends more; try another place with --mirror", d.url, d.remote.size)}
			}
			if _, err := f.Write(buf[:n]); err != nil {
				return permanentError{err}
			}
			have += int64(n)
			d.opts.Progress(d.remote.name, have, d.remote.size)
		}
		switch {
		case err == io.EOF && have < d.remote.size:
			return fmt.Errorf("%s: connection ended after %d of %d bytes", d.url, have, d.remote.size)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s: after %d of %d bytes: %w", d.url, have, d.remote.size, err)
		}
	}
}

// restart empties the partial file.
func restart(f *os.File) (int64, error) {
	if err := f.Truncate(0); err != nil {
		return 0, permanentError{err}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, permanentError{err}
	}
	return 0, nil
}

// place makes the verified partial file durable under its name.
func (d *download) place() error {
	f, err := os.OpenFile(d.partial(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(d.partial(), d.path); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be opened to be synced
	}
	dir, err := os.Open(filepath.Dir(d.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// verify returns a DigestError unless the file at path has the published digest.
func (r remoteFile) verify(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var h hash.Hash = sha256.New()
	algorithm, want := "SHA-256", r.sha256
	if r.md5 != "" {
		h, algorithm, want = md5.New(), "MD5", r.md5
	}
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return &DigestError{File: path, Algorithm: algorithm, Want: want, Got: got}
	}
	return nil
}
