package plots

import (
	"bytes"
	"encoding/json"
	"testing"

	"bnkit/analysis"
	"bnkit/checkpoint/alloctest"
	"bnkit/checkpoint/strictjson"
	"bnkit/engine/rundir"
)

// FuzzReport reads arbitrary bytes as an analysis.json. Reading must allocate at most 4 MiB plus
// 800 times their size. An accepted report must not change when it is written and read again.
func FuzzReport(f *testing.F) {
	for layers := range 4 {
		f.Add(reportText(f, layers))
	}
	f.Add([]byte(`{"layers":[{"gamma":{},"channels":-1}],"total":{},"sweep":[{}]}`))
	f.Add([]byte(`{"near_zero_thresholds":[1],"layers":[{"near_zero":[],"beta_near_zero":[]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r analysis.Report
		var err error
		alloctest.AtMost(t, 4<<20+800*len(text), func() { err = strictjson.Unmarshal(text, &r) })
		if err == nil && check(&r) == nil {
			checkReportRoundTrip(t, &r)
		}
	})
}

// FuzzPictures composes the pictures of an arbitrary analysis.json and arbitrary rows of a
// metrics.jsonl, and draws one of them.
func FuzzPictures(f *testing.F) {
	row := []byte(`{"epoch":1,"learning_rate":0.1,"train_loss":2,"test_loss":2.3,"test_accuracy":0.3,"validation_loss":1,"validation_accuracy":0.5,"validation_examples":9,"seconds":2,` +
		`"gradients":{"batches":2,"examples":64,"statistics":"batch","kinds":{"gamma":{"mean":0.1,"parameters":3,"trained":3,"layers":{"bn":0.1}}}}}`)
	for layers := range 4 {
		for picture := range uint8(12) {
			f.Add(reportText(f, layers), row, picture)
		}
	}
	f.Add([]byte(`{"layers":[{"gamma":{},"channels":-1}],"total":{},"sweep":[{}]}`), []byte("{}\n{}"), uint8(0))
	f.Fuzz(func(t *testing.T, text, rows []byte, picture uint8) {
		if len(text)+len(rows) > 1<<14 {
			return
		}
		run := Run{Name: "r"}
		for line := range bytes.Lines(rows) {
			var m rundir.EpochMetrics
			if json.Unmarshal(line, &m) == nil {
				run.Epochs = append(run.Epochs, m)
			}
		}
		var r analysis.Report
		if strictjson.Unmarshal(text, &r) == nil && check(&r) == nil {
			run.Report = &r
		}
		index := 0
		for name, f := range pictures(forDrawing([]Run{run})) {
			if index == int(picture) {
				if _, err := f.encode(SVG); err != nil {
					t.Errorf("drawing %s: got error %v, want none", name, err)
				}
			}
			index++
		}
	})
}

// reportText returns a report of the given number of layers as an analysis.json.
func reportText(f *testing.F, layers int) []byte {
	f.Helper()
	text, err := json.Marshal(report(layers, 0.2))
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// checkReportRoundTrip checks that a report does not change when it is written and read again.
func checkReportRoundTrip(t *testing.T, r *analysis.Report) {
	t.Helper()
	first, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again analysis.Report
	if err := strictjson.Unmarshal(first, &again); err != nil {
		t.Fatalf("reading %s: got error %v, want none", first, err)
	}
	if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
		t.Errorf("%s was read as %s, error %v; want no change", first, second, err)
	}
}
