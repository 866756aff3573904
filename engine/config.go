package engine

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/engine/rundir"
)

// Config is everything that decides a run's result, as config.json holds it.
// How many threads compute it and where it is written are not part of it.
//
// A file that leaves a setting out means its default. Those tagged omitempty
// are left out where they have it: a run that uses none of them is written as
// it was before there were such settings.
type Config struct {
	Arch        string  `json:"arch"`         // network name, e.g. "resnet-20"
	Shortcut    string  `json:"shortcut"`     // "A" or "B"
	Data        string  `json:"data"`         // data set name, e.g. "cifar10"
	Trainable   string  `json:"trainable"`    // trainable set, see arch.TrainableSets
	Epochs      int     `json:"epochs"`       // passes over the training split
	Batch       int     `json:"batch"`        // examples a step; an epoch's incomplete last batch is left out
	LR          float64 `json:"lr"`           // learning rate, the schedule's largest
	LRDrops     []int   `json:"lr_drops"`     // of Step: epochs, counted from 0, at whose start the rate is divided by 10
	Momentum    float64 `json:"momentum"`     // of SGD
	WeightDecay float64 `json:"weight_decay"` // of everything trained; of γ and β only with BNWeightDecay
	Seed        uint64  `json:"seed"`         // of weights, shuffling and augmentation
	Subset      int     `json:"subset"`       // examples of the training split that are used; 0 for all
	Augment     bool    `json:"augment"`      // flip and shift (or randomly crop) training pictures
	WithStats   bool    `json:"with_stats"`   // store running statistics in ckpt.bnz

	TrackGradients bool `json:"track_gradients,omitempty"` // EpochMetrics.Gradients are measured; left out of ckpt.bnz, whose model is the same

	// Variants of the network, as arch.Options has them.
	Stem    string  `json:"stem,omitempty"`     // of an ImageNet ResNet: "imagenet" where missing, or "cifar"
	Width   float64 `json:"width,omitempty"`    // times as many channels of each convolution as its name says
	BN      string  `json:"bn,omitempty"`       // "none" for a network without BatchNorm
	BNEvery int     `json:"bn_every,omitempty"` // BatchNorm after the first of so many convolutions alone
	NoScale string  `json:"no_scale,omitempty"` // BatchNorms whose γ is fixed at 1: names or patterns, by commas
	NoShift string  `json:"no_shift,omitempty"` // those whose β is fixed at 0

	Init      string `json:"init,omitempty"` // initial values, as nn.Initialisers names them
	GammaInit string `json:"gamma_init,omitempty"`
	BetaInit  string `json:"beta_init,omitempty"`

	Optimizer string  `json:"optimizer,omitempty"`  // "sgd", "adam" or "adamw"
	Nesterov  bool    `json:"nesterov,omitempty"`   // Nesterov's momentum, of SGD
	AdamBeta1 float64 `json:"adam_beta1,omitempty"` // decay of the mean gradient, of Adam and AdamW
	AdamBeta2 float64 `json:"adam_beta2,omitempty"` // decay of the mean squared gradient
	AdamEps   float64 `json:"adam_eps,omitempty"`   // added to that mean's root

	LabelSmoothing float64 `json:"label_smoothing,omitempty"` // share of the target spread over all classes
	ClipNorm       float64 `json:"clip_norm,omitempty"`       // largest norm of all gradients together; 0 for no limit
	BNWeightDecay  bool    `json:"bn_weight_decay,omitempty"` // weight decay acts on γ and β too
	GammaL1        float64 `json:"gamma_l1,omitempty"`        // penalties on γ and β, added to the loss
	GammaL2        float64 `json:"gamma_l2,omitempty"`
	BetaL1         float64 `json:"beta_l1,omitempty"`
	BetaL2         float64 `json:"beta_l2,omitempty"`
	BNMomentum     float64 `json:"bn_momentum,omitempty"` // weight of a batch's statistics in the running ones
	BNEps          float64 `json:"bn_eps,omitempty"`      // what BatchNorm adds to a variance

	Schedule       string  `json:"schedule,omitempty"`         // of the learning rate: "constant", "step", ...
	LRPerStep      bool    `json:"lr_per_step,omitempty"`      // the rate changes each step, not each epoch
	LRWarmup       int     `json:"lr_warmup,omitempty"`        // epochs of linear warm-up before the schedule
	LRMin          float64 `json:"lr_min,omitempty"`           // of Cosine, CosineRestarts and RampExponential
	LRPeriod       int     `json:"lr_period,omitempty"`        // of CosineRestarts: epochs to the first restart
	LRPeriodGrowth int     `json:"lr_period_growth,omitempty"` // of CosineRestarts: each period is that many times the last
	LRAlpha        float64 `json:"lr_alpha,omitempty"`         // of LinearCosine
	LRBeta         float64 `json:"lr_beta,omitempty"`          // of LinearCosine
	LRWaves        float64 `json:"lr_waves,omitempty"`         // of LinearCosine: cosine waves in the run
	LRStart        float64 `json:"lr_start,omitempty"`         // of RampExponential: the first epoch's rate
	LRRamp         int     `json:"lr_ramp,omitempty"`          // of RampExponential: epochs from LRStart to LR
	LRSustain      int     `json:"lr_sustain,omitempty"`       // of RampExponential: epochs that stay at LR
	LRDecay        float64 `json:"lr_decay,omitempty"`         // of RampExponential: factor of each epoch after those

	// Which training examples, and with what labels: dataset.Selection says how.
	SubsetPerClass int  `json:"subset_per_class,omitempty"` // examples of each class that are used; 0 for all
	Validation     int  `json:"validation,omitempty"`       // examples held out of training and measured each epoch
	RandomLabels   bool `json:"random_labels,omitempty"`    // train on labels drawn uniformly

	// How pictures become inputs.
	Normalise  string  `json:"normalise,omitempty"`  // "channel", "pixel" or "none", see dataset.Normalisation
	Brightness float64 `json:"brightness,omitempty"` // augmentation: largest change, of a range of 1
	NoFlip     bool    `json:"no_flip,omitempty"`    // augmentation never mirrors
	ImageSize  int     `json:"image_size,omitempty"` // side of an image folder's pictures; 0 for other data
	Crop       string  `json:"crop,omitempty"`       // of an image folder: "random-resized" or "centre", see dataset.Crop

	Activations string `json:"activations,omitempty"` // how a step keeps convolutions' outputs: "float32" or "bf16"
}

