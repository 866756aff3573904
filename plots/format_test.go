package plots

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/analysis"
)

// TestSVG checks that SVG files are well-formed, hold text as text and have the same bytes every
// time.
func TestSVG(t *testing.T) {
	run := Run{Name: "a<b", Report: report(9, 0.6), Epochs: epochs(4)}
	bytesOf := map[string][]byte{}
	for range 2 {
		paths, err := Draw(t.TempDir(), []Run{run}, SVG)
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) != 7 {
			t.Errorf("Draw writes %q, want 7 pictures", paths)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(path)
			if first, ok := bytesOf[name]; ok && !bytes.Equal(first, b) {
				t.Errorf("%s has different bytes when it is drawn again, want the same", name)
			}
			bytesOf[name] = b
		}
	}
	for name, b := range bytesOf {
		var text strings.Builder
		decoder := xml.NewDecoder(bytes.NewReader(b))
		for {
			token, err := decoder.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("parsing %s: got error %v, want none", name, err)
			}
			if data, ok := token.(xml.CharData); ok {
				text.Write(data)
			}
		}
		if !strings.HasSuffix(name, ".svg") || !strings.Contains(text.String(), "a<b") {
			t.Errorf("%s has the text %q, want the name of the run in an .svg file", name, text.String())
		}
	}
}

// TestParseFormat checks valid and invalid names of formats.
func TestParseFormat(t *testing.T) {
	for _, want := range []Format{PNG, SVG} {
		if got, err := ParseFormat(string(want)); got != want || err != nil {
			t.Errorf("ParseFormat returns %q and error %v, want %q", got, err, want)
		}
	}
	var wrong *FormatError
	if _, err := ParseFormat("gif"); !errors.As(err, &wrong) || !wrong.WrongUsage() {
		t.Errorf("ParseFormat(\"gif\"): got error %v, want a *FormatError that reports wrong usage", err)
	}
}

// TestFileNames checks the names of the files for filters and feature maps of layers.
func TestFileNames(t *testing.T) {
	dir := t.TempDir()
	for _, layer := range []string{"conv", "blocks.0.conv1"} {
		f := &analysis.Filters{Layer: layer, Out: 1, In: 1, Size: 1, Values: []float32{1}}
		if path, err := DrawFilters(dir, []string{"a"}, []*analysis.Filters{f}, PNG); err != nil || path != filepath.Join(dir, "filters_"+layer+".png") {
			t.Errorf("filters of %s are in %s (error %v), want filters_%s.png", layer, path, err, layer)
		}
	}
	m := &analysis.FeatureMaps{Layer: "blocks.0.conv2", Image: 7, Channels: 1, Height: 1, Width: 1, Values: []float32{1},
		Picture: []uint8{1}, PictureChannels: 1, PictureHeight: 1, PictureWidth: 1}
	if path, err := DrawFeatureMaps(dir, []string{"a"}, []*analysis.FeatureMaps{m}, SVG); err != nil || path != filepath.Join(dir, "feature_maps_blocks.0.conv2_7.svg") {
		t.Errorf("feature maps are in %s (error %v), want feature_maps_blocks.0.conv2_7.svg", path, err)
	}
}
