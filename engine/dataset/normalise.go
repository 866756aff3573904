package dataset

import (
	"context"
	"fmt"
)

// Normalisation is how pixel/255 becomes a network's input.
type Normalisation string

// The normalisations. All statistics are those of the training split.
const (
	// PerChannel subtracts each channel's mean and divides by its standard deviation.
	PerChannel Normalisation = "channel"
	// PerPixel subtracts the mean picture, and divides by nothing (Krizhevsky,
	// Sutskever and Hinton 2012, section 2).
	PerPixel Normalisation = "pixel"
	// Unnormalised leaves values from 0 to 1.
	Unnormalised Normalisation = "none"
)

// ParseNormalisation reads the name of a normalisation.
func ParseNormalisation(name string) (Normalisation, error) {
	switch n := Normalisation(name); n {
	case PerChannel, PerPixel, Unnormalised:
		return n, nil
	}
	return "", fmt.Errorf("%q is none of %s, %s and %s", name, PerChannel, PerPixel, Unnormalised)
}

// Normalise returns the data set with the Mean and Std of a normalisation. They are
// those of PerChannel before; an image folder, which has none before, is read for
// them. The error is a [*PictureError], or one of the file system, or ctx's.
func (d *Data) Normalise(ctx context.Context, how Normalisation) (*Data, error) {
	if how == PerChannel && d.Mean != nil {
		return d, nil
	}
	out := *d
	var stats *statistics
	if how != Unnormalised {
		var err error
		if stats, err = d.Train.statistics(ctx); err != nil {
			return nil, err
		}
	}
	if how == PerChannel {
		out.Mean, out.Std = stats.channels()
		return &out, nil
	}
	out.Std = make([]float32, d.Train.Channels)
	for c := range out.Std {
		out.Std[c] = 1
	}
	out.Mean = make([]float32, d.Train.Channels)
	if how == PerPixel {
		out.Mean = stats.pixels()
	}
	return &out, nil
}

// statistics are those of a split as it is, unaugmented.
func (s *Split) statistics(ctx context.Context) (*statistics, error) {
	if s.Files != nil {
		return fileStatistics(ctx, s)
	}
	return memoryStatistics(s), nil
}
