package safetensors

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bnkit/checkpoint/strictjson"
)

// maxIndex bounds the size of an index in bytes.
const maxIndex = 64 << 20

// openIndex opens the files that an index lists. The result has the tensors of these files,
// in the order of the files' names, and the metadata of the first file.
func openIndex(path string) (*File, error) {
	tensorsIn, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	all := &File{}
	for i, name := range slices.Sorted(maps.Keys(tensorsIn)) {
		f, err := openOne(filepath.Join(filepath.Dir(path), name))
		if err == nil {
			all.open = append(all.open, f.open...)
			err = all.add(f, name, tensorsIn[name])
		}
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		if i == 0 {
			all.Metadata = f.Metadata
		}
	}
	return all, nil
}

// add appends the tensors of shard, a file with the given name. listed holds the names of the
// tensors that the index lists for this file. add removes them, and fails if the names in the
// shard are not exactly these.
func (f *File) add(shard *File, name string, listed map[string]bool) error {
	for i := range shard.Tensors {
		t := &shard.Tensors[i]
		if !listed[t.Name] {
			return invalid("%s holds the tensor %q, which the index does not list there", name, t.Name)
		}
		delete(listed, t.Name)
	}
	for missing := range listed {
		return invalid("the index lists the tensor %q in %s, which does not hold it", missing, name)
	}
	f.Tensors = append(f.Tensors, shard.Tensors...)
	return nil
}

// readIndex returns the names of the tensors that an index lists, by the name of the file
// that holds them.
func readIndex(path string) (map[string]map[string]bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxIndex {
		return nil, invalid("the index is not a regular file of at most %d bytes", maxIndex)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseIndex(raw)
}

// parseIndex returns what readIndex does for the content of an index.
func parseIndex(raw []byte) (map[string]map[string]bool, error) {
	var index struct {
		Files map[string]string `json:"weight_map"` // by the name of a tensor
	}
	if err := strictjson.Unmarshal(raw, &index); err != nil {
		return nil, invalid("the index cannot be read: %v", err)
	}
	if index.Files == nil {
		return nil, invalid("the index has no weight_map")
	}
	tensorsIn := map[string]map[string]bool{}
	for tensor, name := range index.Files {
		// An index must not lead to files in other folders.
		if name == "." || name == ".." || name != filepath.Base(name) || strings.ContainsAny(name, `/\`) {
			return nil, invalid("the index lists the file %q; a name without a folder is expected", name)
		}
		if tensorsIn[name] == nil {
			tensorsIn[name] = map[string]bool{}
		}
		tensorsIn[name][tensor] = true
	}
	return tensorsIn, nil
}
