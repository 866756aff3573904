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

// TestVerifyMetrics checks that rows pass only if they have all values, the values are possible
// and the model has been trained for their epochs.
func TestVerifyMetrics(t *testing.T) {
	row := func(epoch int, change func(*EpochMetrics)) string {
		m := EpochMetrics{
			Epoch: epoch, LearningRate: 0.1, TrainLoss: 2.25, TrainAccuracy: 0.5, TrainExamples: 64, TestLoss: 2, TestAccuracy: 0.75, TestExamples: 32, TestStatistics: "running",
			ValidationLoss: 2, ValidationAccuracy: 1, ValidationExamples: 8, GeneralisationGap: -0.25, GammaNearZero: 1, ImagesPerSecond: 10, Seconds: 2,
		}
		change(&m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	same := func(*EpochMetrics) {}
	first := row(1, same)
	for name, c := range map[string]struct{ rows, want string }{
		"two rows":           {first + row(2, same), ""},
		"a row of a cut run": {first, ""}, // ckpt.bnz has epoch 2, resume.bnz does not
		"half a row":         {first + `{"epoch":2,"lea`, ""},
		"values left out":    {row(1, func(m *EpochMetrics) { m.TestLoss, m.GammaNearZero, m.ValidationExamples = math.NaN(), math.NaN(), 0 }), ""},
		"zeros": {row(1, func(m *EpochMetrics) {
			m.TrainAccuracy, m.TestAccuracy, m.GeneralisationGap, m.GammaNearZero = 0, 0, 0, 0
		}), ""},
		"only an epoch":        {"{\"epoch\":1}\n", "line 1: the row has no learning_rate"},
		"no accuracy":          {first + strings.Replace(row(2, same), `"test_accuracy":0.75,`, "", 1), "line 2: the row has no test_accuracy"},
		"null":                 {strings.Replace(first, `"train_loss":2.25`, `"train_loss":null`, 1), "line 1: the row has no train_loss"},
		"no validation":        {strings.Replace(first, `"validation_accuracy":1,`, "", 1), "line 1: the row has no validation_accuracy"},
		"more than all":        {row(1, func(m *EpochMetrics) { m.TestAccuracy, m.GeneralisationGap = 1.5, -1 }), "line 1: test_accuracy cannot be 1.5"},
		"less than none":       {row(1, func(m *EpochMetrics) { m.TrainAccuracy, m.GeneralisationGap = -0.25, -1 }), "line 1: train_accuracy cannot be -0.25"},
		"per cent":             {row(1, func(m *EpochMetrics) { m.ValidationAccuracy = 75 }), "line 1: validation_accuracy cannot be 75"},
		"share of γ":           {row(1, func(m *EpochMetrics) { m.GammaNearZero = 2 }), "line 1: gamma_near_zero cannot be 2"},
		"a negative loss":      {row(1, func(m *EpochMetrics) { m.TestLoss = -1 }), "line 1: test_loss cannot be -1"},
		"no examples":          {row(1, func(m *EpochMetrics) { m.TestExamples = 0 }), "cannot be 64, 0 and 8"},
		"another gap":          {row(1, func(m *EpochMetrics) { m.GeneralisationGap = 0.25 }), "generalisation_gap is 0.25, but train_accuracy - test_accuracy is -0.25"},
		"an epoch to come":     {first + row(2, same) + row(3, same), "line 3: the row is of epoch 3, but ckpt.bnz was trained for 2"},
		"a row that is lost":   {row(2, same), "the row of epoch 1 is missing"},
		"a row that is no row": {first + "x\n", "line 2: "},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, MetricsFile), []byte(c.rows), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := VerifyMetrics(dir, 1, 2)
		var damaged *DamagedError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &damaged) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}
}
