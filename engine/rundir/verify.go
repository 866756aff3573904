package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// VerifyMetrics checks that the metrics.jsonl of the run in dir has a row for each of the first
// stateEpochs epochs. It returns the number of rows.
func VerifyMetrics(dir string, stateEpochs int) (rows int, err error) {
	path := File(dir, MetricsFile)
	metrics, err := ReadMetrics(path)
	if err != nil {
		return 0, err
	}
	hasRow := map[int]bool{}
	for _, m := range metrics {
		hasRow[m.Epoch] = true
	}
	for epoch := 1; epoch <= stateEpochs; epoch++ {
		if !hasRow[epoch] {
			return len(metrics), &DamagedError{Path: path, Reason: fmt.Sprintf("the row of epoch %d is missing", epoch)}
		}
	}
	return len(metrics), nil
}

// VerifyManifest compares the files in dir with its manifest. It returns the number of files
// that the manifest lists. found reports whether there is a manifest.
func VerifyManifest(dir string) (files int, found bool, err error) {
	entries, err := ReadManifest(dir)
	if err != nil || entries == nil {
		return 0, err != nil, err
	}
	for _, e := range entries {
		digest, err := FileDigest(filepath.Join(dir, e.Name))
		path := filepath.Join(dir, ManifestFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return len(entries), true, &DamagedError{Path: path, Reason: e.Name + ", which it lists, is missing"}
		case err != nil:
			return len(entries), true, err
		case digest != e.SHA256:
			return len(entries), true, &DamagedError{Path: path, Reason: fmt.Sprintf("%s has the SHA-256 %.12s…, but it lists %.12s…", e.Name, digest, e.SHA256)}
		}
	}
	return len(entries), true, nil
}
