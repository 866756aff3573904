package dataset

import "fmt"

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

// ParseNormalisation reads the name of a normalisation; "" is PerChannel.
func ParseNormalisation(name string) (Normalisation, error) {
	switch n := Normalisation(name); n {
	case "":
		return PerChannel, nil
	case PerChannel, PerPixel, Unnormalised:
		return n, nil
	}
	return "", fmt.Errorf("%q is none of %s, %s and %s", name, PerChannel, PerPixel, Unnormalised)
}

// Normalise returns the data set with the Mean and Std of a normalisation. They are
// those of PerChannel before.
func (d *Data) Normalise(how Normalisation) *Data {
	if how == PerChannel {
		return d
	}
	out := *d
	out.Std = make([]float32, d.Train.Channels)
	for c := range out.Std {
		out.Std[c] = 1
	}
	out.Mean = make([]float32, d.Train.Channels)
	if how == PerPixel {
		out.Mean = pixelMeans(d.Train)
	}
	return &out
}
