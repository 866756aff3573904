package engine

import (
	"math"
	"slices"
	"strings"
)

// The schedules of the learning rate. A schedule is a function of the epoch
// e, counted from 0; its rate holds for the whole epoch, unless
// Config.LRPerStep asks for a rate each step, at e = epoch + step/steps with
// the epoch's steps counted from 0. T is the number of epochs that the run has
// after its warm-up.
const (
	// Constant is LR throughout.
	Constant = "constant"
	// Step is LR, divided by 10 once for every one of LRDrops that e has
	// reached: PyTorch's MultiStepLR.
	Step = "step"
	// Cosine falls from LR towards LRMin, which it would reach at e = T:
	//
	//	LRMin + (LR - LRMin)·(1 + cos(π·e/T))/2
	//
	// PyTorch's CosineAnnealingLR (Loshchilov and Hutter 2017, without
	// restarts).
	Cosine = "cosine"
	// CosineRestarts is Cosine over LRPeriod epochs, then again from LR over
	// LRPeriodGrowth times as many, and so on: PyTorch's
	// CosineAnnealingWarmRestarts, whose T_0 and T_mult these are.
	CosineRestarts = "cosine-restarts"
	// LinearCosine is TensorFlow's linear_cosine_decay (Bello et al. 2017):
	//
	//	LR·((LRAlpha + (T-e)/T)·(1 + cos(2π·LRWaves·e/T))/2 + LRBeta)
	//
	// whose alpha, beta and num_periods LRAlpha, LRBeta and LRWaves are.
	LinearCosine = "linear-cosine"
	// RampExponential rises linearly from LRStart to LR over LRRamp epochs,
	// stays there for LRSustain, and then falls exponentially:
	//
	//	(LR - LRMin)·LRDecay^(e - LRRamp - LRSustain) + LRMin
	RampExponential = "ramp-exponential"
)

// Schedules lists them in the order in which help texts show them.
var Schedules = []string{Constant, Step, Cosine, CosineRestarts, LinearCosine, RampExponential}

// learningRate is the rate at that epoch, counted from 0, in parts of epochs
// with LRPerStep. During the first W = LRWarmup epochs it is (e+1)/(W+1) of the
// schedule's first rate, as of PyTorch's LinearLR with a start_factor of
// 1/(W+1) over W epochs. The schedule begins after them, at e = 0; only
// LRDrops count from the run's beginning.
func (c *Config) learningRate(epoch float64) float64 {
	w := float64(c.LRWarmup)
	if epoch < w {
		return c.scheduled(0) * (epoch + 1) / (w + 1)
	}
	if c.Schedule == Step {
		return c.scheduled(epoch)
	}
	return c.scheduled(epoch - w)
}

// scheduled is the schedule's rate at e, without warm-up.
func (c *Config) scheduled(e float64) float64 {
	total := float64(c.Epochs - c.LRWarmup)
	switch c.Schedule {
	case Step:
		rate := c.LR
		for _, d := range c.LRDrops {
			if e >= float64(d) {
				rate /= 10
			}
		}
		return rate
	case Cosine:
		return c.anneal(e / total)
	case CosineRestarts:
		period := float64(c.LRPeriod)
		for e >= period {
			e -= period
			period *= float64(c.LRPeriodGrowth)
		}
		return c.anneal(e / period)
	case LinearCosine:
		e = min(e, total)
		wave := (1 + math.Cos(2*math.Pi*c.LRWaves*e/total)) / 2
		return c.LR * ((c.LRAlpha+(total-e)/total)*wave + c.LRBeta)
	case RampExponential:
		ramp := float64(c.LRRamp)
		after := e - ramp - float64(c.LRSustain)
		switch {
		case e < ramp:
			return c.LRStart + (c.LR-c.LRStart)*e/ramp
		case after < 0:
			return c.LR
		}
		return (c.LR-c.LRMin)*math.Pow(c.LRDecay, after) + c.LRMin
	}
	return c.LR
}

// anneal is half a cosine wave from LR at 0 to LRMin at 1.
func (c *Config) anneal(part float64) float64 {
	return c.LRMin + (c.LR-c.LRMin)*(1+math.Cos(math.Pi*part))/2
}

// needsEpochs says whether the schedule's rates depend on the number of
// epochs, so that a run cannot be made longer once it has begun.
func (c *Config) needsEpochs() bool { return c.Schedule == Cosine || c.Schedule == LinearCosine }

// scheduleOf names the schedules that use a setting.
var scheduleOf = map[string][]string{
	"lr_min":           {Cosine, CosineRestarts, RampExponential},
	"lr_period":        {CosineRestarts},
	"lr_period_growth": {CosineRestarts},
	"lr_alpha":         {LinearCosine},
	"lr_beta":          {LinearCosine},
	"lr_waves":         {LinearCosine},
	"lr_start":         {RampExponential},
	"lr_ramp":          {RampExponential},
	"lr_sustain":       {RampExponential},
	"lr_decay":         {RampExponential},
}

func (c *Config) validateSchedule() error {
	if !slices.Contains(Schedules, c.Schedule) {
		return fail("schedule", "%q is unknown; use one of: %s", c.Schedule, strings.Join(Schedules, ", "))
	}
	for _, f := range []struct {
		key    string
		epochs int
	}{{"lr_warmup", c.LRWarmup}, {"lr_ramp", c.LRRamp}, {"lr_sustain", c.LRSustain}, {"lr_period", c.LRPeriod}} {
		if f.epochs < 0 || f.epochs > maxEpochs {
			return fail(f.key, "%d; 0 to %d epochs are possible", f.epochs, maxEpochs)
		}
	}
	for _, f := range []struct {
		key  string
		rate float64
	}{{"lr_min", c.LRMin}, {"lr_start", c.LRStart}} {
		if !(f.rate >= 0 && f.rate <= c.LR) {
			return fail(f.key, "%v; use a rate from 0 to lr, which is %v", f.rate, c.LR)
		}
	}
	switch {
	case c.LRWarmup >= c.Epochs:
		return fail("lr_warmup", "%d; the run has %d epochs, and one at least must follow the warm-up", c.LRWarmup, c.Epochs)
	case c.Schedule == CosineRestarts && c.LRPeriod == 0:
		return fail("lr_period", "%s needs a number of epochs, e.g. 10", CosineRestarts)
	case c.LRPeriodGrowth < 1 || c.LRPeriodGrowth > maxEpochs:
		return fail("lr_period_growth", "%d; use a whole number of at least 1", c.LRPeriodGrowth)
	case !isFinite(c.LRAlpha) || c.LRAlpha < 0:
		return fail("lr_alpha", "%v; use a number of at least 0", c.LRAlpha)
	case !isFinite(c.LRBeta) || c.LRBeta < 0:
		return fail("lr_beta", "%v; use a number of at least 0", c.LRBeta)
	case !isFinite(c.LRWaves) || c.LRWaves < 0:
		return fail("lr_waves", "%v; use a number of at least 0, e.g. 0.5", c.LRWaves)
	case !(c.LRDecay > 0 && c.LRDecay <= 1):
		return fail("lr_decay", "%v; use a number above 0 and up to 1, e.g. 0.8", c.LRDecay)
	}
	d := DefaultConfig()
	defaults := d.settings()
	for i, s := range c.settings() {
		users := scheduleOf[s.key]
		if users != nil && !slices.Contains(users, c.Schedule) && !s.value.Equal(defaults[i].value) {
			return fail(s.key, "%v is set, but the schedule is %s; it belongs to: %s", s.value, c.Schedule, strings.Join(users, ", "))
		}
	}
	return nil
}
