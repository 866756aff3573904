package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// addNetworkFlags makes flags of the network.
func addNetworkFlags(f *pflag.FlagSet, d *engine.Config) {
	f.StringVar(&d.Arch, "arch", d.Arch, "network")
	f.StringVar(&d.Shortcut, "shortcut", d.Shortcut, "shortcut where the shape changes: B (1×1 convolution) or A (subsample and pad)")
	f.StringVar(&d.Stem, "stem", d.Stem, "of an ImageNet ResNet: imagenet (7×7 convolution and max pool, the default) or cifar (3×3)")
	f.Float64Var(&d.Width, "width", d.Width, "multiplies the channels of every convolution, rounded, at least 1, e.g. 0.125")
	f.StringVar(&d.BN, "bn", d.BN, "none: a network without BatchNorm; its convolutions have biases")
	f.IntVar(&d.BNEvery, "bn-every", d.BNEvery, "BatchNorm after the first convolution, and of those after it the first of every so many")
	f.StringVar(&d.NoScale, "no-scale", d.NoScale, "BatchNorms whose γ is fixed at 1: names or patterns, by commas, e.g. 'blocks.*.bn2' or '*'")
	f.StringVar(&d.NoShift, "no-shift", d.NoShift, "BatchNorms whose β is fixed at 0, likewise")
}

// addTrainableFlags makes flags of what is trained, and how initial values are
// drawn.
func addTrainableFlags(f *pflag.FlagSet, d *engine.Config) {
	f.StringVar(&d.Trainable, "trainable", d.Trainable, "what is trained: "+arch.TrainableNames())
	f.Uint64Var(&d.Seed, "seed", d.Seed, "seed of weights, shuffling and augmentation")
	f.StringVar(&d.Init, "init", d.Init, "initial weights: he-normal, he-uniform, orthogonal, binary")
	f.StringVar(&d.GammaInit, "gamma-init", d.GammaInit, "initial γ: uniform, one, uniform-symmetric, normal, constant:X")
	f.StringVar(&d.BetaInit, "beta-init", d.BetaInit, "initial β: zero, one (or 0, 1), constant:X")
}

// addOptimizerFlags makes flags of how training minimises what.
func addOptimizerFlags(f *pflag.FlagSet, d *engine.Config) {
	f.IntVar(&d.Epochs, "epochs", d.Epochs, "passes over the training split")
	f.IntVar(&d.Batch, "batch", d.Batch, "pictures a step")
	f.StringVar(&d.Optimizer, "optimizer", d.Optimizer, "optimizer: "+strings.Join(engine.Optimizers, ", "))
	f.Float64Var(&d.Momentum, "momentum", d.Momentum, "momentum of SGD")
	f.BoolVar(&d.Nesterov, "nesterov", d.Nesterov, "Nesterov's momentum, of SGD")
	f.Float64Var(&d.AdamBeta1, "adam-beta1", d.AdamBeta1, "decay of the mean gradient, of adam and adamw")
	f.Float64Var(&d.AdamBeta2, "adam-beta2", d.AdamBeta2, "decay of the mean squared gradient, of adam and adamw")
	f.Float64Var(&d.AdamEps, "adam-eps", d.AdamEps, "added to that mean's root, of adam and adamw")
	f.Float64Var(&d.WeightDecay, "weight-decay", d.WeightDecay, "weight decay; adamw keeps it apart from the gradient")
}

// addScheduleFlags makes flags of how the learning rate changes.
func addScheduleFlags(f *pflag.FlagSet, d *engine.Config) {
	f.Float64Var(&d.LR, "lr", d.LR, "learning rate, the schedule's largest")
	f.StringVar(&d.Schedule, "schedule", d.Schedule, "schedule of the learning rate: "+strings.Join(engine.Schedules, ", "))
	f.IntSliceVar(&d.LRDrops, "lr-drops", d.LRDrops, "epochs at which the learning rate is divided by 10, of step")
	f.BoolVar(&d.LRPerStep, "lr-per-step", d.LRPerStep, "change the learning rate each step, not each epoch")
	f.IntVar(&d.LRWarmup, "lr-warmup", d.LRWarmup, "epochs of linear warm-up before the schedule begins")
	f.Float64Var(&d.LRMin, "lr-min", d.LRMin, "rate that cosine, cosine-restarts and ramp-exponential fall to")
	f.IntVar(&d.LRPeriod, "lr-period", d.LRPeriod, "epochs to the first restart, of cosine-restarts")
	f.IntVar(&d.LRPeriodGrowth, "lr-period-growth", d.LRPeriodGrowth, "how many times the last each further period is, of cosine-restarts")
	f.Float64Var(&d.LRAlpha, "lr-alpha", d.LRAlpha, "alpha of linear-cosine")
	f.Float64Var(&d.LRBeta, "lr-beta", d.LRBeta, "beta of linear-cosine")
	f.Float64Var(&d.LRWaves, "lr-waves", d.LRWaves, "num_periods of linear-cosine")
	f.Float64Var(&d.LRStart, "lr-start", d.LRStart, "first rate of ramp-exponential")
	f.IntVar(&d.LRRamp, "lr-ramp", d.LRRamp, "epochs from --lr-start to --lr, of ramp-exponential")
	f.IntVar(&d.LRSustain, "lr-sustain", d.LRSustain, "epochs that stay at --lr, of ramp-exponential")
	f.Float64Var(&d.LRDecay, "lr-decay", d.LRDecay, "factor of each epoch after those, of ramp-exponential")
}

