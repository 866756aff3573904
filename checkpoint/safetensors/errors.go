package safetensors

import "fmt"

// Error reports what is wrong with a file.
type Error struct {
	Reason string // what is wrong
}

func (e *Error) Error() string {
	return "not an intact safetensors file: " + e.Reason + "; copy it again or recreate it"
}

// BadInput reports that the file is at fault.
func (e *Error) BadInput() bool { return true }

func invalid(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// TypeError reports a tensor whose elements cannot be converted to float32.
type TypeError struct {
	Tensor string
	DType  string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("tensor %q has elements of type %s; store it as F32, F16 or BF16", e.Tensor, e.DType)
}

// BadInput reports that the file is at fault.
func (e *TypeError) BadInput() bool { return true }
