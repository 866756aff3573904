package nn

import (
	"math"
	"slices"
	"testing"

	"bnkit/engine/arch"
)

// TestChosen checks that each channel's chosen weights are distinct and evenly
// distributed, that the weights chosen for a larger K include those for a smaller K, that
// all weights are chosen if K exceeds the fan-in, and that the choice depends on the seed.
func TestChosen(t *testing.T) {
	x := &arch.Tensor{Name: "conv", Kind: arch.ConvWeight, Shape: []int{20_000, 3, 2, 2}, FanIn: 12}
	var smaller []int32
	for k, set := range []arch.TrainableSet{"random-1", "random-2", "random-3", "random-4"} {
		k++
		chosen := Chosen(x, set, 5)
		counts := make([]int, x.FanIn)
		for channel, weights := range slices.Collect(slices.Chunk(chosen, k)) {
			for i, p := range weights {
				index := int(p) - channel*x.FanIn
				if index < 0 || index >= x.FanIn || slices.Contains(weights[:i], p) {
					t.Fatalf("%s, channel %d: chosen weights %v, want distinct ones from %d to %d", set, channel, weights, channel*x.FanIn, (channel+1)*x.FanIn-1)
				}
				counts[index]++
			}
			if k > 1 && !slices.Equal(weights[:k-1], smaller[channel*(k-1):][:k-1]) {
				t.Fatalf("%s, channel %d: chosen weights %v, want %v and one more", set, channel, weights, smaller[channel*(k-1):][:k-1])
			}
		}
		// The counts are binomial with mean 20,000·k/12; allow five standard deviations.
		p := float64(k) / 12
		for index, n := range counts {
			if d := float64(n) - 20_000*p; d*d > 25*20_000*p*(1-p) {
				t.Errorf("%s: weight %d was chosen %d times, want %.0f ± %.0f", set, index, n, 20_000*p, 5*math.Sqrt(20_000*p*(1-p)))
			}
		}
		smaller = chosen
	}
	every := make([]int32, x.Len())
	for i := range every {
		every[i] = int32(i)
	}
	checkEqual(t, "random-99, sorted", slices.Sorted(slices.Values(Chosen(x, "random-99", 5))), every)
	if slices.Equal(Chosen(x, "random-2", 5), Chosen(x, "random-2", 6)) {
		t.Error("random-2 chooses the same weights with seeds 5 and 6, want different ones")
	}
}
