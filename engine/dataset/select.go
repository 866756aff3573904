package dataset

import (
	"cmp"
	"fmt"
	"slices"

	"bnkit/engine/rng"
)

// Selection describes the pictures of the training split that are used, their labels, and
// the size of the pictures of an image folder. The zero value stands for the whole training
// split as published.
type Selection struct {
	// Seed determines the pictures that are held out, and the random labels.
	Seed uint64
	// Validation is the number of training pictures that are held out and measured
	// like the test split. They are the first of a permutation drawn from the stream
	// "validation". They are chosen before any subset, so that they do not depend on
	// it.
	Validation int
	// Subset is the number of the remaining training pictures that are kept, 0 for all.
	// They are the first ones of each class, in numbers as equal as possible (the
	// remainder goes to the lowest labels).
	Subset int
	// SubsetPerClass is the number of pictures of every class that are kept; 0 for all.
	// They are the first ones of each class.
	SubsetPerClass int
	// RandomLabels replaces the labels of the training pictures, except held-out ones,
	// by labels drawn uniformly. Picture i of the published split gets word i of the
	// stream "labels", bounded by the number of classes.
	RandomLabels bool
	// ImageSize is the side, in pixels, of the squares that the pictures of an image
	// folder become. It is 0 for other data sets.
	ImageSize int
	// Crop is the method by which they become squares; "" means RandomResized.
	Crop Crop
}

// SelectionError reports a field of a selection that does not fit the data set.
type SelectionError struct {
	// Setting is the name of the field in a run's settings, such as "subset_per_class".
	Setting string
	// Reason says what is wrong and what is expected.
	Reason string
}

func (e *SelectionError) Error() string { return e.Setting + ": " + e.Reason }

// WrongUsage reports that the selection is at fault.
func (e *SelectionError) WrongUsage() bool { return true }

// Select returns the data set with only the selected training pictures, in their
// original order. Digest and, for data in memory, Mean and Std are computed from the
// selection. The test split stays complete, and the result shares it with d. The error is a
// [*SelectionError].
func (d *Data) Select(sel Selection) (*Data, error) {
	sized, err := d.resize(sel.ImageSize, sel.Crop)
	if err != nil {
		return nil, err
	}
	d = sized
	if sel.Validation == 0 && (sel.Subset == 0 || sel.Subset == d.Train.Len()) && sel.SubsetPerClass == 0 && !sel.RandomLabels {
		return d, nil
	}
	if sel.Validation != 0 && d.Validation != nil {
		return nil, &SelectionError{"validation", "the folder already has a validation split, val"}
	}
	if sel.Subset != 0 && sel.SubsetPerClass != 0 {
		return nil, &SelectionError{"subset_per_class", "it cannot be combined with subset"}
	}
	heldOut, rest, err := holdOut(d.Train, sel.Seed, sel.Validation)
	if err != nil {
		return nil, err
	}
	switch {
	case sel.Subset != 0:
		if sel.Subset < 0 || sel.Subset > len(rest) {
			return nil, &SelectionError{"subset", fmt.Sprintf("%d; want 1 to %d, the number of training pictures of %s that are not held out", sel.Subset, len(rest), d.Name)}
		}
		rest = pickBalanced(d.Train, rest, sel.Subset)
	case sel.SubsetPerClass != 0:
		if rest, err = d.firstOfEachClass(rest, sel.SubsetPerClass); err != nil {
			return nil, err
		}
	}
	out := *d
	out.Train = d.Train.pick(rest)
	if sel.RandomLabels {
		stream := rng.NewStream(sel.Seed, "labels")
		for position, i := range rest {
			out.Train.setLabel(position, int(rng.Bounded(stream.Uint32(uint64(i)), uint32(len(d.Classes)))))
		}
	}
	if len(heldOut) > 0 {
		out.Validation = d.Train.pick(heldOut)
	}
	out.computeStatistics()
	return &out, nil
}

