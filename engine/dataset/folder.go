package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// folderName is the name of every data set that is a folder of pictures.
const folderName = "image-folder"

// File is a picture of an image folder.
type File struct {
	// Name is the path relative to the folder, with slashes: train/CLASS/a.png.
	Name string
	// Size is its size in bytes when the folder was opened.
	Size int64
	// Label is its class index.
	Label int32
}

// isImageFolder reports whether a folder has a subfolder train.
func isImageFolder(root string) bool {
	info, err := os.Stat(filepath.Join(root, "train"))
	return err == nil && info.IsDir()
}

// openImageFolder lists a folder of pictures without reading them: PNG and JPEG files in
// train/CLASS and in test/CLASS or val/CLASS, at any depth. If there are both test and
// val, val is the validation split. Classes are the subfolders of train, ordered by
// name. Other files, and names that begin with a dot, are skipped.
func openImageFolder(root string) (*Data, error) {
	d := &Data{Name: folderName, Flip: true}
	var err error
	if d.Classes, err = subfolders(filepath.Join(root, "train")); err != nil {
		return nil, err
	}
	if len(d.Classes) < 2 {
		return nil, &PictureError{filepath.Join(root, "train"), fmt.Sprintf("want a folder of pictures for each of at least 2 classes, got %d", len(d.Classes))}
	}
	splits := map[string]*Split{}
	for _, name := range []string{"train", "val", "test"} {
		if splits[name], err = listSplit(root, name, d.Classes); err != nil {
			return nil, err
		}
	}
	d.Train, d.Test, d.Validation = splits["train"], splits["test"], splits["val"]
	if d.Test == nil {
		d.Test, d.Validation = d.Validation, nil
	}
	if d.Test == nil {
		return nil, &PictureError{root, "want a folder test or val beside train, got neither"}
	}
	d.computeStatistics()
	return d, nil
}

// subfolders returns the names of the folders in dir, sorted.
func subfolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	var names []string
	for _, e := range entries {
		if isHidden(e.Name()) {
			continue
		}
		// Stat follows a link to a folder.
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("open data set: %w", err)
		}
		if info.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// listSplit lists the pictures of a split, class by class. It returns nil if the split has no
// folder.
func listSplit(root, split string, classes []string) (*Split, error) {
	dir := filepath.Join(root, split)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, nil
	}
	names, err := subfolders(dir)
	if err != nil {
		return nil, err
	}
	s := &Split{Channels: 3, dir: root}
	for _, name := range names {
		label, known := slices.BinarySearch(classes, name)
		if !known {
			return nil, &PictureError{filepath.Join(dir, name), "want a class of the training split, got a folder of another name"}
		}
		before := len(s.Files)
		if s.Files, err = listClass(s.Files, root, path.Join(split, name), int32(label)); err != nil {
			return nil, err
		}
		if len(s.Files) == before {
			return nil, &PictureError{filepath.Join(dir, name), "want PNG or JPEG files, got none"}
		}
	}
	if len(s.Files) == 0 {
		return nil, &PictureError{dir, "want a folder of pictures for each class, got none"}
	}
	return s, nil
}

// listClass appends the pictures below a folder, in the order of fs.WalkDir: in each folder, files
// and subfolders are sorted by name, and a subfolder's pictures take its place.
func listClass(files []File, root, folder string, label int32) ([]File, error) {
	// Unlike filepath.WalkDir, DirFS follows a folder that is a link.
	below := os.DirFS(filepath.Join(root, filepath.FromSlash(folder)))
	err := fs.WalkDir(below, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && isHidden(e.Name()):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir() || !isPicture(name):
			return nil
		}
		info, err := fs.Stat(below, name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return &PictureError{filepath.Join(root, folder, name), "want a regular file"}
		}
		files = append(files, File{Name: path.Join(folder, name), Size: info.Size(), Label: label})
		return nil
	})
	if picture := (*PictureError)(nil); errors.As(err, &picture) {
		return nil, err // it names the whole path
	}
	if err != nil {
		return nil, fmt.Errorf("list pictures in %s: %w", filepath.Join(root, folder), err)
	}
	return files, nil
}

// isHidden reports whether a name begins with a dot.
func isHidden(name string) bool { return strings.HasPrefix(name, ".") }

// isPicture reports whether a name has an extension of PNG or JPEG files.
func isPicture(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".png", ".jpg", ".jpeg":
		return true
	}
	return false
}
