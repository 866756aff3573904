package torchfile

import (
	"errors"
	"fmt"
	"io"
)

// window is the number of bytes that a source normally reads at once.
const window = 64 << 10

// source reads a range of a file from front to back.
type source struct {
	r        io.ReaderAt
	pos, end int64  // the range that is not read yet
	ahead    []byte // the bytes in memory, beginning with the one at pos
	buf      []byte
}

// newSource returns a source of the bytes of r from begin to end.
func newSource(r io.ReaderAt, begin, end int64) *source {
	return &source{r: r, pos: begin, end: end}
}

// next reads n bytes, which stay valid until the next call.
func (s *source) next(n int64) ([]byte, error) {
	if n < 0 || n > s.end-s.pos {
		return nil, refuse("the file is cut off or damaged: %d bytes are needed at byte %d, but %d are left; copy it again", n, s.pos, s.end-s.pos)
	}
	if n > int64(len(s.ahead)) {
		want := max(n, min(window, s.end-s.pos))
		if want > int64(len(s.buf)) {
			s.buf = make([]byte, want)
		}
		s.ahead = s.buf[:want]
		if err := readAt(s.r, s.ahead, s.pos); err != nil {
			return nil, err
		}
	}
	b := s.ahead[:n]
	s.ahead = s.ahead[n:]
	s.pos += n
	return b, nil
}

// skip moves on by n bytes without reading them.
func (s *source) skip(n int64) error {
	if n < 0 || n > s.end-s.pos {
		return refuse("the file is cut off or damaged: %d bytes are needed at byte %d, but %d are left; copy it again", n, s.pos, s.end-s.pos)
	}
	s.ahead = s.ahead[min(n, int64(len(s.ahead))):]
	s.pos += n
	return nil
}

// line reads a line and returns it without its line feed.
func (s *source) line() (string, error) {
	const longest = 1000
	var b []byte
	for len(b) <= longest {
		next, err := s.next(1)
		if err != nil {
			return "", err
		}
		if next[0] == '\n' {
			return string(b), nil
		}
		b = append(b, next[0])
	}
	return "", refuse("the pickle is damaged: a name at byte %d is longer than %d bytes; copy the file again", s.pos, longest)
}

// readAt fills b with the bytes of r from offset on.
func readAt(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return refuse("the file is cut off at byte %d; copy it again", offset+int64(n))
	}
	return fmt.Errorf("read at byte %d: %w", offset, err)
}
