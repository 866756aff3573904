package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"bnkit/checkpoint/durable"
)

// VerifyMetrics checks that the metrics.jsonl of the run in dir has a row for each of the first
// stateEpochs epochs and no row of an epoch after modelEpochs, which are the complete epochs in
// resume.bnz and in ckpt.bnz. Each row must have the values that every version of bnkit has
// written, and these must be possible. VerifyMetrics returns the number of rows.
func VerifyMetrics(dir string, stateEpochs, modelEpochs int) (rows int, err error) {
	path := File(dir, MetricsFile)
	b, err := durable.ReadFile(path, maxMetricsBytes)
	if err != nil {
		return 0, err
	}
	metrics, err := parseMetrics(path, b)
	if err != nil {
		return 0, err
	}
	hasRow := map[int]bool{}
	for i, line := range completeLines(b) {
		m := &metrics[i]
		problem := rowProblem(line, m)
		if problem == "" && m.Epoch > modelEpochs {
			problem = fmt.Sprintf("the row is of epoch %d, but %s was trained for %d; %s", m.Epoch, CheckpointFile, modelEpochs, repairAdvice)
		}
		if problem != "" {
			return len(metrics), &DamagedError{Path: path, Reason: fmt.Sprintf("line %d: %s", i+1, problem)}
		}
		hasRow[m.Epoch] = true
	}
	for epoch := 1; epoch <= stateEpochs; epoch++ {
		if !hasRow[epoch] {
			return len(metrics), &DamagedError{Path: path, Reason: fmt.Sprintf("the row of epoch %d is missing", epoch)}
		}
	}
	return len(metrics), nil
}

// requiredKeys are the keys that a row of every version of bnkit has.
var requiredKeys = []string{
	"epoch", "learning_rate", "train_loss", "train_accuracy", "train_examples", "test_accuracy", "test_examples",
	"generalisation_gap", "images_per_second", "seconds",
}

// rowProblem returns what is wrong with m, a row of metrics.jsonl that was read from line, or "" if
// its values are possible. Values that MarshalJSON omits may be missing.
func rowProblem(line []byte, m *EpochMetrics) string {
	var present map[string]json.RawMessage
	if err := json.Unmarshal(line, &present); err != nil {
		return err.Error()
	}
	keys := requiredKeys
	if m.ValidationExamples > 0 {
		keys = append(slices.Clone(keys), "validation_accuracy")
	}
	for _, key := range keys {
		if present[key] == nil || string(present[key]) == "null" {
			return "the row has no " + key
		}
	}
	for _, v := range []struct {
		key         string
		value, most float64 // value is NaN if the row does not have it
	}{
		{"learning_rate", m.LearningRate, math.MaxFloat64},
		{"train_loss", m.TrainLoss, math.MaxFloat64},
		{"train_accuracy", m.TrainAccuracy, 1},
		{"test_loss", m.TestLoss, math.MaxFloat64},
		{"test_accuracy", m.TestAccuracy, 1},
		{"validation_loss", m.ValidationLoss, math.MaxFloat64},
		{"validation_accuracy", m.ValidationAccuracy, 1},
		{"gamma_near_zero", m.GammaNearZero, 1},
		{"images_per_second", m.ImagesPerSecond, math.MaxFloat64},
		{"seconds", m.Seconds, math.MaxFloat64},
	} {
		if v.value < 0 || v.value > v.most {
			return fmt.Sprintf("%s cannot be %v", v.key, v.value)
		}
	}
	switch gap := m.TrainAccuracy - m.TestAccuracy; {
	case m.TrainExamples < 1 || m.TestExamples < 1 || m.ValidationExamples < 0:
		return fmt.Sprintf("train_examples, test_examples and validation_examples cannot be %d, %d and %d", m.TrainExamples, m.TestExamples, m.ValidationExamples)
	case math.Abs(m.GeneralisationGap-gap) > 1e-9:
		return fmt.Sprintf("generalisation_gap is %v, but train_accuracy - test_accuracy is %v", m.GeneralisationGap, gap)
	}
	return ""
}

// VerifyManifest compares the files in dir with its manifest. The manifest must list at least one
// file, and each of config.json, metrics.jsonl, ckpt.bnz and resume.bnz that is in dir.
// VerifyManifest returns the number of files that the manifest lists, and the number of other files
// in dir that are regular and not hidden. found reports whether there is a manifest.
func VerifyManifest(dir string) (listed, unlisted int, found bool, err error) {
	entries, err := ReadManifest(dir)
	if err != nil || entries == nil {
		return 0, 0, err != nil, err
	}
	listed, found = len(entries), true
	fail := func(format string, args ...any) (int, int, bool, error) {
		return listed, unlisted, found, &DamagedError{filepath.Join(dir, ManifestFile), fmt.Sprintf(format, args...)}
	}
	if listed == 0 {
		return fail("it lists no files; remove it, or replace it by a new one")
	}
	isListed := map[string]bool{}
	for _, e := range entries {
		digest, err := FileDigest(filepath.Join(dir, e.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fail("%s, which it lists, is missing", e.Name)
		case err != nil:
			return listed, unlisted, found, err
		case digest != e.SHA256:
			return fail("%s has the SHA-256 %.12s…, but it lists %.12s…", e.Name, digest, e.SHA256)
		}
		isListed[e.Name] = true
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return listed, unlisted, found, err
	}
	for _, f := range files {
		name := f.Name()
		switch {
		case !isCovered(f) || isListed[name]:
		case slices.Contains([]string{ConfigFile, MetricsFile, CheckpointFile, ResumeFile}, name):
			return fail("it does not list %s, which is in the directory", name)
		default:
			unlisted++
		}
	}
	return listed, unlisted, found, nil
}
