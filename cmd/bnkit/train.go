package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
)

// trainOptions are the train command's flags.
type trainOptions struct {
	config    engine.Config
	noAugment bool
	dataDir   string
	out       string
	threads   int
	resume    bool
	force     bool
}

func newTrainCommand(g *globalOptions) *cobra.Command {
	o := trainOptions{config: engine.DefaultConfig()}
	c := &cobra.Command{
		Use:   "train",
		Short: "Train a network and write a run directory",
		Long: `Train a network and write a run directory: config.json, metrics.jsonl (a row
an epoch), ckpt.bnz (the model, after each epoch) and resume.bnz (the state to
resume from). Without flags it trains a small ResNet's γ and β on the embedded
sample of Fashion-MNIST.

Networks: with a hyphen, resnet-N is the CIFAR ResNet of N = 6D+2 layers
(resnet-14, resnet-20, resnet-110, ...), wrn-N-K is K times as wide (wrn-14-4),
and resnet-N-bottleneck has N = 9D+2 layers in bottlenecks, 16 to 256 channels
wide (resnet-20-bottleneck); without one, resnet18, resnet34, resnet50,
resnet101, resnet152 and resnet200 are the ImageNet ResNets. vgg-11, vgg-13,
vgg-16 and vgg-19 end in one linear layer; vgg-38 is residual; convnet is a
small network for MNIST.
Data: ` + strings.Join(dataset.Names(), ", ") + `, or the path of a folder or
archive; see bnkit data --help.

SGD with momentum; weight decay acts on everything that is trained. The
learning rate is divided by 10 at the start of each epoch of --lr-drops,
counted from 0. Training accuracy is taken over the augmented batches as they
were trained on, test accuracy over the whole test split with running
statistics.

Ctrl-C stops at the next step; --resume continues, with the same result as if
nothing had happened. With --resume, flags that are not given are those of the
run; --epochs may be larger than before.

With --json: a row of metrics.jsonl for each epoch, then an object with dir,
checkpoint, parameters (trained numbers) and config.`,
		Example: `  bnkit train
  bnkit train --arch resnet-20 --data cifar10 --epochs 30 --lr-drops 15,25
  bnkit train --data cifar10 --data-dir ~/cifar-10-batches-bin --out runs/first
  bnkit train --arch vgg-16 --bn none --trainable all --data cifar10 --lr 0.01
  bnkit train --resume --out runs/first`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.config.Augment = !o.noAugment
			return runTrain(c, g, o)
		},
	}
	f, d := c.Flags(), &o.config
	f.StringVar(&d.Arch, "arch", d.Arch, "network")
	f.StringVar(&d.Shortcut, "shortcut", d.Shortcut, "shortcut where the shape changes: B (1×1 convolution) or A (subsample and pad)")
	f.StringVar(&d.Stem, "stem", "", "of an ImageNet ResNet: imagenet (7×7 convolution and max pool, the default) or cifar (3×3)")
	f.StringVar(&d.BN, "bn", "", "none: a network without BatchNorm; its convolutions have biases")
	f.IntVar(&d.BNEvery, "bn-every", 0, "BatchNorm after the first convolution, and of those after it the first of every so many")
	f.StringVar(&d.NoScale, "no-scale", "", "BatchNorms whose γ is fixed at 1: names or patterns, by commas, e.g. 'blocks.*.bn2' or '*'")
	f.StringVar(&d.NoShift, "no-shift", "", "BatchNorms whose β is fixed at 0, likewise")
	f.StringVar(&d.Data, "data", d.Data, "data set, or its path")
	f.StringVar(&o.dataDir, "data-dir", "", "folder that holds the data set (default: the cache folder)")
	f.StringVar(&d.Trainable, "trainable", d.Trainable, "what is trained: bn (γ and β) or all")
	f.IntVar(&d.Epochs, "epochs", d.Epochs, "passes over the training split")
	f.IntVar(&d.Batch, "batch", d.Batch, "pictures a step")
	f.Float64Var(&d.LR, "lr", d.LR, "learning rate")
	f.IntSliceVar(&d.LRDrops, "lr-drops", d.LRDrops, "epochs at which the learning rate is divided by 10")
	f.Float64Var(&d.Momentum, "momentum", d.Momentum, "momentum of SGD")
	f.Float64Var(&d.WeightDecay, "weight-decay", d.WeightDecay, "weight decay")
	f.Uint64Var(&d.Seed, "seed", d.Seed, "seed of weights, shuffling and augmentation")
	f.IntVar(&o.threads, "threads", 0, "threads (default: as many as there are processors); does not change the result")
	f.IntVar(&d.Subset, "subset", d.Subset, "train on this many pictures, balanced over classes (0: all)")
	f.StringVar(&o.out, "out", "", "run directory (default: runs/ARCH-TRAINABLE-DATA-sSEED, and a number if that is taken)")
	f.BoolVar(&o.resume, "resume", false, "continue the run in --out, by default the newest that is not finished")
	f.BoolVar(&o.force, "force", false, "replace the run in --out")
	f.BoolVar(&d.WithStats, "with-stats", false, "store running statistics in the checkpoint")
	f.BoolVar(&o.noAugment, "no-augment", false, "neither flip nor shift training pictures")
	return c
}

