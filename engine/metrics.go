package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
)

// EpochMetrics is one epoch's row of metrics.jsonl. Accuracies and
// GammaNearZero are shares from 0 to 1.
type EpochMetrics struct {
	Epoch        int     // from 1
	LearningRate float64 // of this epoch; of its first step, where every step has its own

	// Cross-entropy (of the labels as they are, smoothed or not, and without
	// penalties) and accuracy over the epoch's complete batches, augmented
	// if the run augments, each taken in training mode before the step that it
	// led to.
	TrainLoss, TrainAccuracy float64
	TrainExamples            int

	// Cross-entropy and accuracy over the whole test split after the epoch, in
	// inference mode with TestStatistics. TestLoss is NaN, and missing in the
	// row, where it is not finite.
	TestLoss, TestAccuracy float64
	TestExamples           int
	TestStatistics         string // "running"

	// The same over the whole validation split, where one is held out of
	// training; 0, and missing in the row, where none is.
	ValidationLoss, ValidationAccuracy float64
	ValidationExamples                 int

	GeneralisationGap float64 // TrainAccuracy - TestAccuracy
	GammaNearZero     float64 // share of all γ with |γ| < 0.01 after the epoch; NaN, and missing in the row, where there is no γ
	ImagesPerSecond   float64 // of the training steps
	Seconds           float64 // training and testing

	Gradients *EpochGradients // nil, and missing in the row, where they are not tracked
}

// metricsRow is EpochMetrics as metrics.jsonl spells it.
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

// MarshalJSON writes a row of metrics.jsonl; a test or validation loss that is
// not finite, and a share of no γ, are left out.
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
	if err := json.Unmarshal(b, &row); err != nil {
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

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// ReadMetrics reads a run's metrics.jsonl: a row for each epoch, in order. A
// last line without its newline, as a killed run may leave, is no row. The error
// is a *RunFileError where the file is damaged.
func ReadMetrics(path string) ([]EpochMetrics, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rows, _, err := parseMetrics(b, maxEpochs)
	if err != nil {
		return nil, &RunFileError{path, err}
	}
	return rows, nil
}

// parseMetrics reads the first rows of a metrics.jsonl, at most limit of them,
// and says how many bytes they take.
func parseMetrics(b []byte, limit int) (rows []EpochMetrics, size int, err error) {
	for len(rows) < limit {
		end := bytes.IndexByte(b[size:], '\n')
		if end < 0 {
			break
		}
		var m EpochMetrics
		if err := json.Unmarshal(b[size:size+end], &m); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", len(rows)+1, err)
		}
		if m.Epoch != len(rows)+1 {
			return nil, 0, fmt.Errorf("line %d is of epoch %d", len(rows)+1, m.Epoch)
		}
		rows = append(rows, m)
		size += end + 1
	}
	return rows, size, nil
}
