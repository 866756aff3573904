package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FileError reports a path that cannot be read or replaced because it does not name a regular
// file or is behind too many symbolic links, or a file that is too large.
type FileError struct {
	Path   string
	Reason string // what is wrong, and what to do
}

func (e *FileError) Error() string { return e.Path + ": " + e.Reason }

// BadInput reports that the file is at fault.
func (e *FileError) BadInput() bool { return true }

// maxLinks is the largest number of symbolic links that are followed, as on Linux.
const maxLinks = 40

// target follows symbolic links from path. It returns the path of the file that they lead
// to and its info, which is nil if the file does not exist. The error is a *FileError if
// the file exists and is not a regular file, or if there are more than maxLinks links.
func target(path string) (file string, info fs.FileInfo, err error) {
	for range maxLinks + 1 {
		info, err = os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil, nil
		}
		if err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return path, info, checkRegular(path, info)
		}
		link, err := os.Readlink(path)
		if err != nil {
			return "", nil, err
		}
		dir, base := filepath.Split(link)
		if !filepath.IsAbs(link) {
			dir = filepath.Dir(path) + string(filepath.Separator) + dir
		}
		// Links in dir are followed before filepath.Join removes any "..".
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return "", nil, err
		}
		path = filepath.Join(dir, base)
	}
	return "", nil, &FileError{path, fmt.Sprintf("it is behind more than %d symbolic links; choose another path", maxLinks)}
}

// checkRegular returns a *FileError unless info describes a regular file.
func checkRegular(path string, info fs.FileInfo) error {
	kind := "a special file"
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "a folder"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	}
	return &FileError{path, fmt.Sprintf("it is %s, not a regular file; choose another path", kind)}
}

// ReadFile reads the regular file at path, which may have at most limit bytes. The error is
// a *FileError if the file is larger, or if it is not a regular file: reading a pipe could
// block for ever.
func ReadFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := checkRegular(path, info); err != nil {
		return nil, err
	}
	b, err := readUpTo(path, limit+1)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &FileError{path, fmt.Sprintf("it has more than %d bytes, which is the limit for such a file", limit)}
	}
	return b, nil
}

// ReadUpTo reads the first n bytes of the file at path, or all of a shorter file. The file may
// be a pipe or a device, which can take for ever to open or read, so ReadUpTo returns ctx's
// error once ctx is cancelled. The file then stays open until the pending operation ends.
func ReadUpTo(ctx context.Context, path string, n int64) ([]byte, error) {
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := readUpTo(path, n)
		done <- result{b, err}
	}()
	select {
	case r := <-done:
		return r.b, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readUpTo reads the first n bytes of the file at path, or all of a shorter file.
func readUpTo(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}
