package torchfile

import "fmt"

// Error reports that this package cannot read a state dict from a file, because the file is
// damaged, has another format, or holds something else.
type Error struct {
	Reason string // what is wrong and where, in one line, and what to do if something helps
}

func (e *Error) Error() string { return e.Reason }

// BadInput reports that the file is at fault.
func (e *Error) BadInput() bool { return true }

// refuse returns an *Error with the formatted reason.
func refuse(format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...)}
}
