package rundir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"bnkit/checkpoint/durable"
)

// place is data.json. It is a file of its own because config.json, which says
// what was trained and not where, becomes a part of ckpt.bnz.
type place struct {
	Path string `json:"path,omitempty"` // absolute; missing for the default
}

// ReadPlace returns the folder or archive in which the run in dir found its
// data; "" where that was the default place, or dir holds no run.
func ReadPlace(dir string) (string, error) {
	path := File(dir, DataFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var p place
	if err := json.Unmarshal(b, &p); err != nil {
		return "", &DamagedError{path, err.Error() + "; remove the file, and name the folder of the data again"}
	}
	return p.Path, nil
}

// WritePlace keeps the folder or archive that holds the run's data; "" for the
// default place.
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
