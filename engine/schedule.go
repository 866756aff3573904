package engine

// learningRate is the step schedule: base, divided by 10 once for every drop
// that epoch (counted from 0) has reached.
func learningRate(base float64, drops []int, epoch int) float64 {
	for _, d := range drops {
		if epoch >= d {
			base /= 10
		}
	}
	return base
}
