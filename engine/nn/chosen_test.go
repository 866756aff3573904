package nn

import (
	"slices"
	"testing"

	"bnkit/engine/arch"
)

// TestChosen: distinct weights of each channel, spread evenly over its
// weights, to which a larger K adds.
func TestChosen(t *testing.T) {
	x := &arch.Tensor{Name: "conv", Kind: arch.ConvWeight, Shape: []int{20_000, 3, 2, 2}, FanIn: 12}
	var smaller []int32
	for k, set := range []arch.TrainableSet{"random-1", "random-2", "random-3", "random-4"} {
		k++
		chosen := Chosen(x, set, 5)
		counts := make([]int, x.FanIn)
		for channel, of := range slices.Collect(slices.Chunk(chosen, k)) {
			for i, p := range of {
				at := int(p) - channel*x.FanIn
				if at < 0 || at >= x.FanIn || slices.Contains(of[:i], p) {
					t.Fatalf("%s, channel %d: %v", set, channel, of)
				}
				counts[at]++
			}
			if k > 1 && !slices.Equal(of[:k-1], smaller[channel*(k-1):][:k-1]) {
				t.Fatalf("%s, channel %d: %v adds nothing to %v", set, channel, of, smaller[channel*(k-1):][:k-1])
			}
		}
		// Binomial: a mean of 20,000·k/12, five standard deviations either way.
		p := float64(k) / 12
		for at, n := range counts {
			if d := float64(n) - 20_000*p; d*d > 25*20_000*p*(1-p) {
				t.Errorf("%s: weight %d was chosen %d times, expected %.0f", set, at, n, 20_000*p)
			}
		}
		smaller = chosen
	}
	if got := Chosen(x, "random-99", 5); len(got) != x.Len() || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(Chosen(x, "random-12", 5)))) {
		t.Errorf("%d of %d weights are chosen where all are wanted", len(got), x.Len())
	}
	if slices.Equal(Chosen(x, "random-2", 5), Chosen(x, "random-2", 6)) {
		t.Error("the choice does not depend on the seed")
	}
}
