package dataset

import (
	"fmt"
	"slices"
)

// Subset returns the data set with n of its training pictures: the first ones of
// each class, in their old order, in equal numbers as far as n and the classes allow
// (the remainder goes to the lowest labels). Mean, Std and Digest are those of the
// subset; the test split stays whole and is shared.
func (d *Data) Subset(n int) (*Data, error) {
	total := d.Train.Len()
	if n < 1 || n > total {
		return nil, fmt.Errorf("subset of %s: want 1 to %d training pictures, got %d", d.Name, total, n)
	}
	if n == total {
		return d, nil
	}
	size := d.Train.imageSize()
	train := &Split{
		Images:   make([]uint8, 0, n*size),
		Labels:   make([]uint8, 0, n),
		Channels: d.Train.Channels, Height: d.Train.Height, Width: d.Train.Width,
	}
	for _, i := range balanced(d.Train.Labels, n) {
		train.Images = append(train.Images, d.Train.Image(i)...)
		train.Labels = append(train.Labels, d.Train.Labels[i])
	}
	sub := *d
	sub.Train = train
	sub.Mean, sub.Std = channelStats(train)
	sub.Digest = digest(train, d.Test)
	return &sub, nil
}

// balanced picks n positions in rounds that take the next picture of every class
// that has one left, and returns them in ascending order. n is at most len(labels).
func balanced(labels []uint8, n int) []int {
	var byClass [256][]int
	for i, label := range labels {
		byClass[label] = append(byClass[label], i)
	}
	picks := make([]int, 0, n)
	for round := 0; len(picks) < n; round++ {
		for _, members := range byClass {
			if round < len(members) && len(picks) < n {
				picks = append(picks, members[round])
			}
		}
	}
	slices.Sort(picks)
	return picks
}
