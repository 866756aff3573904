package dataset

import (
	"fmt"
	"strings"
)

// FormatError reports a file that violates its format: it is truncated, oversized or
// corrupt, or has a wrong magic number or a label out of range.
type FormatError struct {
	// File is the path of the file; for a member of an archive, ARCHIVE:MEMBER.
	File string
	// Offset is the position of the error in bytes, after decompression.
	Offset int64
	// Want describes the expected content at Offset, and Got the actual content.
	Want, Got string
}

// BadInput reports that the file is at fault.
func (e *FormatError) BadInput() bool { return true }

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: at byte %d: want %s, got %s", e.File, e.Offset, e.Want, e.Got)
}

// PictureError reports a picture, or a folder of pictures, that cannot be used.
type PictureError struct {
	// Path is the file or folder.
	Path string
	// Reason says what is wrong and what is expected.
	Reason string
}

func (e *PictureError) Error() string { return e.Path + ": " + e.Reason }

// BadInput reports that the picture or the folder is at fault.
func (e *PictureError) BadInput() bool { return true }

// MissingError reports a data set whose files were not found.
type MissingError struct {
	// Name is the canonical name of the data set; "" if a folder was opened by its path.
	Name string
	// Dir is the folder that was searched.
	Dir string
}

func (e *MissingError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("no data set in %s: want CIFAR binary files, a CIFAR .tar.gz, the four IDX files of the MNIST family, or folders of pictures train/CLASS and test/CLASS", e.Dir)
	}
	return fmt.Sprintf("data set %s is not in %s", e.Name, e.Dir)
}

// UnknownError reports a name that is neither a known data set nor the path of an existing
// file or folder.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("unknown data set %q: want %s, or the path of a folder or .tar.gz", e.Name, strings.Join(Names(), ", "))
}

// WrongUsage reports that the name is at fault.
func (e *UnknownError) WrongUsage() bool { return true }

// AmbiguousError reports a folder that holds several data sets.
type AmbiguousError struct {
	// Path is the folder.
	Path string
}

func (e *AmbiguousError) Error() string {
	return e.Path + " holds several data sets: open one of them by its name"
}

// WrongUsage reports that the path is at fault: it does not say which data set to open.
func (e *AmbiguousError) WrongUsage() bool { return true }