// trainResult is the last object that train --json prints.
type trainResult struct {
	Dir        string        `json:"dir"`
	Checkpoint string        `json:"checkpoint"`
	Parameters int           `json:"parameters"`
	Config     engine.Config `json:"config"`
}

func runTrain(c *cobra.Command, g *globalOptions, o trainOptions) error {
	if o.resume && o.force {
		return &usageError{c.CommandPath(), errors.New("--resume continues a run and --force replaces it: use one of them")}
	}
	if o.resume {
		if err := resumed(c, &o); err != nil {
			return err
		}
	}
	if err := o.config.Validate(); err != nil {
		return err
	}
	data, err := dataset.Open(o.config.Data, o.dataDir)
	if err != nil {
		return err
	}
	if o.out == "" {
		if o.out, err = newRunDir(&o.config, data.Name); err != nil {
			return err
		}
	}
	line := g.newProgress()
	g.note("training %s, %s, on %s in %s", o.config.Arch, trainedWords(o.config.Trainable), data.Name, o.out)
	result, err := engine.Train(c.Context(), o.config, data, engine.TrainOptions{
		Dir: o.out, Threads: o.threads, Resume: o.resume, Force: o.force,
		Step: func(s engine.StepReport) {
			line.update("epoch %d/%d, step %d/%d: loss %.3f, accuracy %s, %.0f images/s, %s left",
				s.Epoch, s.Epochs, s.Step, s.Steps, s.Loss, share(s.Accuracy), s.ImagesPerSecond, left(s.Remaining))
		},
		Epoch: func(m engine.EpochMetrics) {
			line.clear()
			printEpoch(g, m, o.config.Epochs)
		},
	})
	line.clear()
	if errors.Is(err, engine.ErrInterrupted) {
		return fmt.Errorf("%w; continue with: bnkit train --resume --out %s", engine.ErrInterrupted, o.out)
	}
	if err != nil {
		return err
	}
	return finishTrain(g, result)
}

func trainedWords(set string) string {
	if set == string(arch.BN) {
		return "γ and β only"
	}
	return set
}

