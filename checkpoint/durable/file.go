package durable

import (
	"io"
	"io/fs"
	"os"
)

// File is a file that is written piece by piece, such as a download. Until Sync has returned,
// a crash may leave any part of what was written.
type File struct{ f *os.File }

// OpenFile opens the file at path for writing, or creates it.
func OpenFile(path string) (*File, error) {
	f, err := open(path, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// Write writes data to the end of the file.
func (f *File) Write(data []byte) (n int, err error) {
	err = perform(Operation{Kind: "write", Path: f.f.Name(), Data: data}, func() error {
		if _, err := f.f.Seek(0, io.SeekEnd); err != nil {
			return err
		}
		n, err = f.f.Write(data)
		return err
	})
	return n, err
}

// Empty removes the content of the file.
func (f *File) Empty() error {
	return perform(Operation{Kind: "empty", Path: f.f.Name()}, func() error { return f.f.Truncate(0) })
}

// Sync makes the content of the file durable. If it fails, later calls may succeed although
// the content is lost, so the file must be emptied or removed.
func (f *File) Sync() error { return perform(Operation{Kind: "sync", Path: f.f.Name()}, f.f.Sync) }

// Lock locks the file, as the function Lock does.
func (f *File) Lock() error { return lock(f.f) }

// Stat returns the info of the file.
func (f *File) Stat() (fs.FileInfo, error) { return f.f.Stat() }

// Close closes the file and ends its lock.
func (f *File) Close() error { return f.f.Close() }
