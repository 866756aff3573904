package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// CacheDir returns the default folder of data sets: $BNKIT_DATA, or else bnkit in the
// user's cache folder ([os.UserCacheDir]).
func CacheDir() (string, error) {
	if dir := os.Getenv("BNKIT_DATA"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder (set BNKIT_DATA, or name a folder): %w", err)
	}
	return filepath.Join(dir, "bnkit"), nil
}

// Location describes where a data set's files are.
type Location struct {
	// Name is the data set's canonical name.
	Name string
	// Path is the archive, or the folder that holds the files; "" for the sample,
	// which is built in.
	Path string
	// Bytes is the size of the files.
	Bytes int64
}

// Locate finds the files of a named data set in dir ("" means [CacheDir]) without
// reading them. The error is an [*UnknownError], a [*MissingError], or an error of the
// file system.
func Locate(name, dir string) (Location, error) {
	if canonicalName(name) == sampleName {
		return sampleLocation()
	}
	src := sourceByName(name)
	if src == nil {
		return Location{}, &UnknownError{Name: name}
	}
	if dir == "" {
		var err error
		if dir, err = CacheDir(); err != nil {
			return Location{}, err
		}
	}
	found, err := src.locate(dir)
	if err != nil {
		return Location{}, err
	}
	if found == nil {
		return Location{}, &MissingError{Name: src.name, Dir: dir}
	}
	loc := Location{Name: src.name, Path: found.dir}
	if found.archive {
		loc.Path = found.files[0]
	}
	for _, file := range found.files {
		info, err := os.Stat(file)
		if err != nil {
			return Location{}, fmt.Errorf("look for %s: %w", src.name, err)
		}
		loc.Bytes += info.Size()
	}
	return loc, nil
}

// location describes where the files of a source were found.
type location struct {
	src     *source
	dir     string
	files   []string
	archive bool
}

// sameFiles reports whether both locations have the same files.
func (l *location) sameFiles(other *location) bool { return slices.Equal(l.files, other.files) }

// open loads the data set.
func (l *location) open() (*Data, error) {
	switch {
	case l.archive:
		return openArchive(l.files[0], []*source{l.src})
	case l.src.cifar != nil:
		return openCIFAR(l.src, l.dir)
	}
	return openIDX(l.src, l.files)
}

// locate looks for the source's files in its folders below dir. It returns nil if it does not
// find them.
func (s *source) locate(dir string) (*location, error) {
	for _, sub := range s.folders {
		dir := filepath.Join(dir, filepath.FromSlash(sub))
		for _, set := range s.fileSets() {
			files, err := findAll(dir, set)
			if err != nil {
				return nil, fmt.Errorf("look for %s: %w", s.name, err)
			}
			if files != nil {
				return &location{src: s, dir: dir, files: files, archive: s.cifar != nil && len(set) == 1}, nil
			}
		}
	}
	return nil, nil
}

// fileSets returns alternative sets of files, each of which holds the whole data set. The
// names are indexed by set, file and spelling.
func (s *source) fileSets() [][][]string {
	if s.cifar != nil {
		var files [][]string
		for _, name := range s.cifar.fileNames() {
			files = append(files, []string{name})
		}
		return [][][]string{files, {{s.cifar.archive}}}
	}
	var sets [][][]string
	for _, n := range idxNames {
		var files [][]string
		for _, name := range n {
			files = append(files, []string{name, name + ".gz"})
		}
		sets = append(sets, files)
	}
	return sets
}

// findAll returns the paths of all files, or nil if a file is missing. It takes the first
// existing spelling of each file.
func findAll(dir string, files [][]string) ([]string, error) {
	var paths []string
	for _, spellings := range files {
		found := ""
		for _, name := range spellings {
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			if err == nil && info.Mode().IsRegular() {
				found = path
				break
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
				return nil, err
			}
		}
		if found == "" {
			return nil, nil
		}
		paths = append(paths, found)
	}
	return paths, nil
}
