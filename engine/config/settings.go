package config

import (
	"slices"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// Optimizers, schedules of the learning rate, types of activations and reactions to
// divergence, as settings name them.
const (
	SGD   = "sgd"
	Adam  = "adam"
	AdamW = "adamw"

	Constant        = "constant"
	Step            = "step"
	Cosine          = "cosine"
	CosineRestarts  = "cosine-restarts"
	LinearCosine    = "linear-cosine"
	RampExponential = "ramp-exponential"

	Float32 = "float32"
	BF16    = "bf16" // rounded to bfloat16 (8 significant bits), in half the memory

	Stop     = "stop"
	Rollback = "rollback" // back to the last complete epoch, with half the learning rate
)

// If a run starts from a model, its Config.Start is one of these prefixes, followed by the
// SHA-256 of the model's file. With StartFrom, the run starts from the model's parameters.
// With StartLike, it trains the model's network, without its pruned channels, from new
// parameters. With both, the other settings of the group Network describe the model's network.
const (
	StartFrom = "from "
	StartLike = "like "
)

// Limits far above the settings of real runs. They keep sums and products of these settings
// from overflowing an int.
const (
	maxEpochs    = 1_000_000
	maxBatch     = 65_536
	maxImageSize = 1024
)

// Conditions under which some settings have an effect.
var (
	needsSGD      = Need{"optimizer", []string{SGD}}
	needsAdam     = Need{"optimizer", []string{Adam, AdamW}}
	needsRestarts = Need{"schedule", []string{CosineRestarts}}
	needsLinear   = Need{"schedule", []string{LinearCosine}}
	needsRamp     = Need{"schedule", []string{RampExponential}}
	needsRollback = Need{"on_divergence", []string{Rollback}}
	needsAugment  = Need{"augment", []string{"true"}}
)

// Settings declares all settings, in the order of the help and of docs/settings.md. To add
// a setting, add an entry here and a field to Config.
var Settings = []*Setting{
	{Key: "arch", Group: Network, Field: func(c *Config) any { return &c.Arch },
		Default: "resnet-14", Values: networks(), Form: "resnet-N, wrn-N-K, resnet-N-bottleneck, resnetA-B-C-D, resnetA-B-C-D-bottleneck",
		Meaning: "network"},
	{Key: "shortcut", Group: Network, Field: func(c *Config) any { return &c.Shortcut },
		Default: string(arch.OptionB), Values: []string{string(arch.OptionB), string(arch.OptionA), string(arch.OptionACentred)},
		Meaning: "shortcut where the shape changes: B is a 1×1 convolution; A subsamples and appends zero channels; A-centred subsamples and adds half of the zero channels before the others and half after them"},
	{Key: "stem", Group: Network, Field: func(c *Config) any { return &c.Stem },
		Values:  []string{arch.ImageNetStem, arch.CIFARStem},
		Meaning: "how an ImageNet ResNet begins: a 7×7 convolution and a max pool (imagenet, the default) or a 3×3 convolution (cifar)"},
	{Key: "width", Group: Network, Field: func(c *Config) any { return &c.Width },
		Default: 1, Range: above(0).example("0.5"),
		Meaning: "factor on the output channels of every convolution; the product is rounded to a whole number of at least 1"},
	{Key: "bn", Group: Network, Field: func(c *Config) any { return &c.BN },
		Values:  []string{arch.NoBN},
		Meaning: "none removes all BatchNorms and gives convolutions biases"},
	{Key: "bn_every", Group: Network, Field: func(c *Config) any { return &c.BNEvery },
		Range:   between(0, maxEpochs).example("2"),
		Meaning: "keep BatchNorm only after the first convolution, one in every K convolutions that follow, and shortcuts; 0 and 1 keep all"},
	{Key: "no_scale", Group: Network, Field: func(c *Config) any { return &c.NoScale },
		Form:    "names or patterns, separated by commas",
		Meaning: "BatchNorms whose γ is fixed at 1, e.g. 'blocks.*.bn2', or '*' for all"},
	{Key: "no_shift", Group: Network, Field: func(c *Config) any { return &c.NoShift },
		Form:    "names or patterns, separated by commas",
		Meaning: "BatchNorms whose β is fixed at 0"},

	{Key: "start", NoFlag: true, Group: Network, Field: func(c *Config) any { return &c.Start },
		Form:    "from or like, and a SHA-256",
		Meaning: "model whose parameters the run starts from (--from), or whose network, without its pruned channels, it trains from new parameters (--like)"},

	{Key: "trainable", Group: Trainable, Field: func(c *Config) any { return &c.Trainable },
		Default: string(arch.BN), Values: trainableSets(), Form: "random-K, bn+random-K",
		Meaning: "parameters that are trained"},
	{Key: "seed", Group: Trainable, Field: func(c *Config) any { return &c.Seed },
		Default: 1,
		Meaning: "seed of initial values, shuffling and augmentation"},
	{Key: "init", Group: Trainable, Field: func(c *Config) any { return &c.Init },
		Default: nn.DefaultInitialisers.Weights, Values: nn.WeightInitialisers,
		Meaning: "initial weights of convolutions and of the output layer"},
	{Key: "gamma_init", Group: Trainable, Field: func(c *Config) any { return &c.GammaInit },
		Default: nn.DefaultInitialisers.Gamma, Values: nn.GammaInitialisers, Form: "constant:X",
		Meaning: "initial γ; uniform is from 0 to 1, uniform-symmetric from -1 to 1"},
	{Key: "beta_init", Group: Trainable, Field: func(c *Config) any { return &c.BetaInit },
		Default: nn.DefaultInitialisers.Beta, Values: nn.BetaInitialisers, Form: "constant:X",
		Aliases: map[string]string{"0": "zero", "1": "one"},
		Meaning: "initial β"},

	{Key: "epochs", Group: Optimization, Field: func(c *Config) any { return &c.Epochs },
		Default: 15, Range: between(1, maxEpochs),
		Meaning: "passes over the training split"},
	{Key: "batch", Group: Optimization, Field: func(c *Config) any { return &c.Batch },
		Default: 128, Range: between(2, maxBatch),
		Meaning: "pictures in each step; an epoch leaves out an incomplete last batch"},
	{Key: "optimizer", Group: Optimization, Field: func(c *Config) any { return &c.Optimizer },
		Default: SGD, Values: []string{SGD, Adam, AdamW},
		Meaning: "optimizer, as PyTorch defines it"},
	{Key: "nesterov", Group: Optimization, Field: func(c *Config) any { return &c.Nesterov },
		Needs:   needsSGD,
		Meaning: "use Nesterov's momentum"},
	{Key: "momentum", Group: Optimization, Field: func(c *Config) any { return &c.Momentum },
		Default: 0.9, Range: between(0, 1).excludeMax().example("0.9"), Needs: needsSGD, AllowUnused: true,
		Meaning: "momentum"},
	{Key: "adam_beta1", Group: Optimization, Field: func(c *Config) any { return &c.AdamBeta1 },
		Default: 0.9, Range: between(0, 1).excludeMax().example("0.9"), Needs: needsAdam,
		Meaning: "decay of the mean gradient"},
	{Key: "adam_beta2", Group: Optimization, Field: func(c *Config) any { return &c.AdamBeta2 },
		Default: 0.999, Range: between(0, 1).excludeMax().example("0.999"), Needs: needsAdam,
		Meaning: "decay of the mean squared gradient"},
	{Key: "adam_eps", Group: Optimization, Field: func(c *Config) any { return &c.AdamEps },
		Default: 1e-8, Range: between(0, 1).excludeMin().example("1e-8"), Needs: needsAdam,
		Meaning: "number added to the root of the mean squared gradient"},
	{Key: "weight_decay", Group: Optimization, Field: func(c *Config) any { return &c.WeightDecay },
		Default: 1e-4, Range: between(0, 1).example("1e-4"),
		Meaning: "weight decay of all trained parameters"},

	{Key: "label_smoothing", Group: Regularisation, Field: func(c *Config) any { return &c.LabelSmoothing },
		Range:   between(0, 1).example("0.1"),
		Meaning: "share of each label to spread over all classes"},
	{Key: "clip_norm", Group: Regularisation, Field: func(c *Config) any { return &c.ClipNorm },
		Range:   atLeast(0).example("1"),
		Meaning: "limit of the norm of the whole gradient; 0 for no limit"},
	{Key: "bn_weight_decay", Group: Regularisation, Field: func(c *Config) any { return &c.BNWeightDecay },
		Default: true,
		Meaning: "apply weight decay to γ and β too"},
	{Key: "gamma_l1", Group: Regularisation, Field: func(c *Config) any { return &c.GammaL1 },
		Range:   between(0, 1).example("1e-4"),
		Meaning: "factor of Σ|γ| in the loss, as in network slimming"},
	{Key: "gamma_l2", Group: Regularisation, Field: func(c *Config) any { return &c.GammaL2 },
		Range:   between(0, 1).example("1e-4"),
		Meaning: "factor of ½·Σγ² in the loss"},
	{Key: "beta_l1", Group: Regularisation, Field: func(c *Config) any { return &c.BetaL1 },
		Range:   between(0, 1).example("1e-4"),
		Meaning: "factor of Σ|β| in the loss"},
	{Key: "beta_l2", Group: Regularisation, Field: func(c *Config) any { return &c.BetaL2 },
		Range:   between(0, 1).example("1e-4"),
		Meaning: "factor of ½·Σβ² in the loss"},
	{Key: "bn_momentum", Group: Regularisation, Field: func(c *Config) any { return &c.BNMomentum },
		Default: 0.1, Range: between(0, 1).excludeMin().example("0.1"),
		Meaning: "weight of a batch's statistics in the running statistics"},
	{Key: "bn_eps", Group: Regularisation, Field: func(c *Config) any { return &c.BNEps },
		Default: nn.DefaultEps, Range: between(0, 1).excludeMin().example("1e-5"),
		Meaning: "number that BatchNorm adds to a variance"},

	{Key: "lr", Group: LearningRate, Field: func(c *Config) any { return &c.LR },
		Default: 0.1, Range: above(0).example("0.1"),
		Meaning: "base learning rate, which only linear-cosine exceeds"},
	{Key: "schedule", Group: LearningRate, Field: func(c *Config) any { return &c.Schedule },
		Default: Step, Values: []string{Constant, Step, Cosine, CosineRestarts, LinearCosine, RampExponential},
		Meaning: "schedule of the learning rate"},
	{Key: "lr_drops", Group: LearningRate, Field: func(c *Config) any { return &c.LRDrops },
		Needs: Need{"schedule", []string{Step}}, AllowUnused: true,
		Meaning: "epochs, counted from 0, at whose start the rate is divided by 10, or the word none; by default 2/3 and 13/15 of the number of epochs"},
	{Key: "lr_per_step", Group: LearningRate, Field: func(c *Config) any { return &c.LRPerStep },
		Meaning: "change the rate at each step instead of each epoch"},
	{Key: "lr_warmup", Group: LearningRate, Field: func(c *Config) any { return &c.LRWarmup },
		Range:   between(0, maxEpochs),
		Meaning: "epochs of linear warm-up before the schedule; lr_drops counts them too"},
	{Key: "lr_min", Group: LearningRate, Field: func(c *Config) any { return &c.LRMin },
		Range: atLeast(0), Needs: Need{"schedule", []string{Cosine, CosineRestarts, RampExponential}},
		Meaning: "lowest rate of the schedule"},
	{Key: "lr_period", Group: LearningRate, Field: func(c *Config) any { return &c.LRPeriod },
		Range: between(0, maxEpochs), Needs: needsRestarts,
		Meaning: "epochs to the first restart"},
	{Key: "lr_period_growth", Group: LearningRate, Field: func(c *Config) any { return &c.LRPeriodGrowth },
		Default: 1, Range: between(1, maxEpochs), Needs: needsRestarts,
		Meaning: "ratio of each period to the previous one"},
	{Key: "lr_alpha", Group: LearningRate, Field: func(c *Config) any { return &c.LRAlpha },
		Range: atLeast(0), Needs: needsLinear,
		Meaning: "alpha of TensorFlow's linear_cosine_decay"},
	{Key: "lr_beta", Group: LearningRate, Field: func(c *Config) any { return &c.LRBeta },
		Default: 0.001, Range: atLeast(0), Needs: needsLinear,
		Meaning: "beta of linear_cosine_decay"},
	{Key: "lr_waves", Group: LearningRate, Field: func(c *Config) any { return &c.LRWaves },
		Default: 0.5, Range: atLeast(0).example("0.5"), Needs: needsLinear,
		Meaning: "num_periods of linear_cosine_decay: number of cosine waves in the run"},
	{Key: "lr_start", Group: LearningRate, Field: func(c *Config) any { return &c.LRStart },
		Range: atLeast(0), Needs: needsRamp,
		Meaning: "first rate"},
	{Key: "lr_ramp", Group: LearningRate, Field: func(c *Config) any { return &c.LRRamp },
		Range: between(0, maxEpochs), Needs: needsRamp,
		Meaning: "epochs in which the rate rises from lr_start to lr"},
	{Key: "lr_sustain", Group: LearningRate, Field: func(c *Config) any { return &c.LRSustain },
		Range: between(0, maxEpochs), Needs: needsRamp,
		Meaning: "epochs in which the rate stays at lr"},
	{Key: "lr_decay", Group: LearningRate, Field: func(c *Config) any { return &c.LRDecay },
		Default: 0.8, Range: between(0, 1).excludeMin().example("0.8"), Needs: needsRamp,
		Meaning: "factor by which the rate, less lr_min, is multiplied in each later epoch"},

	{Key: "data", Group: Data, Field: func(c *Config) any { return &c.Data },
		Default: "sample", Values: dataset.Names(), Form: "the path of a folder or archive",
		Meaning: "data set"},
	{Key: "subset", Group: Data, Field: func(c *Config) any { return &c.Subset },
		Range:   atLeast(0),
		Meaning: "number of training pictures to use, balanced over classes; 0 for all"},
	{Key: "subset_per_class", Group: Data, Field: func(c *Config) any { return &c.SubsetPerClass },
		Range:   atLeast(0),
		Meaning: "number of training pictures of each class to use; 0 for all"},
	{Key: "validation", Group: Data, Field: func(c *Config) any { return &c.Validation },
		Range:   atLeast(0),
		Meaning: "number of training pictures, chosen by the seed, to hold out for measuring loss and accuracy after each epoch"},
	{Key: "random_labels", Group: Data, Field: func(c *Config) any { return &c.RandomLabels },
		Meaning: "train on labels drawn uniformly; the test and validation splits keep their labels"},
	{Key: "normalise", Group: Data, Field: func(c *Config) any { return &c.Normalise },
		Default: string(dataset.PerChannel), Values: []string{string(dataset.PerChannel), string(dataset.PerPixel), string(dataset.Unnormalised)},
		Meaning: "how pictures are normalised: with the mean and standard deviation of each channel (channel), with the mean picture (pixel), or not at all (none)"},
	{Key: "augment", Flag: "no-augment", Group: Data, Field: func(c *Config) any { return &c.Augment },
		Default: true,
		Meaning: "augment training pictures by random flips (not of digits) and by shifts of up to 4 pixels or, in an image folder with crop random-resized, by random crops"},
	{Key: "brightness", Group: Data, Field: func(c *Config) any { return &c.Brightness },
		Range: between(0, 1).example("0.25"), Needs: needsAugment,
		Meaning: "make training pictures brighter or darker by up to this share of the range from black to white"},
	{Key: "no_flip", Group: Data, Field: func(c *Config) any { return &c.NoFlip },
		Needs:   needsAugment,
		Meaning: "do not flip training pictures"},
	{Key: "image_size", Group: Data, Field: func(c *Config) any { return &c.ImageSize },
		Range:   between(0, maxImageSize),
		Meaning: "side in pixels of the squares to which the pictures of an image folder are resized; 0 for other data"},
	{Key: "crop", Group: Data, Field: func(c *Config) any { return &c.Crop },
		Default: string(dataset.RandomResized), Values: []string{string(dataset.RandomResized), string(dataset.CentreCrop)}, Needs: Need{Key: "image_size"},
		Meaning: "how the pictures of an image folder become squares: training with augmentation shows a random part (random-resized) or the centre (centre); otherwise the centre is shown"},

	{Key: "activations", Group: Run, Field: func(c *Config) any { return &c.Activations },
		Default: Float32, Values: []string{Float32, BF16},
		Meaning: "type in which training stores the outputs of convolutions and pools; all computation is in float32"},
	{Key: "on_divergence", Group: Run, Field: func(c *Config) any { return &c.OnDivergence },
		Default: Stop, Values: []string{Stop, Rollback},
		Meaning: "when a loss, a parameter or a statistic is no longer finite: stop, or go back to the last complete epoch and continue with half the learning rate (rollback); with rollback, a resumed run repeats the epoch that was interrupted"},
	{Key: "max_rollbacks", Group: Run, Field: func(c *Config) any { return &c.MaxRollbacks },
		Default: 3, Range: between(1, 100), Needs: needsRollback,
		Meaning: "number of rollbacks after which a run that diverges again stops"},
	{Key: "track_gradients", Group: Run, Field: func(c *Config) any { return &c.TrackGradients },
		Meaning: "write the mean |gradient| of each epoch, by kind of parameter and layer, to metrics.jsonl; each step takes as long as with trainable all, and results do not change"},
	{Key: "with_stats", Group: Run, Field: func(c *Config) any { return &c.WithStats },
		Meaning: "store running statistics in the checkpoint"},
}

// networks returns names for help and completion: common CIFAR ResNets, and all networks
// with a fixed name.
func networks() []string {
	isPattern := func(name string) bool { return strings.ToLower(name) != name }
	return append([]string{"resnet-14", "resnet-20", "resnet-56", "resnet-110", "wrn-14-4"}, slices.DeleteFunc(arch.Names(), isPattern)...)
}

// trainableSets returns the names of trainable sets for help and completion.
func trainableSets() []string {
	var names []string
	for _, s := range arch.TrainableSets {
		names = append(names, string(s))
	}
	return append(names, "random-2", "bn+random-2")
}
