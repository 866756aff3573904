package torchfile

import "fmt"

// Error reports that a file does not hold a state dict that this package reads: it is
// damaged, of another format, or holds something else.
type Error struct {
	Reason string // what is wrong, where, and what to do, in one line
}

func (e *Error) Error() string { return e.Reason }

// BadInput reports that the file is at fault.
func (e *Error) BadInput() bool { return true }

func refuse(format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...)}
}
