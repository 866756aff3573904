package engine

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine/rundir"
)

// TestWidth checks that a file records the width of its network, that it is refused if its
// tensors have another width, and that a width of 1 is left out.
func TestWidth(t *testing.T) {
	for width, text := range map[float64]string{0.3: "0.3", 1: ""} {
		cfg := tinyConfig()
		cfg.Width, cfg.Epochs, cfg.LRDrops = width, 1, nil
		_, dir := trainedRun(t, cfg)
		for _, name := range []string{rundir.CheckpointFile, rundir.ResumeFile} {
			path := filepath.Join(dir, name)
			m, err := LoadModel(path)
			if err != nil {
				t.Fatal(err)
			}
			want := map[float64]int{0.3: 5, 1: 16}[width]
			if got := m.Network.Units[0].OutShape.C; got != want {
				t.Errorf("%s of width %v: %d channels, want %d", name, width, got, want)
			}
			if got := m.ExportMetadata()["width"]; got != text {
				t.Errorf("%s of width %v: the exported width is %q, want %q", name, width, got, text)
			}
			if (m.Network.Options.Width != 0) != (text != "") || strings.Contains(string(m.Config), `"width"`) != (text != "") {
				t.Errorf("%s of width %v: the header has width %v, and the settings are %s; want the width in both unless it is 1", name, width, m.Network.Options.Width, m.Config)
			}
		}
		if got := strings.Contains(string(readFile(t, dir, rundir.ConfigFile)), `"width": `+text); got != (text != "") {
			t.Errorf("config.json contains width %v: %v, want %v", width, got, text != "")
		}

		file, err := checkpoint.ReadFile(filepath.Join(dir, rundir.CheckpointFile))
		if err != nil {
			t.Fatal(err)
		}
		for other, wantErr := range map[float64]string{0.5: "shape", -1: "width -1", 1e300: "width 1e+300", 65: "width 65"} {
			file.Header.Width = other
			path := filepath.Join(t.TempDir(), "other.bnz")
			if err := checkpoint.WriteFile(path, file); err != nil {
				t.Fatal(err)
			}
			_, err := LoadModel(path)
			var e *ModelError
			if !errors.As(err, &e) || !strings.Contains(e.Reason, wantErr) {
				t.Errorf("tensors of width %v in a network of %v: got error %v, want a *ModelError that contains %q", width, other, err, wantErr)
			}
		}
	}
}