// DefaultConfig trains a small ResNet on the embedded sample: under two
// minutes on two cores.
func DefaultConfig() Config {
	return Config{
		Arch: "resnet-14", Shortcut: string(arch.OptionB), Width: 1, Data: "sample", Trainable: string(arch.BN),
		Epochs: 15, Batch: 128, LR: 0.1, LRDrops: []int{10, 13}, Momentum: 0.9, WeightDecay: 1e-4,
		Seed: 1, Augment: true,
		Init: nn.DefaultInitialisers.Weights, GammaInit: nn.DefaultInitialisers.Gamma, BetaInit: nn.DefaultInitialisers.Beta,
		Optimizer: SGD, AdamBeta1: 0.9, AdamBeta2: 0.999, AdamEps: 1e-8,
		BNWeightDecay: true, BNMomentum: 0.1, BNEps: nn.DefaultEps,
		Schedule: Step, LRPeriodGrowth: 1, LRBeta: 0.001, LRWaves: 0.5, LRDecay: 0.8,
		Normalise: string(dataset.PerChannel), Crop: string(dataset.RandomResized), Activations: Float32,
	}
}

// ConfigError says which setting cannot be used.
type ConfigError struct {
	Field  string // JSON key, e.g. "lr_drops"
	Reason string // what is wrong and what would be right
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.Reason }

func fail(field, format string, args ...any) error {
	return &ConfigError{field, fmt.Sprintf(format, args...)}
}

// Validate checks the settings before any data is read; the error is a
// *ConfigError. Whether a batch fits into the training split is known only
// to Train.
func (c *Config) Validate() error {
	// Any possible picture will do: only the name and its variants are in question.
	net, err := c.Network(arch.Shape{C: 3, H: 32, W: 32}, 10)
	if err != nil {
		return err
	}
	set, err := arch.ParseTrainableSet(c.Trainable)
	if err != nil {
		return fail("trainable", "%v", err)
	}
	if set != arch.Nothing && set.Parameters(net) == 0 {
		return fail("trainable", "%q trains nothing: this %s has no such parameters", c.Trainable, c.Arch)
	}
	var unknown *nn.InitialiserError
	if err := c.initialisers().Check(); errors.As(err, &unknown) {
		return fail(map[string]string{"weights": "init", "gamma": "gamma_init", "beta": "beta_init"}[unknown.Of], "%v", err)
	}
	switch {
	case c.Epochs < 1 || c.Epochs > maxEpochs:
		return fail("epochs", "%d; 1 to %d are possible", c.Epochs, maxEpochs)
	case c.Batch < 2 || c.Batch > maxBatch:
		return fail("batch", "%d; 2 to %d are possible (BatchNorm needs more than one example)", c.Batch, maxBatch)
	case !isFinite(c.LR) || c.LR <= 0 || c.LR > math.MaxFloat32:
		return fail("lr", "%v; use a positive number, e.g. 0.1", c.LR)
	case !(c.Momentum >= 0 && c.Momentum < 1):
		return fail("momentum", "%v; use a number of at least 0 and below 1", c.Momentum)
	case !isFinite(c.WeightDecay) || c.WeightDecay < 0 || c.WeightDecay > 1:
		return fail("weight_decay", "%v; use a number from 0 to 1, e.g. 1e-4", c.WeightDecay)
	}
	for i, d := range c.LRDrops {
		if d < 1 || d > maxEpochs {
			return fail("lr_drops", "epoch %d; epochs from 1 on are possible", d)
		}
		if i > 0 && d <= c.LRDrops[i-1] {
			return fail("lr_drops", "epoch %d follows %d; use ascending epochs, e.g. 80,120", d, c.LRDrops[i-1])
		}
	}
	return cmp.Or(c.validateData(), c.validateOptimizer(), c.validateRegularisation(), c.validateSchedule(),
		validateActivations(c.Activations))
}

