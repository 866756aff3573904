// Package plots draws what was measured as PNG pictures. It takes result
// structs and measures nothing; the same results give the same bytes.
package plots

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bnkit/analysis"
	"bnkit/engine"
)

// Run is one run's results. Either part may be missing; several runs are drawn
// over each other, told apart by Name.
type Run struct {
	Name   string
	Report *analysis.Report
	Epochs []engine.EpochMetrics
}

// Draw writes every picture that the runs have results for into dir, which
// must be there, and returns their paths.
func Draw(dir string, runs []Run) ([]string, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	var paths []string
	save := func(name string, f *figure) error {
		if f == nil {
			return nil
		}
		path := filepath.Join(dir, name)
		if err := f.save(path); err != nil {
			return fmt.Errorf("draw %s: %w", path, err)
		}
		paths = append(paths, path)
		return nil
	}
	for _, r := range runs {
		if r.Report == nil {
			continue
		}
		name := "gamma_histogram.png"
		if len(runs) > 1 {
			name = "gamma_histogram_" + fileName(r.Name) + ".png"
		}
		if err := save(name, gammaHistogram(r)); err != nil {
			return nil, err
		}
	}
	for _, picture := range []struct {
		name string
		draw func([]Run) *figure
	}{
		{"near_zero.png", nearZero},
		{"sparsity.png", sparsity},
		{"gradients.png", gradients},
		{"threshold.png", threshold},
		{"training.png", training},
	} {
		if err := save(picture.name, picture.draw(runs)); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// fileName is a run's name as part of a file name.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>| `, r) || r < ' ' {
			return '_'
		}
		return r
	}, name)
}
