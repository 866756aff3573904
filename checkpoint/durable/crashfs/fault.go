package crashfs

import (
	"io/fs"
	"os"

	"bnkit/checkpoint/durable"
)

// Fault makes operations of package durable fail. If the first operation that fails is a write, it
// writes half of its data.
type Fault struct {
	At      int   // number of the operation that fails, from 1; 0 for none
	Lasting bool  // whether all later operations fail too, as they do when a disk vanishes
	Err     error // the cause, such as syscall.ENOSPC

	Operations int    // number of operations so far
	Failed     string // the first operation that failed
}

// Inject performs an operation, or makes it fail with an error such as package os returns. It does
// not perform syncs, which take long. It is for durable.Intercept.
func (f *Fault) Inject(op durable.Operation, do func() error) error {
	f.Operations++
	later := f.At > 0 && f.Operations > f.At
	if f.Operations != f.At && !(later && f.Lasting) {
		if op.Kind == "sync" {
			return nil
		}
		return do()
	}
	if later {
		return &fs.PathError{Op: op.Kind, Path: op.Path, Err: f.Err}
	}
	f.Failed = op.Kind + " " + op.Path
	switch op.Kind {
	case "rename":
		return &os.LinkError{Op: op.Kind, Old: op.From, New: op.Path, Err: f.Err}
	case "write":
		file, err := os.OpenFile(op.Path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := file.Write(op.Data[:len(op.Data)/2]); err != nil {
			return err
		}
	}
	return &fs.PathError{Op: op.Kind, Path: op.Path, Err: f.Err}
}
