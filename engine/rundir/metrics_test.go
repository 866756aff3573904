package rundir

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readRows writes content to a metrics.jsonl and reads it.
func readRows(t *testing.T, content string) ([]EpochMetrics, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), MetricsFile)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return ReadMetrics(path)
}

func TestMetricsRow(t *testing.T) {
	m := EpochMetrics{
		Epoch: 1, LearningRate: 0.1, TrainLoss: 2.25, TrainAccuracy: 0.5, TrainExamples: 64, TestLoss: math.Inf(1), TestAccuracy: 0.25,
		TestExamples: 32, TestStatistics: "running", GeneralisationGap: 0.25, GammaNearZero: 0.03, ImagesPerSecond: 10, Seconds: 2,
	}
	row := func() string {
		t.Helper()
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if strings.Contains(row(), "test_loss") {
		t.Errorf("a row with an infinite test loss is %s, want it without test_loss", row())
	}
	if strings.Contains(row(), "validation") {
		t.Errorf("a row without a validation split is %s, want it without validation fields", row())
	}
	rows, err := readRows(t, row()+"\n{\"epoch\":2,\"tr")
	if err != nil || len(rows) != 1 {
		t.Fatalf("a row and half of another one: read %d rows (error %v), want 1", len(rows), err)
	}
	if !math.IsNaN(rows[0].TestLoss) {
		t.Errorf("a missing loss is read as %v, want NaN", rows[0].TestLoss)
	}
	m.TestLoss, rows[0].TestLoss = 0, 0
	if rows[0] != m {
		t.Errorf("read %+v, want %+v", rows[0], m)
	}
	m.ValidationLoss, m.ValidationAccuracy, m.ValidationExamples = 1.5, 0, 10
	if rows, err := readRows(t, row()+"\n"); err != nil || rows[0] != m || !strings.Contains(row(), `"validation_accuracy":0,`) {
		t.Errorf("%s is read as %+v (error %v), want %+v and a validation_accuracy in the row", row(), rows, err, m)
	}
	m.ValidationLoss = math.NaN()
	if strings.Contains(row(), "validation_loss") {
		t.Errorf("a row whose validation loss is NaN is %s, want it without validation_loss", row())
	}
}

// TestReadMetrics checks that rows may be missing, and that invalid lines and epochs that do not
// ascend are errors.
func TestReadMetrics(t *testing.T) {
	rows, err := readRows(t, "{\"epoch\":1}\n{\"epoch\":4}\n{\"epoch\":5}\n")
	if err != nil || len(rows) != 3 || rows[1].Epoch != 4 {
		t.Errorf("read %+v (error %v), want the epochs 1, 4 and 5", rows, err)
	}
	for _, bad := range []string{"x\n", "{\"epoch\":0}\n", "\n", "{\"epoch\":1}\n{\"epoch\":1}\n", "{\"epoch\":2}\n{\"epoch\":1}\n",
		"{\"epoch\":1,\"epoch\":2}\n", "{\"epoch\":1,\"Epoch\":2}\n"} {
		var damaged *DamagedError
		if _, err := readRows(t, bad); !errors.As(err, &damaged) || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: got error %v, want a *DamagedError that names the line", bad, err)
		}
	}
}

func TestLostRows(t *testing.T) {
	e := &LostRowsError{"m", []int{1, 3, 4, 5, 9, 10}}
	if !strings.Contains(e.Error(), "epochs 1, 3-5, 9-10;") {
		t.Errorf("the error is %q, want one with the ranges 1, 3-5, 9-10", e)
	}
}
