package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bnkit/analysis"
)

// TestPlotOutdatedReport checks that plot does not draw a report of earlier content of a
// checkpoint, and that it draws a report without source_sha256, as earlier versions wrote.
func TestPlotOutdatedReport(t *testing.T) {
	data := foreignDir(t)[1] // the value of --data
	mustRun(t, append([]string{"train", "--data", data, "--out", "r"}, smallRun...)...)
	mustRun(t, "prune", "r", "--remove", "0.2", "--out", "p.bnz", "--data-dir", data)
	mustRun(t, "analyze", "p.bnz", "--data-dir", data, "--batches", "1")
	const report, threshold = "p-plots/analysis.json", "threshold.png"
	// drawsReport reports whether plot draws the report, and returns its notes.
	drawsReport := func() (bool, string) {
		t.Helper()
		code, out, err := bnkit(t, "plot", "p.bnz", "--out", "drawn")
		if code != 0 {
			t.Fatalf("plot: exit code %d: %s", code, err)
		}
		if !strings.Contains(out, filepath.Join("drawn", "gamma_histogram.png")) {
			t.Errorf("plot prints %q, want the distribution of γ", out)
		}
		return strings.Contains(out, threshold), err
	}
	if got, note := drawsReport(); !got || note != "" {
		t.Errorf("after analyze: plot draws the report: %v, notes %q; want true and no notes", got, note)
	}
	mustRun(t, "prune", "r", "--remove", "0.3", "--out", "p.bnz", "--force", "--data-dir", data)
	if got, note := drawsReport(); got || !strings.Contains(note, "bnkit analyze p.bnz") {
		t.Errorf("after other pruning: plot draws the report: %v, notes %q; want false and a note to analyze p.bnz", got, note)
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var r analysis.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	writeFile(t, report, bytes.Replace(b, []byte(`"source_sha256": "`+r.Source+`",`), nil, 1))
	if got, note := drawsReport(); !got || note != "" {
		t.Errorf("a report without source_sha256: plot draws the report: %v, notes %q; want true and no notes", got, note)
	}

	// The report of an unknown network also has the SHA-256 of its file.
	mustRun(t, "analyze", "models/unknown.pt")
	if code, _, note := bnkit(t, "plot", "models/unknown.pt"); code != 0 || note != "" {
		t.Errorf("plot of an unknown network: exit code %d, notes %q; want 0, and no notes", code, note)
	}
	half, err := os.ReadFile("models/half.pt")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "models/unknown.pt", half)
	if code, _, note := bnkit(t, "plot", "models/unknown.pt"); code != 0 || !strings.Contains(note, "bnkit analyze models/unknown.pt") {
		t.Errorf("plot of a file that was replaced: exit code %d, notes %q; want 0 and a note", code, note)
	}
}
