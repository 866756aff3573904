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

// dataLocation is the content of data.json. It is not in config.json because config.json
// becomes a part of ckpt.bnz, which must not depend on where the run's data was.
type dataLocation struct {
	Path string `json:"path,omitempty"` // absolute; missing for the default
}

// ReadDataPath returns the folder or archive that held the data of the run in dir. It returns
// "" if that was the default folder or if dir does not hold a run.
func ReadDataPath(dir string) (string, error) {
	path := File(dir, DataFile)
	b, err := durable.ReadFile(path, MaxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return parseDataPath(path, b)
}

// parseDataPath parses the content of a data.json. path names the file in errors.
func parseDataPath(path string, b []byte) (string, error) {
	var l dataLocation
	if err := strictjson.Unmarshal(b, &l); err != nil {
		return "", &DamagedError{path, err.Error() + "; remove the file, and name the folder of the data again"}
	}
	return l.Path, nil
}

// WriteDataPath records the folder or archive that holds the run's data. A path of "" stands
// for the default folder.
func (d *Dir) WriteDataPath(path string) error { return writeDataPath(d.File(DataFile), path) }

// writeDataPath writes path, made absolute, to a data.json.
func writeDataPath(file, path string) error {
	if path != "" {
		var err error
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(dataLocation{path}, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(file, append(b, '\n'))
}

// RecordDataPath records, in the folder of a checkpoint outside of a run, the folder or archive
// that holds the checkpoint's data, so that ReadDataPath finds it. recorded reports whether
// the path is recorded. RecordDataPath writes nothing if the folder holds a run, another
// recorded path or other checkpoints, because the path would apply to them too.
func RecordDataPath(ckpt, path string) (recorded bool, err error) {
	dir := filepath.Dir(ckpt)
	path, err = filepath.Abs(path)
	if err != nil {
		return false, err
	}
	if hasRun, err := HasRun(dir); hasRun || err != nil {
		return false, err
	}
	file := filepath.Join(dir, DataFile)
	if _, err := os.Lstat(file); err == nil {
		old, err := ReadDataPath(dir)
		return err == nil && old == path, nil
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
	return true, writeDataPath(file, path)
}
