package analysis

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/rundir"
)

// Summary describes a run from the files in its directory, without measuring anything. Values
// that are not known yet are missing (nil).
type Summary struct {
	Dir    string        `json:"dir"`
	Config config.Config `json:"config"`
	Epochs int           `json:"epochs"` // number of completed epochs

	Model  *ModelSummary `json:"model,omitempty"`  // missing without a checkpoint
	Result *Result       `json:"result,omitempty"` // missing before the end of the first epoch, and if the row of the last epoch is lost
}

// ModelSummary describes the checkpoint of a run.
type ModelSummary struct {
	Data         string `json:"data"`          // name of the data set
	Family       string `json:"family"`        // kind of network, without depth and width, e.g. "resnet-N"
	Depth        int    `json:"depth"`         // layers with weights from input to output, without shortcuts
	Width        int    `json:"width"`         // channels of the first convolution
	Parameters   int    `json:"parameters"`    // all parameters of the network
	BNParameters int    `json:"bn_parameters"` // number of γ and β
	Trained      int    `json:"trained"`       // parameters that were trained since they were drawn at random or, if the origin of the weights is not known, by this run
	FileBytes    int64  `json:"file_bytes"`    // size of the checkpoint
}

// Result is the result of a run so far. Accuracies and GammaNearZero are shares from 0 to 1,
// measured as described for rundir.EpochMetrics.
type Result struct {
	TestAccuracy      float64  `json:"test_accuracy"`
	TestLoss          *float64 `json:"test_loss,omitempty"` // mean cross-entropy, nats; missing if it is not finite
	TestExamples      int      `json:"test_examples"`
	TestStatistics    string   `json:"test_statistics"` // statistics that BatchNorm used
	TrainAccuracy     float64  `json:"train_accuracy"`
	GeneralisationGap float64  `json:"generalisation_gap"`          // TrainAccuracy - TestAccuracy
	GammaNearZero     *float64 `json:"gamma_near_zero,omitempty"`   // share of γ with |γ| < 0.01, without pruned channels; missing if there is none
	Seconds           *float64 `json:"seconds,omitempty"`           // training and testing, all epochs; missing if the row of an epoch is lost
	ImagesPerSecond   *float64 `json:"images_per_second,omitempty"` // of the training steps, over all epochs whose rows are not lost
}

// NoRunError reports a path that is not a run directory.
type NoRunError struct{ Dir, Reason string }

func (e *NoRunError) Error() string {
	return fmt.Sprintf("%s is not a run: %s", e.Dir, e.Reason)
}

// WrongUsage reports that the choice of the path is at fault.
func (e *NoRunError) WrongUsage() bool { return true }

