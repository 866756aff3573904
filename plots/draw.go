// Package plots draws what was measured as PNG pictures. It takes result
// structs and measures nothing; the same results give the same bytes.
package plots

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"bnkit/analysis"
	"bnkit/engine/rundir"
)

// Run is one run's results. Any part may be missing; several runs are drawn
// over each other, told apart by Name.
type Run struct {
	Name    string
	Report  *analysis.Report
	Epochs  []rundir.EpochMetrics
	Summary *analysis.Summary
}

// Draw writes every picture that the runs have results for into dir, which
// must be there, and returns their paths: gamma_histogram.png (of several runs
// gamma_histogram_NAME.png each), near_zero.png, sparsity.png, gradients.png,
// threshold.png, training.png, gradient_epochs.png and, of networks that differ
// in depth or width, depth_width.png. Each is 1600×1000 pixels, or higher where
// many runs make a long legend or many panels. Runs of the same name are
// numbered. The error is *ReportError for a report that contradicts itself, or
// the file system's; pictures drawn before it stay.
func Draw(dir string, runs []Run) ([]string, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	for _, r := range runs {
		if err := check(r.Report); err != nil {
			return nil, fmt.Errorf("draw: %w", &ReportError{r.Name, err.Error()})
		}
	}
	runs = distinct(runs)
	var paths []string
	save := func(name string, f *figure) error {
		if f == nil {
			return nil
		}
		path, err := drawOne(filepath.Join(dir, name), f)
		if err == nil {
			paths = append(paths, path)
		}
		return err
	}
	taken := map[string]bool{}
	for _, r := range runs {
		suffix := ""
		if len(runs) > 1 {
			suffix = "_" + unused(fileName(r.Name), "%s_%d", taken)
		}
		if err := save("gamma_histogram"+suffix+".png", gammaHistogram(r)); err != nil {
			return paths, err
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
		{"gradient_epochs.png", gradientEpochs},
		{"depth_width.png", depthWidth},
	} {
		if err := save(picture.name, picture.draw(runs)); err != nil {
			return paths, err
		}
	}
	return paths, nil
}

// DrawFilters writes filters.png into dir, which must be there, and returns its
// path: the filters of one layer of each checkpoint, beside each other. There
// is a name for each.
func DrawFilters(dir string, names []string, all []*analysis.Filters) (string, error) {
	return drawOne(filepath.Join(dir, "filters.png"), filters(names, all))
}

// DrawFeatureMaps writes feature_maps.png into dir, which must be there, and
// returns its path: what one layer of each checkpoint makes of one picture,
// beside each other. There is a name for each.
func DrawFeatureMaps(dir string, names []string, all []*analysis.FeatureMaps) (string, error) {
	return drawOne(filepath.Join(dir, "feature_maps.png"), featureMaps(names, all))
}

func drawOne(path string, f *figure) (string, error) {
	if err := f.save(path); err != nil {
		return "", fmt.Errorf("draw %s: %w", path, err)
	}
	return path, nil
}

// distinct returns runs whose names differ and can be written in a legend, and
// whose curves have gaps where rows are missing.
func distinct(runs []Run) []Run {
	const longest = 48
	named := make([]Run, len(runs))
	taken := map[string]bool{}
	for i, r := range runs {
		name := []rune(strings.Join(strings.FieldsFunc(r.Name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " "))
		if len(name) > longest {
			name = append(name[:longest-1], '…')
		}
		named[i] = r
		named[i].Name = unused(string(name), "%s (%d)", taken)
		named[i].Epochs = withGaps(r.Epochs)
	}
	return named
}

// unused is name, or name numbered by that format where it is taken; it then
// is taken.
func unused(name, format string, taken map[string]bool) string {
	free := name
	for i := 2; taken[free]; i++ {
		free = fmt.Sprintf(format, name, i)
	}
	taken[free] = true
	return free
}

// fileName is a run's name as part of a file name.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>| `, r) {
			return '_'
		}
		return r
	}, name)
}
