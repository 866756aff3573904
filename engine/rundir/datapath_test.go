package rundir

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestRecordDataPath checks that a path is recorded only if it applies to one checkpoint
// alone, or is recorded already.
func TestRecordDataPath(t *testing.T) {
	data, other := t.TempDir(), t.TempDir()
	for name, c := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"an empty folder":    {nil, true},
		"the file itself":    {map[string]string{"m.bnz": "", "notes.txt": ""}, true},
		"another checkpoint": {map[string]string{"n.bnz": ""}, false},
		"a run":              {map[string]string{ConfigFile: "{}"}, false},
		"another path":       {map[string]string{DataFile: `{"path":` + strconv.Quote(other) + `}`}, false},
		"the default path":   {map[string]string{DataFile: `{}`}, false},
		"a damaged file":     {map[string]string{DataFile: `{`}, false},
		"the same path":      {map[string]string{DataFile: `{"path":` + strconv.Quote(data) + `}`, "n.bnz": ""}, true},
		"only metrics.jsonl": {map[string]string{MetricsFile: ""}, false},
	} {
		dir := t.TempDir()
		for file, content := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		recorded, err := RecordDataPath(filepath.Join(dir, "m.bnz"), data)
		if err != nil || recorded != c.want {
			t.Errorf("%s: recorded is %v (error %v), want %v", name, recorded, err, c.want)
		}
		if old, ok := c.files[DataFile]; ok {
			if b, err := os.ReadFile(filepath.Join(dir, DataFile)); err != nil || string(b) != old {
				t.Errorf("%s: data.json holds %q (error %v), want the old content, %q", name, b, err, old)
			}
		} else if _, err := os.Stat(filepath.Join(dir, DataFile)); (err == nil) != c.want {
			t.Errorf("%s: data.json exists: %v (error %v), want %v", name, err == nil, err, c.want)
		} else if got, err := ReadDataPath(dir); c.want && (err != nil || got != data) {
			t.Errorf("%s: the recorded path is %q (error %v), want %q", name, got, err, data)
		}
	}
}