// resize returns an image folder whose pictures have the given size, and any other data
// set unchanged.
func (d *Data) resize(side int, crop Crop) (*Data, error) {
	switch {
	case d.Train.Files == nil && side != 0:
		return nil, &SelectionError{"image_size", fmt.Sprintf("the pictures of %s have a fixed size; leave out image_size and crop", d.Name)}
	case d.Train.Files == nil:
		return d, nil
	case side < 1 || side > maxSide:
		return nil, &SelectionError{"image_size", fmt.Sprintf("%d; want a side of 1 to %d pixels, for example 32", side, maxSide)}
	}
	crop, err := ParseCrop(string(cmp.Or(crop, RandomResized)))
	if err != nil {
		return nil, &SelectionError{"crop", err.Error()}
	}
	out := *d
	for _, s := range []**Split{&out.Train, &out.Test, &out.Validation} {
		if *s != nil {
			sized := **s
			sized.Height, sized.Width, sized.crop = side, side, crop
			*s = &sized
		}
	}
	out.computeStatistics()
	return &out, nil
}

// setLabel changes the label of picture i.
func (s *Split) setLabel(i, label int) {
	if s.Files != nil {
		s.Files[i].Label = int32(label)
	} else {
		s.Labels[i] = uint8(label)
	}
}

// holdOut splits the positions of a split into n held-out ones and the rest, each in
// ascending order.
func holdOut(s *Split, seed uint64, n int) (heldOut, rest []int, err error) {
	if n < 0 || n >= s.Len() {
		return nil, nil, &SelectionError{"validation", fmt.Sprintf("%d; want 0 to %d, fewer than the %d training pictures", n, s.Len()-1, s.Len())}
	}
	isHeldOut := make([]bool, s.Len())
	if n > 0 {
		order := make([]int32, s.Len())
		rng.NewStream(seed, "validation").Permutation(order)
		for _, i := range order[:n] {
			isHeldOut[i] = true
		}
	}
	for i := range isHeldOut {
		if isHeldOut[i] {
			heldOut = append(heldOut, i)
		} else {
			rest = append(rest, i)
		}
	}
	return heldOut, rest, nil
}

// byClass groups positions by label.
func byClass(s *Split, positions []int) [][]int {
	var classes [][]int
	for _, i := range positions {
		label := s.Label(i)
		for len(classes) <= label {
			classes = append(classes, nil)
		}
		classes[label] = append(classes[label], i)
	}
	return classes
}

// pickBalanced picks n of the positions and returns them in ascending order. Each round takes
// the next remaining picture of every class. n is at most len(positions).
func pickBalanced(s *Split, positions []int, n int) []int {
	classes := byClass(s, positions)
	picks := make([]int, 0, n)
	for round := 0; len(picks) < n; round++ {
		for _, members := range classes {
			if round < len(members) && len(picks) < n {
				picks = append(picks, members[round])
			}
		}
	}
	slices.Sort(picks)
	return picks
}

// firstOfEachClass picks the first n of the positions of every class.
func (d *Data) firstOfEachClass(positions []int, n int) ([]int, error) {
	classes := byClass(d.Train, positions)
	var picks []int
	for c, name := range d.Classes {
		available := 0
		if c < len(classes) {
			available = len(classes[c])
		}
		if n < 1 || n > available {
			return nil, &SelectionError{"subset_per_class", fmt.Sprintf("%d; want at least 1, and at most the %d training pictures of class %s of %s", n, available, name, d.Name)}
		}
		picks = append(picks, classes[c][:n]...)
	}
	slices.Sort(picks)
	return picks, nil
}

// pick returns a split with copies of the pictures at the given positions.
func (s *Split) pick(positions []int) *Split {
	out := &Split{Channels: s.Channels, Height: s.Height, Width: s.Width, dir: s.dir, crop: s.crop}
	if s.Files != nil {
		out.Files = make([]File, 0, len(positions))
		for _, i := range positions {
			out.Files = append(out.Files, s.Files[i])
		}
		return out
	}
	out.Images = make([]uint8, 0, len(positions)*s.imageSize())
	out.Labels = make([]uint8, 0, len(positions))
	for _, i := range positions {
		out.Images = append(out.Images, s.Image(i)...)
		out.Labels = append(out.Labels, s.Labels[i])
	}
	return out
}
