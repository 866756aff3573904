// Package plots draws measurements as PNG or SVG pictures. It draws result structs and does
// not measure anything itself. The same results give the same bytes.
package plots

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"bnkit/analysis"
	"bnkit/engine/rundir"
)

// Run holds the results of one run. Any part may be missing. Name identifies the run in
// pictures of several runs.
type Run struct {
	Name    string
	Report  *analysis.Report
	Epochs  []rundir.EpochMetrics
	Summary *analysis.Summary

	index int // position of the run in the argument of Draw
}

// style returns the style of the run, which is the same in all pictures.
func (r Run) style() mark { return markOf(r.index) }

// Draw writes all pictures for which the runs have results into dir, which must exist, and
// returns their paths. Each of these pictures shows all runs: near_zero, sparsity, gradients,
// threshold, training, accuracy_time, gradient_epochs and, for networks that differ in depth or
// width, depth_width. Each run has its own gamma_histogram, gamma_layers, beta_layers,
// gradient_layers and sensitivity, whose file names end in the name of the run if there are
// several. A picture is 8 inches wide and 5 inches high (1600×1000 pixels), or higher if it has
// a long legend or many panels. Runs of the same name are numbered. The error wraps a
// *ReportError if a report is invalid, and otherwise an error of the file system. Pictures
// written before the error remain.
func Draw(dir string, runs []Run, format Format) ([]string, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	for _, r := range runs {
		if err := check(r.Report); err != nil {
			return nil, fmt.Errorf("draw: %w", &ReportError{r.Name, err.Error()})
		}
	}
	var paths []string
	for name, f := range pictures(forDrawing(runs)) {
		path, err := drawOne(dir, name, f, format)
		if err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// pictures returns the pictures for which the runs have results, by the names of their files
// without extension.
func pictures(runs []Run) iter.Seq2[string, *figure] {
	return func(yield func(string, *figure) bool) {
		taken := map[string]bool{}
		for _, r := range runs {
			suffix := ""
			if len(runs) > 1 {
				suffix = "_" + unused(fileName(r.Name), "%s_%d", taken)
			}
			for _, picture := range []struct {
				name string
				draw func(Run) *figure
			}{
				{"gamma_histogram", gammaHistogram},
				{"gamma_layers", gammaLayers},
				{"beta_layers", betaLayers},
				{"gradient_layers", gradientLayers},
				{"sensitivity", sensitivity},
			} {
				if f := picture.draw(r); f != nil && !yield(picture.name+suffix, f) {
					return
				}
			}
		}
		for _, picture := range []struct {
			name string
			draw func([]Run) *figure
		}{
			{"near_zero", nearZero},
			{"sparsity", sparsity},
			{"gradients", gradients},
			{"threshold", threshold},
			{"training", training},
			{"accuracy_time", accuracyByTime},
			{"gradient_epochs", gradientEpochs},
			{"depth_width", depthWidth},
		} {
			if f := picture.draw(runs); f != nil && !yield(picture.name, f) {
				return
			}
		}
	}
}

// DrawFilters writes filters_LAYER into dir, which must exist, and returns its path. It shows
// the filters of one layer of each checkpoint, side by side. names has a name for each
// checkpoint.
func DrawFilters(dir string, names []string, all []*analysis.Filters, format Format) (string, error) {
	return drawOne(dir, "filters_"+fileName(all[0].Layer), filters(names, all), format)
}

// DrawFeatureMaps writes feature_maps_LAYER_IMAGE into dir, which must exist, and returns its
// path. It shows the feature maps of one layer of each checkpoint for one picture of the test
// split, side by side. names has a name for each checkpoint.
func DrawFeatureMaps(dir string, names []string, all []*analysis.FeatureMaps, format Format) (string, error) {
	name := fmt.Sprintf("feature_maps_%s_%d", fileName(all[0].Layer), all[0].Image)
	return drawOne(dir, name, featureMaps(names, all), format)
}

// drawOne writes f to dir/name with the extension of the format, and returns the path.
func drawOne(dir, name string, f *figure, format Format) (string, error) {
	path := filepath.Join(dir, name+"."+string(format))
	if err := f.save(path, format); err != nil {
		return "", fmt.Errorf("draw %s: %w", path, err)
	}
	return path, nil
}

// forDrawing returns copies of the runs, with distinct names that fit into a legend, and with a
// row of missing values in each gap of their epochs.
func forDrawing(runs []Run) []Run {
	const maxName = 48 // characters
	named := make([]Run, len(runs))
	taken := map[string]bool{}
	for i, r := range runs {
		name := []rune(strings.Join(strings.FieldsFunc(r.Name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " "))
		if len(name) > maxName {
			name = append(name[:maxName-1], '…')
		}
		named[i] = r
		named[i].index = i
		named[i].Name = unused(string(name), "%s (%d)", taken)
		named[i].Epochs = withGaps(r.Epochs)
	}
	return named
}

// unused returns name, or name with a number in the given format if name is taken. It marks
// the result as taken.
func unused(name, format string, taken map[string]bool) string {
	free := name
	for i := 2; taken[free]; i++ {
		free = fmt.Sprintf(format, name, i)
	}
	taken[free] = true
	return free
}

// fileName returns the name of a run or layer with _ in place of spaces, and of characters that
// some systems do not allow in file names.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>| `, r) {
			return '_'
		}
		return r
	}, name)
}
