package rundir

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestRecordPlace records a place only if it counts for one checkpoint alone.
func TestRecordPlace(t *testing.T) {
	place, other := t.TempDir(), t.TempDir()
	for name, c := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"an empty folder":  {nil, true},
		"the file itself":  {map[string]string{"m.bnz": "", "notes.txt": ""}, true},
		"another file":     {map[string]string{"n.bnz": ""}, false},
		"a run":            {map[string]string{ConfigFile: "{}"}, false},
		"another place":    {map[string]string{DataFile: `{"path":` + strconv.Quote(other) + `}`}, false},
		"a default place":  {map[string]string{DataFile: `{}`}, false},
		"a damaged place":  {map[string]string{DataFile: `{`}, false},
		"the same place":   {map[string]string{DataFile: `{"path":` + strconv.Quote(place) + `}`, "n.bnz": ""}, true},
		"a file of no run": {map[string]string{MetricsFile: ""}, false},
	} {
		dir := t.TempDir()
		for file, content := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		recorded, err := RecordPlace(filepath.Join(dir, "m.bnz"), place)
		if err != nil || recorded != c.want {
			t.Errorf("%s: recorded %v, %v", name, recorded, err)
		}
		if was, existed := c.files[DataFile]; existed {
			if b, err := os.ReadFile(filepath.Join(dir, DataFile)); err != nil || string(b) != was {
				t.Errorf("%s: data.json became %q, %v", name, b, err)
			}
		} else if _, err := os.Stat(filepath.Join(dir, DataFile)); (err == nil) != c.want {
			t.Errorf("%s: data.json: %v", name, err)
		} else if got, err := ReadPlace(dir); c.want && (err != nil || got != place) {
			t.Errorf("%s: the place is %q, %v", name, got, err)
		}
	}
}
