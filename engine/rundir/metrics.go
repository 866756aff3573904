package rundir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"

	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/strictjson"
)

// EpochMetrics is one epoch's row of metrics.jsonl. Accuracies and
// GammaNearZero are shares from 0 to 1.
type EpochMetrics struct {
	Epoch        int     // from 1
	LearningRate float64 // of this epoch, or of its first step if it changes each step

	// TrainLoss is the cross-entropy, with unsmoothed labels and without penalties.
	// TrainLoss and TrainAccuracy are means over the epoch's complete batches, measured
	// in training mode before each step, on augmented pictures if the run augments.
	TrainLoss, TrainAccuracy float64
	TrainExamples            int

	// TestLoss (cross-entropy) and TestAccuracy are measured on the whole test split
	// after the epoch, in inference mode with TestStatistics. A TestLoss that is not
	// finite is missing in the row, and reads as NaN.
	TestLoss, TestAccuracy float64
	TestExamples           int
	TestStatistics         string // always "running"

	// ValidationLoss and ValidationAccuracy are measured in the same way over the whole
	// validation split. They are 0, and missing in the row, if there is none. A
	// ValidationLoss that is not finite is missing in the row too, and reads as NaN.
	ValidationLoss, ValidationAccuracy float64
	ValidationExamples                 int

	GeneralisationGap float64 // TrainAccuracy - TestAccuracy
	GammaNearZero     float64 // share of γ with |γ| < 0.01 after the epoch, without pruned channels; NaN, and missing in the row, if there is none
	ImagesPerSecond   float64 // of the training steps
	Seconds           float64 // training and testing

	Gradients *EpochGradients // nil, and missing in the row, if they are not tracked
}

// metricsRow is EpochMetrics with the keys of metrics.jsonl.
type metricsRow struct {
	Epoch             int      `json:"epoch"`
	LearningRate      float64  `json:"learning_rate"`
	TrainLoss         float64  `json:"train_loss"`
	TrainAccuracy     float64  `json:"train_accuracy"`
	TrainExamples     int      `json:"train_examples"`
	TestLoss          *float64 `json:"test_loss,omitempty"`
	TestAccuracy      float64  `json:"test_accuracy"`
	TestExamples      int      `json:"test_examples"`
	TestStatistics    string   `json:"test_statistics"`
	GeneralisationGap float64  `json:"generalisation_gap"`
	GammaNearZero     *float64 `json:"gamma_near_zero,omitempty"`
	ImagesPerSecond   float64  `json:"images_per_second"`
	Seconds           float64  `json:"seconds"`

	ValidationLoss     *float64 `json:"validation_loss,omitempty"`
	ValidationAccuracy *float64 `json:"validation_accuracy,omitempty"`
	ValidationExamples int      `json:"validation_examples,omitempty"`

	Gradients *EpochGradients `json:"gradients,omitempty"`
}

// MarshalJSON returns a row of metrics.jsonl. It omits TestLoss, ValidationLoss and GammaNearZero
// if they are not finite. It returns an error if another value is not finite.
func (m EpochMetrics) MarshalJSON() ([]byte, error) {
	row := metricsRow{
		m.Epoch, m.LearningRate, m.TrainLoss, m.TrainAccuracy, m.TrainExamples, &m.TestLoss, m.TestAccuracy, m.TestExamples,
		m.TestStatistics, m.GeneralisationGap, &m.GammaNearZero, m.ImagesPerSecond, m.Seconds, nil, nil, 0, m.Gradients,
	}
	if !isFinite(m.TestLoss) {
		row.TestLoss = nil
	}
	if !isFinite(m.GammaNearZero) {
		row.GammaNearZero = nil
	}
	if m.ValidationExamples > 0 {
		row.ValidationAccuracy, row.ValidationExamples = &m.ValidationAccuracy, m.ValidationExamples
		if isFinite(m.ValidationLoss) {
			row.ValidationLoss = &m.ValidationLoss
		}
	}
	return json.Marshal(row)
}

// UnmarshalJSON reads a row of metrics.jsonl.
func (m *EpochMetrics) UnmarshalJSON(b []byte) error {
	var row metricsRow
	if err := strictjson.Unmarshal(b, &row); err != nil {
		return err
	}
	*m = EpochMetrics{
		row.Epoch, row.LearningRate, row.TrainLoss, row.TrainAccuracy, row.TrainExamples, math.NaN(), row.TestAccuracy, row.TestExamples,
		row.TestStatistics, 0, 0, row.ValidationExamples, row.GeneralisationGap, math.NaN(), row.ImagesPerSecond, row.Seconds, row.Gradients,
	}
	if row.TestLoss != nil {
		m.TestLoss = *row.TestLoss
	}
	if row.ValidationExamples > 0 {
		m.ValidationLoss = math.NaN()
	}
	if row.ValidationLoss != nil {
		m.ValidationLoss = *row.ValidationLoss
	}
	if row.ValidationAccuracy != nil {
		m.ValidationAccuracy = *row.ValidationAccuracy
	}
	if row.GammaNearZero != nil {
		m.GammaNearZero = *row.GammaNearZero
	}
	return nil
}

