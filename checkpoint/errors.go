package checkpoint

import "fmt"

var (
	// ErrCorrupt reports that a file is damaged, or is not a .bnz file.
	ErrCorrupt error = fileError("not an intact .bnz file")
	// ErrVersion reports that a file has a version that this reader does not know.
	ErrVersion error = fileError("unknown .bnz version")
	// ErrUnsupported reports that a file has a required section that this version does not
	// know.
	ErrUnsupported error = fileError("the file needs a newer bnkit")
)

// fileError reports that a file cannot be read.
type fileError string

func (e fileError) Error() string { return string(e) }

// BadInput reports that the file is at fault.
func (e fileError) BadInput() bool { return true }

// FormatError reports what is wrong with a file, and where. It matches ErrCorrupt.
type FormatError struct {
	Offset int64  // where the damaged part begins or the file ends, in bytes
	Reason string // what is wrong
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%v: at byte %d: %s; copy the file again or recreate it", ErrCorrupt, e.Offset, e.Reason)
}

// Is reports whether target is ErrCorrupt.
func (e *FormatError) Is(target error) bool { return target == ErrCorrupt }

// BadInput reports that the file is at fault.
func (e *FormatError) BadInput() bool { return true }

// corrupt returns a *FormatError.
func corrupt(offset int64, format string, args ...any) error {
	return &FormatError{offset, fmt.Sprintf(format, args...)}
}
