package dataset

import (
	"context"
	"fmt"
)

// Normalisation describes how pixel/255 becomes the input of a network.
type Normalisation string

// The normalisations. All statistics are those of the training split.
const (
	// PerChannel subtracts each channel's mean and divides by its standard deviation.
	PerChannel Normalisation = "channel"
	// PerPixel subtracts the mean picture and does not divide (Krizhevsky, Sutskever
	// and Hinton 2012, section 2).
	PerPixel Normalisation = "pixel"
	// Unnormalised keeps values from 0 to 1.
	Unnormalised Normalisation = "none"
)

// ParseNormalisation returns the normalisation with the given name.
func ParseNormalisation(name string) (Normalisation, error) {
	switch n := Normalisation(name); n {
	case PerChannel, PerPixel, Unnormalised:
		return n, nil
	}
	return "", fmt.Errorf("%q is not one of %s, %s and %s", name, PerChannel, PerPixel, Unnormalised)
}

// Normalise returns the data set with the Mean and Std of a normalisation. Data in memory
// already has the Mean and Std of PerChannel, so PerChannel must not follow another
// normalisation. For statistics of an image folder, Normalise reads at most 4,096 evenly
// spaced training pictures. The error is a [*PictureError], an error of the file system, or
// the error of ctx.
func (d *Data) Normalise(ctx context.Context, method Normalisation) (*Data, error) {
	if method == PerChannel && d.Mean != nil {
		return d, nil
	}
	out := *d
	var stats *statistics
	if method != Unnormalised {
		var err error
		if stats, err = d.Train.statistics(ctx); err != nil {
			return nil, err
		}
	}
	if method == PerChannel {
		out.Mean, out.Std = stats.channels()
		return &out, nil
	}
	out.Std = make([]float32, d.Train.Channels)
	for c := range out.Std {
		out.Std[c] = 1
	}
	out.Mean = make([]float32, d.Train.Channels)
	if method == PerPixel {
		out.Mean = stats.pixels()
	}
	return &out, nil
}

// statistics returns the statistics of a split without augmentation.
func (s *Split) statistics(ctx context.Context) (*statistics, error) {
	if s.Files != nil {
		return fileStatistics(ctx, s)
	}
	return memoryStatistics(s), nil
}
