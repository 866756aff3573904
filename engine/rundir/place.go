package rundir

import (
	"encoding/json"
	"errors"
	"io/fs"
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
func (d *Dir) WritePlace(path string) error {
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
	return durable.WriteFile(d.File(DataFile), append(b, '\n'))
}