// isFinite reports whether v is neither NaN nor infinite.
func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// LostRowsError reports that metrics.jsonl lacks rows of epochs that were trained. It is a
// warning: the rows stay missing, but nothing else depends on them.
type LostRowsError struct {
	Path   string
	Epochs []int // ascending, from 1
}

func (e *LostRowsError) Error() string {
	var ranges []string
	for i := 0; i < len(e.Epochs); i++ {
		first := e.Epochs[i]
		for i+1 < len(e.Epochs) && e.Epochs[i+1] == e.Epochs[i]+1 {
			i++
		}
		if last := e.Epochs[i]; last > first {
			ranges = append(ranges, fmt.Sprintf("%d-%d", first, last))
		} else {
			ranges = append(ranges, fmt.Sprint(first))
		}
	}
	return fmt.Sprintf("%s has lost the rows of epochs %s; they stay missing, but the model is complete", e.Path, strings.Join(ranges, ", "))
}

// ReadMetrics reads the metrics.jsonl at path and returns its rows, ordered by epoch. Rows
// of some epochs may be missing. It ignores a last line without a newline, which a run that
// is killed may leave. The error is a *DamagedError if the file holds anything else; resuming
// the run repairs such a file. Otherwise it is an error of durable.ReadFile.
func ReadMetrics(path string) ([]EpochMetrics, error) {
	b, err := durable.ReadFile(path, maxMetricsBytes)
	if err != nil {
		return nil, err
	}
	return parseMetrics(path, b)
}

// parseMetrics parses the content of a metrics.jsonl. path names the file in errors.
func parseMetrics(path string, b []byte) ([]EpochMetrics, error) {
	var rows []EpochMetrics
	previous := 0 // epoch of the previous row
	for i, line := range completeLines(b) {
		var m EpochMetrics
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, &DamagedError{path, fmt.Sprintf("line %d: %v; %s", i+1, err, repairAdvice)}
		}
		if m.Epoch <= previous {
			return nil, &DamagedError{path, fmt.Sprintf("line %d has epoch %d, but follows a line with epoch %d; %s", i+1, m.Epoch, previous, repairAdvice)}
		}
		rows, previous = append(rows, m), m.Epoch
	}
	return rows, nil
}

// maxMetricsBytes bounds the size of metrics.jsonl. A row of the deepest network with tracked
// gradients has less than a megabyte.
const maxMetricsBytes = 1 << 30

const repairAdvice = "resuming the run repairs it"

// completeLines returns the lines that end in a newline, without the newlines.
func completeLines(b []byte) [][]byte {
	lines := bytes.Split(b, []byte{'\n'})
	return lines[:len(lines)-1]
}

// AppendMetrics adds an epoch's row to metrics.jsonl.
func (d *Dir) AppendMetrics(m *EpochMetrics) error {
	row, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return durable.Append(d.File(MetricsFile), append(row, '\n'))
}

// RepairMetrics reduces metrics.jsonl to one row for each of the first done epochs, ascending,
// and returns these rows. It removes rows of later epochs, which will be trained again, lines
// that are not rows, and all but the last row of an epoch. It cannot restore lost rows: lost
// lists their epochs, and is nil if there are none.
func (d *Dir) RepairMetrics(done int) (rows []EpochMetrics, lost *LostRowsError, err error) {
	path := d.File(MetricsFile)
	b, err := durable.ReadFile(path, maxMetricsBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	byEpoch := map[int]EpochMetrics{}
	lines := map[int][]byte{}
	for _, line := range completeLines(b) {
		var m EpochMetrics
		if json.Unmarshal(line, &m) == nil && m.Epoch >= 1 && m.Epoch <= done {
			byEpoch[m.Epoch], lines[m.Epoch] = m, line
		}
	}
	var repaired []byte
	for epoch := 1; epoch <= done; epoch++ {
		m, ok := byEpoch[epoch]
		if !ok {
			if lost == nil {
				lost = &LostRowsError{Path: path}
			}
			lost.Epochs = append(lost.Epochs, epoch)
			continue
		}
		rows = append(rows, m)
		repaired = append(append(repaired, lines[epoch]...), '\n')
	}
	if bytes.Equal(repaired, b) {
		return rows, lost, nil
	}
	return rows, lost, durable.WriteFile(path, repaired)
}
