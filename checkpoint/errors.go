package checkpoint

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt says that a file is no .bnz file, or damaged.
	ErrCorrupt = errors.New("not an intact .bnz file")
	// ErrVersion says that a file is of a version that this reader does not know.
	ErrVersion = errors.New("unknown .bnz version")
	// ErrUnsupported says that a file needs something that this reader lacks.
	ErrUnsupported = errors.New("the file needs a newer bnkit")
)

// FormatError says what is wrong with a file, and where. It is an ErrCorrupt.
type FormatError struct {
	Offset int64  // byte of the file from which the trouble was seen
	Reason string // what was found and what was expected
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%v: at byte %d: %s; copy or make it again", ErrCorrupt, e.Offset, e.Reason)
}

// Is makes a FormatError an ErrCorrupt.
func (e *FormatError) Is(target error) bool { return target == ErrCorrupt }

func corrupt(offset int64, format string, args ...any) error {
	return &FormatError{offset, fmt.Sprintf(format, args...)}
}
