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
				t.Errorf("%s: digest or size of %s is not set", src.name, file.Name)
			}
		}
		if loc, err := src.locate(dir); err != nil || loc == nil {
			t.Errorf("%s: locate returns %v, %v; want the folder of the files", src.name, loc, err)
		}
	}
}