// initialisers are the run's.
func (c *Config) initialisers() nn.Initialisers {
	return nn.Initialisers{Weights: c.Init, Gamma: c.GammaInit, Beta: c.BetaInit}
}

// Network builds the network for pictures of that shape; the error is a
// *ConfigError.
func (c *Config) Network(input arch.Shape, classes int) (*arch.Network, error) {
	if s := arch.Shortcut(c.Shortcut); s != arch.OptionA && s != arch.OptionB {
		return nil, fail("shortcut", "%q is neither A nor B", c.Shortcut)
	}
	if c.Width == 0 { // which arch.Options takes for 1
		return nil, fail("width", "0; use a number above 0, e.g. 0.5")
	}
	net, err := arch.Build(c.Arch, arch.Options{Input: input, Classes: classes, Shortcut: arch.Shortcut(c.Shortcut),
		Stem: arch.Stem(c.Stem), Width: c.Width, BN: c.BN, BNEvery: c.BNEvery, NoScale: c.NoScale, NoShift: c.NoShift})
	var e *arch.Error
	if !errors.As(err, &e) {
		return net, err
	}
	if e.Option != "" {
		return nil, &ConfigError{e.Option, fmt.Sprintf("%s: %s", e.Name, e.Reason)}
	}
	return nil, &ConfigError{"arch", fmt.Sprintf("%q: %s", e.Name, e.Reason)}
}

// Limits that no real run reaches and that keep every product of two settings
// within an int.
const (
	maxEpochs = 1_000_000
	maxBatch  = 65_536
)

// setting is one field of a Config.
type setting struct {
	key      string // of JSON
	optional bool   // left out of files at its default
	value    reflect.Value
}

// settings are c's fields in their order; setting their values sets c's.
func (c *Config) settings() []setting {
	v := reflect.ValueOf(c).Elem()
	list := make([]setting, v.NumField())
	for i := range list {
		key, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		list[i] = setting{key, options == "omitempty", v.Field(i)}
	}
	return list
}

// All goes over every setting in the order of the fields, those that files leave
// out included: its key in config.json and its value.
func (c Config) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, s := range c.settings() {
			if !yield(s.key, s.value.Interface()) {
				return
			}
		}
	}
}

// difference names the first setting in which c and d differ, Epochs aside,
// and both values; field is "" where none does.
func (c *Config) difference(d *Config) (field string, was, now any) {
	others := d.settings()
	for i, s := range c.settings() {
		was, now := s.value.Interface(), others[i].value.Interface()
		// As text an empty list is one whether it is nil or not.
		if s.key != "epochs" && fmt.Sprint(was) != fmt.Sprint(now) {
			return s.key, was, now
		}
	}
	return "", nil, nil
}

// MarshalJSON writes config.json's object.
func (c Config) MarshalJSON() ([]byte, error) {
	d := DefaultConfig()
	defaults := d.settings()
	b := []byte{'{'}
	for i, s := range c.settings() {
		if s.optional && reflect.DeepEqual(s.value.Interface(), defaults[i].value.Interface()) {
			continue
		}
		value, err := json.Marshal(s.value.Interface())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.key, err)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, s.key), ':')
		b = append(b, value...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads config.json's object. A key that is no setting is an
// error.
func (c *Config) UnmarshalJSON(b []byte) error {
	type plain Config // without this method
	p := plain(DefaultConfig())
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return err
	}
	*c = Config(p)
	return nil
}

// ReadConfig reads a run's config.json. The error is rundir.ErrNoRun where there
// is none, and *rundir.DamagedError where it does not hold possible settings.
func ReadConfig(path string) (Config, error) {
	var c Config
	b, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("%w: there is no %s", rundir.ErrNoRun, path)
		}
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, &rundir.DamagedError{Path: path, Reason: err.Error()}
	}
	if err := c.Validate(); err != nil {
		return c, &rundir.DamagedError{Path: path, Reason: err.Error()}
	}
	return c, nil
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// encode is config.json's content.
func (c *Config) encode() ([]byte, error) {
	b, err := json.MarshalIndent(c, "", "  ")
	return append(b, '\n'), err
}
