package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bnkit/analysis"
	"bnkit/engine"
	"bnkit/engine/arch"
)

// fileSummary holds what compare shows for a file that does not belong to a run.
type fileSummary struct {
	File          string   `json:"file"`
	Arch          string   `json:"arch,omitempty"`       // missing if the network is not recognised
	Data          string   `json:"data,omitempty"`       // missing if the file does not name it
	Parameters    int      `json:"parameters,omitempty"` // of the network; missing if it is not recognised
	GammaNearZero *float64 `json:"gamma_near_zero,omitempty"`
	FileBytes     int64    `json:"file_bytes"`
}

// summariseFile describes a .bnz file that does not belong to a run, or another program's
// file. It returns nil if path is neither.
func summariseFile(ctx context.Context, g *globalOptions, path string) (*fileSummary, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	named := slices.Contains(modelFiles, strings.TrimPrefix(filepath.Ext(path), ".")) // as a model
	if _, err := isForeign(path); errors.As(err, new(*formatError)) && !named {
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
		s.Arch, s.Data, s.Parameters = model.Network.Name, model.Data.Name, arch.All.Parameters(model.Network)
		if report, err = analysis.Describe(model); errors.As(err, new(*engine.ModelError)) {
			err = nil
		}
	}
	if report != nil {
		s.GammaNearZero = &report.Total.NearZero[slices.Index(report.NearZero, 0.01)]
	}
	return s, err
}

// cells returns the row of a file in a table with the given heading.
func (s *fileSummary) cells(heading []string) []string {
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
		case "|γ|<0.01":
			if s.GammaNearZero != nil {
				row[i] = percent(*s.GammaNearZero)
			}
		case "checkpoint":
			row[i] = bytesText(s.FileBytes)
		}
	}
	return row
}
