package dataset

import "testing"

// TestLocateFindsPublishedFiles checks that locate finds files with their published names in
// the subfolder that is named after the data set.
func TestLocateFindsPublishedFiles(t *testing.T) {
	for _, src := range sources {
		dir := t.TempDir()
		for _, file := range src.files {
			writeFile(t, nil, dir, src.name, file.Name)
			if len(file.SHA256) != 64 && len(file.MD5) != 32 || file.Size < 1000 {
				t.Errorf("%s: %+v, want a SHA-256 or MD5 in hex, and a size of at least 1000 bytes", src.name, file)
			}
		}
		if loc, err := src.locate(dir); err != nil || loc == nil {
			t.Errorf("%s: locate returns %v, %v; want the folder of the files", src.name, loc, err)
		}
	}
}
