package engine

import (
	"errors"

	"bnkit/engine/dataset"
)

// maxImageSize is more than any network here takes.
const maxImageSize = 1024

func (c *Config) validateData() error {
	switch {
	case c.Data == "":
		return fail("data", "no data set is named")
	case c.Subset < 0:
		return fail("subset", "%d; use a number of training examples, or 0 for all", c.Subset)
	case c.SubsetPerClass < 0:
		return fail("subset_per_class", "%d; use a number of training examples of each class, or 0 for all", c.SubsetPerClass)
	case c.Subset > 0 && c.SubsetPerClass > 0:
		return fail("subset_per_class", "%d, and subset is %d; use one of them", c.SubsetPerClass, c.Subset)
	case c.Validation < 0:
		return fail("validation", "%d; use a number of training examples to hold out, or 0 for none", c.Validation)
	case !(c.Brightness >= 0 && c.Brightness <= 1):
		return fail("brightness", "%v; use a number from 0 to 1, e.g. 0.25", c.Brightness)
	case !c.Augment && (c.Brightness > 0 || c.NoFlip):
		return fail("augment", "off, so that no_flip and brightness would change nothing; leave them out")
	case c.ImageSize < 0 || c.ImageSize > maxImageSize:
		return fail("image_size", "%d; 1 to %d pixels are possible, or 0 for data that is no folder of pictures", c.ImageSize, maxImageSize)
	}
	if _, err := dataset.ParseNormalisation(c.Normalise); err != nil {
		return fail("normalise", "%v", err)
	}
	crop, err := dataset.ParseCrop(c.Crop)
	switch {
	case err != nil:
		return fail("crop", "%v", err)
	case crop != dataset.RandomResized && c.ImageSize == 0:
		return fail("crop", "%s brings the pictures of a folder to a size; say which by image_size, or leave it out", crop)
	}
	return nil
}

// selection returns the selection of training pictures that the settings ask for.
func (c *Config) selection() dataset.Selection {
	return dataset.Selection{
		Seed: c.Seed, Validation: c.Validation, Subset: c.Subset, SubsetPerClass: c.SubsetPerClass, RandomLabels: c.RandomLabels,
		ImageSize: c.ImageSize, Crop: dataset.Crop(c.Crop),
	}
}

// selected returns the selection from data. The error is a *ConfigError if the data does not
// have what it asks for.
func selected(data *dataset.Data, sel dataset.Selection) (*dataset.Data, error) {
	data, err := data.Select(sel)
	var e *dataset.SelectionError
	if errors.As(err, &e) {
		return nil, &ConfigError{e.Setting, e.Reason}
	}
	return data, err
}
