package rundir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/strictjson"
)

// place is the content of data.json. It is not a part of config.json because that becomes
// a part of ckpt.bnz, which must not depend on where a run took place.
type place struct {
	Path string `json:"path,omitempty"` // absolute; missing for the default
}

// ReadPlace returns the folder or archive in which the run in dir found its data, or "" if
// that was the default place or dir does not hold a run.
func ReadPlace(dir string) (string, error) {
	path := File(dir, DataFile)
	b, err := durable.ReadFile(path, MaxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var p place
	if err := strictjson.Unmarshal(b, &p); err != nil {
		return "", &DamagedError{path, err.Error() + "; remove the file, and name the folder of the data again"}
	}
	return p.Path, nil
}

// WritePlace records the folder or archive that holds the run's data, "" for the default
// place.
func (d *Dir) WritePlace(path string) error { return writePlace(d.File(DataFile), path) }

func writePlace(file, path string) error {
	if path != "" {
		var err error
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(place{path}, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(file, append(b, '\n'))
}

// RecordPlace records the folder or archive that holds the data of a checkpoint outside of a
// run, for ReadPlace of the checkpoint's folder. It reports whether the place is recorded. It
// writes nothing if the folder holds a run, another place or other checkpoints, because the
// place would count for them too.
func RecordPlace(ckpt, path string) (recorded bool, err error) {
	dir := filepath.Dir(ckpt)
	path, err = filepath.Abs(path)
	if err != nil {
		return false, err
	}
	if holds, err := Holds(dir); holds || err != nil {
		return false, err
	}
	file := filepath.Join(dir, DataFile)
	if _, err := os.Lstat(file); err == nil {
		was, err := ReadPlace(dir)
		return err == nil && was == path, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == filepath.Ext(CheckpointFile) && e.Name() != filepath.Base(ckpt) {
			return false, nil
		}
	}
	return true, writePlace(file, path)
}
