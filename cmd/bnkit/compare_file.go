package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bnkit/analysis"
	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
)

// fileSummary holds what compare shows for a file that does not belong to a run.
type fileSummary struct {
	File          string         `json:"file"`
	Arch          string         `json:"arch,omitempty"`       // missing if the network is not recognised
	Data          string         `json:"data,omitempty"`       // missing if the file does not name it
	Parameters    int            `json:"parameters,omitempty"` // of the network; missing if it is not recognised
	Trainable     string         `json:"trainable,omitempty"`  // trainable set; missing if the file does not name it
	Trained       *int           `json:"trained,omitempty"`    // parameters that were trained, without those of pruned channels; missing if the trainable set is not known
	Pruned        int            `json:"pruned,omitempty"`     // channels that are held constant
	Epochs        []int          `json:"epochs,omitempty"`     // of each training and each recovery, oldest first; missing if the file records none
	Config        *config.Config `json:"config,omitempty"`     // settings of the last run; missing if the file has none
	GammaNearZero *float64       `json:"gamma_near_zero,omitempty"`
	FileBytes     int64          `json:"file_bytes"`
}

// summariseFile describes a .bnz file that does not belong to a run, or another program's
// file. It returns nil for a folder, and for a file that is neither and does not have the extension
// of a model.
func summariseFile(ctx context.Context, g *globalOptions, path string) (*fileSummary, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	hasModelExtension := slices.Contains(modelExtensions, strings.TrimPrefix(filepath.Ext(path), "."))
	if _, err := isForeign(path); errors.As(err, new(*formatError)) && !hasModelExtension {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	s := &fileSummary{File: path, FileBytes: fileSize(path)}
	model, _, err := new(modelFlags).load(ctx, g, path)
	var report *analysis.Report
	var unknown *engine.UnknownNetworkError
	switch {
	case errors.As(err, &unknown):
		// A file without BatchNorms has no γ.
		if report, err = describeUnknown(unknown, []float64{0.01}); errors.As(err, new(*engine.ModelError)) {
			err = nil
		}
	case err == nil:
		if err := s.describe(model); err != nil {
			return nil, err
		}
		if report, err = analysis.Describe(model); errors.As(err, new(*engine.ModelError)) {
			err = nil
		}
	}
	if report != nil && report.Total.NearZero != nil { // it is nil if all channels are pruned
		s.GammaNearZero = &report.Total.NearZero[slices.Index(report.NearZero, 0.01)]
	}
	return s, err
}

// describe sets the fields that describe the file's model.
func (s *fileSummary) describe(m *engine.Model) (err error) {
	s.Arch, s.Data, s.Parameters, s.Pruned = m.Network.Name, m.Data.Name, arch.All.Parameters(m.Network), prunedChannels(m)
	if m.Origin != nil {
		s.Trainable = string(m.Origin.Trainable)
	}
	for _, step := range historyOf(m) {
		if step.epochs > 0 {
			s.Epochs = append(s.Epochs, step.epochs)
		}
	}
	var settings config.Config
	if json.Unmarshal(m.Config, &settings) == nil && settings.Validate() == nil {
		s.Config = &settings
	}
	s.Trained, err = trainedParameters(m)
	return err
}

// cells returns the row of a file in a table with the given heading. settings holds the texts of
// the settings among the columns, and is nil if the file has no settings.
func (s *fileSummary) cells(heading []string, settings map[string]string) []string {
	row := make([]string, len(heading))
	for i, column := range heading {
		switch column {
		case "run":
			row[i] = printable(filepath.Base(s.File))
		case "network":
			row[i] = printable(s.Arch)
			if s.Arch == "" {
				row[i] = "unknown"
			}
		case "trained":
			row[i] = cmp.Or(printable(s.Trainable), missing)
		case "parameters":
			if row[i] = missing; s.Trained != nil {
				row[i] = fmt.Sprint(*s.Trained)
			}
		case "epochs":
			row[i] = cmp.Or(strings.ReplaceAll(strings.Trim(fmt.Sprint(s.Epochs), "[]"), " ", "+"), missing)
		case "|γ|<0.01":
			if row[i] = missing; s.GammaNearZero != nil {
				row[i] = percent(*s.GammaNearZero)
			}
		case "checkpoint":
			row[i] = bytesText(s.FileBytes)
		default: // a setting, or a measurement, which files do not contain
			row[i] = cmp.Or(printable(settings[column]), missing)
		}
	}
	return row
}
