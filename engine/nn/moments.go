package nn

import "bnkit/engine/arch"

// Moments holds sums over the outputs of a unit, after its residual and its ReLU.
type Moments struct {
	Unit            int
	Pictures        int64
	Positions       int64     // outputs of each channel: pictures × height × width
	Sum             []float64 // of the outputs, by channel
	Squares         []float64 // sum of the squared outputs, by channel
	SquaredAverages []float64 // sum of the squared averages over a picture's positions, by channel
	Zeros           []int64   // outputs that were zero, by channel
}

// Mean returns the mean of channel c's outputs.
func (m *Moments) Mean(c int) float64 { return m.Sum[c] / float64(m.Positions) }

// Variance returns the (population) variance of channel c's outputs.
func (m *Moments) Variance(c int) float64 {
	mean := m.Mean(c)
	return max(m.Squares[c]/float64(m.Positions)-float64(mean*mean), 0)
}

// AverageVariance returns the (population) variance, over pictures, of the average of
// channel c's outputs over a picture. For the last unit, these averages are the inputs of
// the output layer.
func (m *Moments) AverageVariance(c int) float64 {
	mean := m.Mean(c)
	return max(m.SquaredAverages[c]/float64(m.Pictures)-float64(mean*mean), 0)
}

// Observe runs the network like Run, adds the moments of the units' outputs to all, and
// returns all. If all is nil, it starts from zero. Outputs that are used only as residuals have
// no moments. Sums are taken in the order of the pictures, so they do not depend on the number
// of threads.
func (f *Inference[T]) Observe(all []Moments, x []T, n int) []Moments {
	if f.observed == nil {
		f.observed = make([][]observation, len(f.units))
		for stage := range len(f.units) + 1 {
			if in := f.input(stage); in != arch.Picture && f.fresh(stage) {
				f.observed[in] = make([]observation, f.o.Batch*f.units[in].OutShape.C)
			}
		}
	}
	if all == nil {
		for i, observed := range f.observed {
			if c := f.units[i].OutShape.C; observed != nil {
				all = append(all, Moments{Unit: i, Sum: make([]float64, c), Squares: make([]float64, c), SquaredAverages: make([]float64, c), Zeros: make([]int64, c)})
			}
		}
	}
	f.observing = true
	f.Run(x, n)
	f.observing = false
	for k := range all {
		m := &all[k]
		u := &f.units[m.Unit]
		m.Pictures += int64(n)
		m.Positions += int64(n * u.area)
		for i := range n {
			for c, o := range f.observed[m.Unit][i*u.OutShape.C:][:u.OutShape.C] {
				average := o.sum / float64(u.area)
				m.Sum[c] += o.sum
				m.Squares[c] += o.squares
				m.SquaredAverages[c] += float64(average * average)
				m.Zeros[c] += o.zeros
			}
		}
	}
	return all
}

// observation holds sums over one channel of a unit's output for one picture.
type observation struct {
	sum, squares float64
	zeros        int64
}

// observe sets the observations of a unit's output for picture i. The output is in blocks of
// family.Lanes channels.
func (f *Inference[T]) observe(unit, i int, output []T) {
	u, lanes := &f.units[unit], f.family.Lanes
	for c := range u.OutShape.C {
		var o observation
		for j := c/lanes*u.area*lanes + c%lanes; j < (c/lanes+1)*u.area*lanes; j += lanes {
			v := float64(output[j])
			o.sum += v
			o.squares += float64(v * v)
			if v == 0 {
				o.zeros++
			}
		}
		f.observed[unit][i*u.OutShape.C+c] = o
	}
}
