// Package config holds the settings of a run: their meanings, their possible values, and
// how they are written to files.
//
// The table [Settings] has one entry for each setting: its default, its possible values, its
// key in files, and its flag with the help. docs/settings.md is generated from it. Validate also
// checks settings against each other.
package config

import (
	"fmt"

	"bnkit/engine/arch"
)

// Config holds the settings that, together with the data, determine the result of a run.
// config.json stores them. The number of threads and the location of files are not
// settings. [Settings] describes each field.
type Config struct {
	Arch     string
	Shortcut string
	arch.Variants
	Start string // "" to train Arch from new parameters; otherwise see StartFrom and StartLike

	Trainable string
	Seed      uint64
	Init      string
	GammaInit string
	BetaInit  string

	Epochs      int
	Batch       int
	Optimizer   string
	Nesterov    bool
	Momentum    float64
	AdamBeta1   float64
	AdamBeta2   float64
	AdamEps     float64
	WeightDecay float64

	LabelSmoothing float64
	ClipNorm       float64
	BNWeightDecay  bool
	GammaL1        float64
	GammaL2        float64
	BetaL1         float64
	BetaL2         float64
	BNMomentum     float64
	BNEps          float64

	LR             float64
	Schedule       string
	LRDrops        []int // nil for the default, see Resolve; empty for none
	LRPerStep      bool
	LRWarmup       int
	LRMin          float64
	LRPeriod       int
	LRPeriodGrowth int
	LRAlpha        float64
	LRBeta         float64
	LRWaves        float64
	LRStart        float64
	LRRamp         int
	LRSustain      int
	LRDecay        float64

	Data           string
	Subset         int
	SubsetPerClass int
	Validation     int
	RandomLabels   bool
	Normalise      string
	Augment        bool
	Brightness     float64
	NoFlip         bool
	ImageSize      int
	Crop           string

	Activations    string
	OnDivergence   string
	MaxRollbacks   int
	TrackGradients bool
	WithStats      bool
}

// Default returns the default settings, which train a small ResNet on the embedded
// sample in under two minutes on two cores.
func Default() Config {
	var c Config
	for _, s := range Settings {
		s.reset(&c)
	}
	return c
}

// Resolve sets LRDrops to its default if it is nil: with schedule "step", two thirds and
// thirteen fifteenths of the epochs, rounded; with other schedules, an empty list. In a short
// run, it leaves out duplicates and drops at the end of the run.
func (c *Config) Resolve() {
	if c.LRDrops != nil {
		return
	}
	c.LRDrops = []int{}
	if c.Schedule != Step {
		return
	}
	last := 0
	for _, fifteenths := range []int{10, 13} {
		drop := (2*fifteenths*c.Epochs + 15) / 30
		if drop > last && drop < c.Epochs {
			c.LRDrops = append(c.LRDrops, drop)
			last = drop
		}
	}
}

// Difference returns the key of the first setting in which c and d differ, except Epochs,
// and its values in c and d as text. The key is "" if they do not differ.
func (c *Config) Difference(d *Config) (key, inC, inD string) {
	for _, s := range Settings {
		if inC, inD := s.Text(c), s.Text(d); s.Key != "epochs" && inC != inD {
			return s.Key, inC, inD
		}
	}
	return "", "", ""
}

// Error reports a setting that cannot be used.
type Error struct {
	Key    string // of the setting, e.g. "lr_drops"
	Reason string // what is wrong and what to use instead
}

func (e *Error) Error() string { return e.Key + ": " + e.Reason }

// WrongUsage reports that the user's settings are at fault.
func (e *Error) WrongUsage() bool { return true }

// fail returns an *Error about the setting with the given key.
func fail(key, format string, args ...any) error {
	return &Error{key, fmt.Sprintf(format, args...)}
}