// Summarise reads a run directory and returns its summary and its metrics, in which rows may
// be missing. The error is a *NoRunError if the path is not a run directory; other errors
// name the file that cannot be used.
func Summarise(dir string) (*Summary, []rundir.EpochMetrics, error) {
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &NoRunError{dir, "it does not exist"}
	} else if err != nil {
		return nil, nil, err
	} else if !info.IsDir() {
		return nil, nil, &NoRunError{dir, "it is a file"}
	}
	s := &Summary{Dir: dir}
	var err error
	if s.Config, err = engine.ReadConfig(rundir.File(dir, rundir.ConfigFile)); errors.Is(err, rundir.ErrNoRun) {
		return nil, nil, &NoRunError{dir, "it has no " + rundir.ConfigFile}
	} else if err != nil {
		return nil, nil, err
	}
	epochs, err := rundir.ReadMetrics(rundir.File(dir, rundir.MetricsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	// If the run is being trained or was killed, resume.bnz may not count the last row
	// yet. If resume.bnz is lost, the rows still exist.
	s.Epochs, _ = rundir.Epochs(dir)
	if len(epochs) > 0 {
		s.Epochs = max(s.Epochs, epochs[len(epochs)-1].Epoch)
	}
	s.Result = resultOf(epochs, s.Epochs)
	s.Model, err = summariseModel(rundir.File(dir, rundir.CheckpointFile), arch.TrainableSet(s.Config.Trainable))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	return s, epochs, nil
}

// summariseModel reads a checkpoint's header. trainable is the set that the checkpoint's run
// trained, possibly after other runs.
func summariseModel(path string, trainable arch.TrainableSet) (*ModelSummary, error) {
	info, err := engine.ReadModelInfo(path)
	if err != nil {
		return nil, err
	}
	net := info.Network
	if info.Origin != nil {
		trainable = info.Origin.Trainable
	}
	return &ModelSummary{
		Data: info.Data.Name, Family: family(net), Depth: depth(net), Width: net.Units[0].OutShape.C,
		Parameters: arch.All.Parameters(net), BNParameters: arch.BN.Parameters(net), Trained: trainable.Parameters(net), FileBytes: info.Bytes,
	}, nil
}

// numbers matches a number or several joined by hyphens.
var numbers = regexp.MustCompile(`\d+(-\d+)*`)

// family returns ModelSummary.Family: the network's name with N in place of numbers, followed by
// the kind of its blocks unless the name includes it. wrn-D-K is a wider resnet-D.
func family(net *arch.Network) string {
	name := strings.Replace(numbers.ReplaceAllString(net.Name, "N"), "wrn-", "resnet-", 1)
	bottlenecks, residuals := false, false
	for i := range net.Units {
		u := &net.Units[i]
		bottlenecks = bottlenecks || u.Op == arch.Convolution && u.Kernel == 1 && !u.Shortcut
		residuals = residuals || u.Add.Kind != arch.NoResidual
	}
	if bottlenecks && !strings.Contains(name, "bottleneck") {
		name += "-bottleneck"
	}
	if residuals && !strings.HasPrefix(name, "resnet") {
		name += "-residual"
	}
	return name
}

// depth returns the number of convolutions on the path from the picture to the output layer,
// plus one for the output layer.
func depth(net *arch.Network) int {
	convolution := make([]bool, len(net.Units)+1)
	for _, t := range net.Tensors() {
		convolution[t.Unit] = convolution[t.Unit] || t.Kind == arch.ConvWeight
	}
	n := 1
	for unit := len(net.Units) - 1; unit != arch.Picture; unit = net.Units[unit].In {
		if convolution[unit] {
			n++
		}
	}
	return n
}

// resultOf returns the result of a run after the given number of epochs, or nil if the row of
// the last epoch is missing.
func resultOf(rows []rundir.EpochMetrics, epochs int) *Result {
	if len(rows) == 0 || rows[len(rows)-1].Epoch != epochs {
		return nil
	}
	last := &rows[len(rows)-1]
	r := &Result{
		TestAccuracy: last.TestAccuracy, TestExamples: last.TestExamples, TestStatistics: last.TestStatistics,
		TrainAccuracy: last.TrainAccuracy, GeneralisationGap: last.GeneralisationGap,
	}
	if finite(last.TestLoss) {
		r.TestLoss = &last.TestLoss
	}
	if finite(last.GammaNearZero) {
		r.GammaNearZero = &last.GammaNearZero
	}
	var total float64                // seconds of training and testing
	var images, trainSeconds float64 // of training steps
	for i := range rows {
		e := &rows[i]
		total += e.Seconds
		images += float64(e.TrainExamples)
		trainSeconds += float64(e.TrainExamples) / e.ImagesPerSecond
	}
	if len(rows) == epochs {
		r.Seconds = &total
	}
	if rate := images / trainSeconds; finite(rate) && rate > 0 {
		r.ImagesPerSecond = &rate
	}
	return r
}

// Setting is a setting and its value in each of several runs, as text.
type Setting struct {
	Name   string
	Values []string
}

// Differences returns the settings in which at least two runs differ, in the order of
// config.Settings.
func Differences(runs []*Summary) []Setting {
	var all []Setting
	for _, s := range config.Settings {
		setting := Setting{Name: s.Key}
		for _, r := range runs {
			setting.Values = append(setting.Values, s.Text(&r.Config))
		}
		if len(slices.Compact(slices.Clone(setting.Values))) > 1 {
			all = append(all, setting)
		}
	}
	return all
}