// addRegularisationFlags makes flags of what else changes loss, gradients and
// BatchNorm.
func addRegularisationFlags(f *pflag.FlagSet, d *engine.Config) {
	f.BoolVar(&d.BNWeightDecay, "bn-weight-decay", d.BNWeightDecay, "weight decay acts on γ and β too")
	f.Float64Var(&d.GammaL1, "gamma-l1", d.GammaL1, "penalty on Σ|γ|, as network slimming's")
	f.Float64Var(&d.GammaL2, "gamma-l2", d.GammaL2, "penalty on ½·Σγ²")
	f.Float64Var(&d.BetaL1, "beta-l1", d.BetaL1, "penalty on Σ|β|")
	f.Float64Var(&d.BetaL2, "beta-l2", d.BetaL2, "penalty on ½·Σβ²")
	f.Float64Var(&d.LabelSmoothing, "label-smoothing", d.LabelSmoothing, "share of each label that is spread over all classes")
	f.Float64Var(&d.ClipNorm, "clip-norm", d.ClipNorm, "largest norm of all gradients together (0: no limit)")
	f.Float64Var(&d.BNMomentum, "bn-momentum", d.BNMomentum, "weight of a batch's statistics in the running ones")
	f.Float64Var(&d.BNEps, "bn-eps", d.BNEps, "what BatchNorm adds to a variance")
}

// addDataFlags makes flags of which pictures are trained on, and how they
// become inputs.
func addDataFlags(f *pflag.FlagSet, d *engine.Config) {
	f.StringVar(&d.Data, "data", d.Data, "data set, or its path")
	f.IntVar(&d.Subset, "subset", d.Subset, "train on this many pictures, balanced over classes (0: all)")
	f.IntVar(&d.SubsetPerClass, "subset-per-class", d.SubsetPerClass, "train on this many pictures of each class (0: all)")
	f.IntVar(&d.Validation, "validation", d.Validation, "hold this many training pictures out, drawn by the seed, and measure them too")
	f.BoolVar(&d.RandomLabels, "random-labels", d.RandomLabels, "train on labels drawn uniformly, to see what is memorised")
	f.IntVar(&d.ImageSize, "image-size", d.ImageSize, "side in pixels to which the pictures of an image folder are brought")
	f.StringVar(&d.Crop, "crop", d.Crop, "how: random-resized or centre")
	f.StringVar(&d.Normalise, "normalise", d.Normalise, "channel (mean and standard deviation), pixel (mean picture) or none")
	f.VarPF(inverted{&d.Augment}, "no-augment", "", "neither flip, shift nor randomly crop training pictures").NoOptDefVal = "true"
	f.BoolVar(&d.NoFlip, "no-flip", d.NoFlip, "do not mirror training pictures")
	f.Float64Var(&d.Brightness, "brightness", d.Brightness, "make training pictures brighter or darker by up to this much, of a range of 1")
}

// changeSettings sets settings to another run's, except for those that flags
// were given for; flags are settings' own.
func changeSettings(flags *pflag.FlagSet, settings *engine.Config, to engine.Config) {
	var again []func() error
	flags.Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given := list.GetSlice()
			again = append(again, func() error { return list.Replace(given) })
			return
		}
		given := f.Value.String()
		again = append(again, func() error { return f.Value.Set(given) })
	})
	*settings = to
	for _, set := range again {
		if err := set(); err != nil {
			panic(err) // a flag refuses what it took before
		}
	}
}

// checkUsed refuses a flag for what another setting leaves unused. The engine
// refuses the others; these have defaults that do not tell.
func checkUsed(c *cobra.Command, s *engine.Config) error {
	for _, f := range []struct {
		flag    string
		used    bool
		instead string
	}{
		{"lr-drops", s.Schedule == engine.Step, "--schedule " + s.Schedule},
		{"momentum", s.Optimizer == engine.SGD, "--optimizer " + s.Optimizer},
	} {
		if c.Flags().Changed(f.flag) && !f.used {
			return &usageError{c.CommandPath(), fmt.Errorf("--%s does nothing with %s: leave out one of them", f.flag, f.instead)}
		}
	}
	return nil
}

// inverted is a flag that switches a setting off.
type inverted struct{ setting *bool }

func (v inverted) Type() string     { return "bool" }
func (v inverted) IsBoolFlag() bool { return true }
func (v inverted) String() string {
	// pflag asks a zero value too.
	return strconv.FormatBool(v.setting != nil && !*v.setting)
}

func (v inverted) Set(text string) error {
	off, err := strconv.ParseBool(text)
	*v.setting = !off
	return err
}