// printEpoch writes an epoch's row: to people as progress, to machines as
// metrics.jsonl has it.
func printEpoch(g *globalOptions, m engine.EpochMetrics, epochs int) {
	if g.json {
		// A row that metrics.jsonl took can be marshalled here too.
		if b, err := m.MarshalJSON(); err == nil {
			fmt.Fprintln(g.out, string(b))
		}
		return
	}
	if !g.quiet {
		near := ""
		if !math.IsNaN(m.GammaNearZero) {
			near = "|γ|<0.01 " + share(m.GammaNearZero) + "   "
		}
		fmt.Fprintf(g.out, "epoch %*d/%d  lr %-6.3g train loss %.4f  accuracy %s   test loss %.4f  accuracy %s   %s%.0f images/s\n",
			len(fmt.Sprint(epochs)), m.Epoch, epochs, m.LearningRate, m.TrainLoss, share(m.TrainAccuracy),
			m.TestLoss, share(m.TestAccuracy), near, m.ImagesPerSecond)
	}
}

func finishTrain(g *globalOptions, r *engine.TrainResult) error {
	last := r.Epochs[len(r.Epochs)-1]
	size := int64(0)
	if info, err := os.Stat(r.Checkpoint); err == nil {
		size = info.Size()
	}
	if g.json {
		return g.printLine(trainResult{r.Dir, r.Checkpoint, r.Parameters, r.Config})
	}
	fmt.Fprintf(g.out, "test accuracy %s on %d pictures (running statistics), training accuracy %s, %d parameters trained\n",
		share(last.TestAccuracy), last.TestExamples, share(last.TrainAccuracy), r.Parameters)
	fmt.Fprintf(g.out, "checkpoint: %s (%s)\n", r.Checkpoint, bytesText(size))
	if !math.IsNaN(last.GammaNearZero) {
		g.note("next, try: bnkit analyze %s", r.Checkpoint)
	}
	return nil
}

// newRunDir names a run directory under runs that is not there yet.
func newRunDir(c *engine.Config, data string) (string, error) {
	base := filepath.Join("runs", fmt.Sprintf("%s-%s-%s-s%d", c.Arch, c.Trainable, data, c.Seed))
	for i := 1; ; i++ {
		dir := base
		if i > 1 {
			dir = fmt.Sprintf("%s-%d", base, i)
		}
		if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
			return dir, nil
		} else if err != nil {
			return "", err
		}
	}
}

// resumed finds the run to resume and takes over its settings, except for
// those that were given on the command line.
func resumed(c *cobra.Command, o *trainOptions) error {
	if o.out == "" {
		dir, err := engine.FindUnfinishedRun("runs")
		if err != nil {
			return err
		}
		o.out = dir
	}
	was, err := engine.ReadConfig(filepath.Join(o.out, engine.ConfigFile))
	if err != nil {
		return err
	}
	given, now := c.Flags().Changed, o.config
	o.config = was
	for flag, take := range map[string]func(){
		"arch":         func() { o.config.Arch = now.Arch },
		"shortcut":     func() { o.config.Shortcut = now.Shortcut },
		"stem":         func() { o.config.Stem = now.Stem },
		"bn":           func() { o.config.BN = now.BN },
		"bn-every":     func() { o.config.BNEvery = now.BNEvery },
		"no-scale":     func() { o.config.NoScale = now.NoScale },
		"no-shift":     func() { o.config.NoShift = now.NoShift },
		"data":         func() { o.config.Data = now.Data },
		"trainable":    func() { o.config.Trainable = now.Trainable },
		"epochs":       func() { o.config.Epochs = now.Epochs },
		"batch":        func() { o.config.Batch = now.Batch },
		"lr":           func() { o.config.LR = now.LR },
		"lr-drops":     func() { o.config.LRDrops = now.LRDrops },
		"momentum":     func() { o.config.Momentum = now.Momentum },
		"weight-decay": func() { o.config.WeightDecay = now.WeightDecay },
		"seed":         func() { o.config.Seed = now.Seed },
		"subset":       func() { o.config.Subset = now.Subset },
		"with-stats":   func() { o.config.WithStats = now.WithStats },
		"no-augment":   func() { o.config.Augment = now.Augment },
	} {
		if given(flag) {
			take()
		}
	}
	return nil
}
