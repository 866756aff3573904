package optim

import "math"

// Schedule is the learning rate as a function of the epoch.
type Schedule interface {
	// Rate returns the learning rate at an epoch, counted from 0. The epoch may be
	// fractional: 2.5 is the middle of the third epoch.
	Rate(epoch float64) float64
}

// Constant keeps the rate at LR.
type Constant struct{ LR float64 }

// Rate returns LR.
func (s Constant) Rate(float64) float64 { return s.LR }

// Step divides the rate by 10 at the start of each epoch in Drops, as PyTorch's MultiStepLR
// does.
type Step struct {
	LR    float64
	Drops []int // ascending
}

// Rate returns the rate at an epoch.
func (s Step) Rate(epoch float64) float64 {
	rate := s.LR
	for _, d := range s.Drops {
		if epoch >= float64(d) {
			rate /= 10
		}
	}
	return rate
}

// Cosine falls from LR towards Min, which it would reach at epoch Epochs:
//
//	Min + (LR - Min)·(1 + cos(π·epoch/Epochs))/2
//
// It is PyTorch's CosineAnnealingLR (Loshchilov and Hutter 2017, without
// restarts).
type Cosine struct {
	LR, Min float64
	Epochs  int // above 0
}

// Rate returns the rate at an epoch.
func (s Cosine) Rate(epoch float64) float64 { return anneal(s.LR, s.Min, epoch/float64(s.Epochs)) }

// anneal returns the value of half a cosine wave that falls from lr to min, where progress
// goes from 0 at its beginning to 1 at its end.
func anneal(lr, min, progress float64) float64 {
	return min + (lr-min)*(1+math.Cos(math.Pi*progress))/2
}

// CosineRestarts repeats Cosine. The first period has Period epochs, and each further
// period is Growth times as long as the one before. It is PyTorch's
// CosineAnnealingWarmRestarts, where Period is T_0 and Growth is T_mult.
type CosineRestarts struct {
	LR, Min        float64
	Period, Growth int // above 0
}

// Rate returns the rate at an epoch.
func (s CosineRestarts) Rate(epoch float64) float64 {
	period := float64(s.Period)
	for epoch >= period {
		epoch -= period
		period *= float64(s.Growth)
	}
	return anneal(s.LR, s.Min, epoch/period)
}

// LinearCosine is TensorFlow's linear_cosine_decay (Bello et al. 2017), where Waves is
// num_periods:
//
//	LR·((Alpha + (Epochs-epoch)/Epochs)·(1 + cos(2π·Waves·epoch/Epochs))/2 + Beta)
//
// After Epochs, the rate stays the same.
type LinearCosine struct {
	LR, Alpha, Beta, Waves float64
	Epochs                 int // above 0
}

// Rate returns the rate at an epoch.
func (s LinearCosine) Rate(epoch float64) float64 {
	total := float64(s.Epochs)
	epoch = min(epoch, total)
	wave := (1 + math.Cos(2*math.Pi*s.Waves*epoch/total)) / 2
	return s.LR * ((s.Alpha+(total-epoch)/total)*wave + s.Beta)
}

// RampExponential rises linearly from Start to LR over Ramp epochs, stays there
// for Sustain epochs, and then falls exponentially:
//
//	(LR - Min)·Decay^(epoch - Ramp - Sustain) + Min
type RampExponential struct {
	Start, LR, Min float64
	Ramp, Sustain  int
	Decay          float64
}

// Rate returns the rate at an epoch.
func (s RampExponential) Rate(epoch float64) float64 {
	ramp := float64(s.Ramp)
	decaying := epoch - ramp - float64(s.Sustain)
	switch {
	case epoch < ramp:
		return s.Start + (s.LR-s.Start)*epoch/ramp
	case decaying < 0:
		return s.LR
	}
	return (s.LR-s.Min)*math.Pow(s.Decay, decaying) + s.Min
}

// Warmup raises the rate linearly over Epochs epochs, from Main.Rate(0)/(Epochs+1) towards
// Main.Rate(0), like PyTorch's LinearLR with start_factor 1/(Epochs+1), and then follows Main.
type Warmup struct {
	Epochs int
	Main   Schedule

	// CountsWarmup makes Main count epochs from the start of the warm-up instead of from
	// its end.
	CountsWarmup bool
}

// Rate returns the rate at an epoch.
func (s Warmup) Rate(epoch float64) float64 {
	w := float64(s.Epochs)
	switch {
	case epoch < w:
		return s.Main.Rate(0) * (epoch + 1) / (w + 1)
	case s.CountsWarmup:
		return s.Main.Rate(epoch)
	}
	return s.Main.Rate(epoch - w)
}
